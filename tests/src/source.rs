//! A source that answers as told, on a port of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the source answers to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A JSON body with status 200.
    Json(String),
    /// A status with headers and no body.
    Status(u16, Vec<(String, String)>),
    /// Nothing: the connection stays open and silent for so long.
    Silence(Duration),
    /// This after so long.
    After(Duration, Box<Answer>),
}

/// The server; it ends with the test's process.
pub struct Source {
    address: SocketAddr,
    hits: Arc<Mutex<HashMap<String, u32>>>,
}

impl Source {
    /// Starts it on a free port of 127.0.0.1. `answer` is given the path and how often the path
    /// was asked for before.
    pub fn start(answer: impl Fn(&str, u32) -> Answer + Send + Sync + 'static) -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(Mutex::new(HashMap::new()));
        let (answer, counts) = (Arc::new(answer), hits.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, counts) = (answer.clone(), counts.clone());
                std::thread::spawn(move || {
                    // A client that goes away ends its connection, nothing else.
                    let _ = serve(stream, &*answer, &counts);
                });
            }
        });
        Source { address, hits }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often each path was asked for.
    pub fn hits(&self) -> HashMap<String, u32> {
        self.hits.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    answer: &dyn Fn(&str, u32) -> Answer,
    hits: &Mutex<HashMap<String, u32>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        // Asked for by every child; not part of what a test counts.
        if path == "/robots.txt" {
            write!(writer, "HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let before = {
            let mut hits = hits.lock().unwrap();
            let count = hits.entry(path.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let mut next = answer(&path, before);
        while let Answer::After(wait, then) = next {
            std::thread::sleep(wait);
            next = *then;
        }
        match next {
            Answer::Json(body) => write!(
                writer,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?,
            Answer::Status(status, headers) => {
                write!(writer, "HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n")?;
                for (name, value) in headers {
                    write!(writer, "{name}: {value}\r\n")?;
                }
                write!(writer, "\r\n")?;
            }
            Answer::Silence(long) => {
                std::thread::sleep(long);
                return Ok(());
            }
            Answer::After(..) => unreachable!("unwrapped above"),
        }
        writer.flush()?;
    }
}
