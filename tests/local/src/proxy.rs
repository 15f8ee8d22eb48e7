//! An HTTP proxy that resolves names that no DNS server knows.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running proxy. It ends with the test's process.
pub struct Proxy {
    port: u16,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Proxy {
    /// Starts the proxy on a free port of 127.0.0.1. It resolves `names` and answers 502 for any other
    /// name.
    pub fn start(names: impl IntoIterator<Item = (&'static str, SocketAddr)>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let names: Arc<HashMap<_, _>> = Arc::new(names.into_iter().collect());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heads = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (names, heads) = (names.clone(), heads.clone());
                // If a client or source disconnects, only this connection ends.
                std::thread::spawn(move || serve(stream, &names, &heads));
            }
        });
        Proxy { port, requests }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests so far, each as a list of lines.
    pub fn requests(&self) -> Vec<Vec<String>> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    client: TcpStream,
    names: &HashMap<&str, SocketAddr>,
    requests: &Mutex<Vec<Vec<String>>>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    loop {
        let lines = head(&mut client)?;
        let Some((first, headers)) = lines.split_first() else {
            return Ok(());
        };
        requests.lock().unwrap().push(lines.clone());
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

/// The lines up to an empty line; no lines at the end of the stream.
fn head(stream: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let lines = stream
        .lines()
        .take_while(|l| !matches!(l, Ok(l) if l.is_empty()));
    lines.collect()
}

/// Copies bytes in both directions until both ends are closed.
fn join(client: TcpStream, source: TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, source.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write)
    });
    std::io::copy(&mut &source, &mut &client)?;
    client.shutdown(Shutdown::Write)
}
