//! A proxy that knows the way to names that nobody else can look up.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The proxy; it ends with the test's process.
pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Proxy {
    /// Starts it on a free port of 127.0.0.1, with the addresses that names lead to. To others it
    /// answers 502.
    pub fn start(names: impl IntoIterator<Item = (&'static str, SocketAddr)>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let names: Arc<HashMap<_, _>> = Arc::new(names.into_iter().collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (names, heads) = (names.clone(), heads.clone());
                // A client or source that goes away ends its connection, nothing else.
                std::thread::spawn(move || serve(stream, &names, &heads));
            }
        });
        Proxy { port, asked }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests it was sent, each as its lines.
    pub fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    client: TcpStream,
    names: &HashMap<&str, SocketAddr>,
    asked: &Mutex<Vec<Vec<String>>>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    loop {
        let lines = head(&mut client)?;
        let Some((first, headers)) = lines.split_first() else {
            return Ok(());
        };
        asked.lock().unwrap().push(lines.clone());
        let (method, target) = first.split_once(' ').unwrap_or_default();
        let target = target.trim_end_matches(" HTTP/1.1");
        let tunnel = method == "CONNECT";
        let target = target.strip_prefix("http://").unwrap_or(target);
        let (place, path) = target.split_once('/').unwrap_or((target, ""));
        let name = place.split(':').next().unwrap_or_default();
        let Some(address) = names.get(name) else {
            let unknown = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
            client.get_mut().write_all(unknown)?;
            continue;
        };
        let source = TcpStream::connect(address)?;
        source.set_nodelay(true)?;
        if tunnel {
            client.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            return join(client.into_inner(), source);
        }
        let mut source = BufReader::new(source);
        let request = format!(
            "{method} /{path} HTTP/1.1\r\n{}\r\n\r\n",
            headers.join("\r\n")
        );
        source.get_mut().write_all(request.as_bytes())?;
        let answer = head(&mut source)?;
        let length = answer
            .iter()
            .find_map(|l| l.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |n| n.parse().unwrap())];
        source.read_exact(&mut body)?;
        let answer = [(answer.join("\r\n") + "\r\n\r\n").into_bytes(), body].concat();
        client.get_mut().write_all(&answer)?;
    }
}

/// The lines up to an empty one; none at the end.
fn head(stream: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let lines = stream
        .lines()
        .take_while(|l| !matches!(l, Ok(l) if l.is_empty()));
    lines.collect()
}

/// Hands on what either says until one of them ends.
fn join(client: TcpStream, source: TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, source.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write)
    });
    std::io::copy(&mut &source, &mut &client)?;
    client.shutdown(Shutdown::Write)
}
