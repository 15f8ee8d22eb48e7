//! A source that answers as told, on a port of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
    /// Starts it on a free port of 127.0.0.1. `answer` is given the path, after it a space and the
    /// body where the request has one, and how often just that was asked for before.
    pub fn start(answer: impl Fn(&str, u32) -> Answer + Send + Sync + 'static) -> Source {
        Source::listen(answer, Ok)
    }

    /// The same over TLS, with a certificate for `name` by an authority of its own, whose PEM is
    /// given too.
    pub fn start_tls(
        name: &str,
        answer: impl Fn(&str, u32) -> Answer + Send + Sync + 'static,
    ) -> (Source, String) {
        let (config, authority) = certified(name);
        let source = Source::listen(answer, move |stream| {
            let connection = ServerConnection::new(config.clone());
            let connection = connection.map_err(std::io::Error::other)?;
            Ok(StreamOwned::new(connection, stream))
        });
        (source, authority)
    }

    fn listen<S: Read + Write>(
        answer: impl Fn(&str, u32) -> Answer + Send + Sync + 'static,
        accept: impl Fn(TcpStream) -> std::io::Result<S> + Send + Sync + 'static,
    ) -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(Mutex::new(HashMap::new()));
        let (answer, counts, accept) = (Arc::new(answer), hits.clone(), Arc::new(accept));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, counts, accept) = (answer.clone(), counts.clone(), accept.clone());
                std::thread::spawn(move || {
                    stream.set_nodelay(true)?;
                    // A client that goes away ends its connection, nothing else.
                    serve(accept(stream)?, &*answer, &counts)
                });
            }
        });
        Source { address, hits }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often each path, with its body where there was one, was asked for.
    pub fn hits(&self) -> HashMap<String, u32> {
        self.hits.lock().unwrap().clone()
    }
}

/// A server's certificate for `name`, and the PEM of the authority that signed it.
fn certified(name: &str) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    (Arc::new(config), authority.pem())
}

fn serve(
    stream: impl Read + Write,
    answer: &dyn Fn(&str, u32) -> Answer,
    hits: &Mutex<HashMap<String, u32>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let (mut line, mut length) = (String::new(), 0);
        while stream.read_line(&mut line)? > 2 {
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            line.clear();
        }
        if length > 0 {
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            path = format!("{path} {}", String::from_utf8_lossy(&body));
        }
        // Asked for by every child; not part of what a test counts.
        let answered = if path == "/robots.txt" {
            Answer::Status(404, Vec::new())
        } else {
            let before = {
                let mut hits = hits.lock().unwrap();
                let count = hits.entry(path.clone()).or_default();
                *count += 1;
                *count - 1
            };
            answer(&path, before)
        };
        let Some(answered) = written(answered) else {
            return Ok(());
        };
        stream.get_mut().write_all(answered.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// The answer as it is sent, after its time; `None` where there is none.
fn written(answer: Answer) -> Option<String> {
    Some(match answer {
        Answer::Json(body) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Answer::Status(status, headers) => {
            let headers = headers.into_iter().map(|(n, v)| format!("{n}: {v}\r\n"));
            let headers: String = headers.collect();
            format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n{headers}\r\n")
        }
        Answer::Silence(long) => {
            std::thread::sleep(long);
            return None;
        }
        Answer::After(wait, then) => {
            std::thread::sleep(wait);
            return written(*then);
        }
    })
}
