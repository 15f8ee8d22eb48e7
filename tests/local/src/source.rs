//! A mock HTTP server that gives the answers that a test specifies.

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
    /// No answer: the connection stays open for this time, then closes.
    Silence(Duration),
    /// Another answer after a delay.
    After(Duration, Box<Answer>),
}

/// A running server. It ends with the test's process.
pub struct Source {
    address: SocketAddr,
    hits: Arc<Mutex<HashMap<String, u32>>>,
}

impl Source {
    /// Starts the server on a free port of 127.0.0.1. `answer` receives the request and the number of
    /// equal requests before it. A request is its path, followed by a space and the body if it has a
    /// body.
    pub fn start(answer: impl Fn(&str, u32) -> Answer + Send + Sync + 'static) -> Source {
        Source::listen(answer, Ok)
    }

    /// Like [`Source::start`], over TLS. The certificate for `name` is signed by a new certificate
    /// authority, whose PEM is returned.
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
                    // If a client disconnects, only this connection ends.
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

    /// A step that asks the server for each `Amount`, and whose output `value` is a number.
    pub fn step(&self) -> String {
        format!(
            r#"[[step]]
kind = "http"
url = "{}/{{{{ row.Amount }}}}"
allow_hosts = ["127.0.0.1"]
[step.outputs]
value = {{ json = "$.value", type = "number" }}"#,
            self.url()
        )
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of equal requests, by request (see [`Source::start`]).
    pub fn hits(&self) -> HashMap<String, u32> {
        self.hits.lock().unwrap().clone()
    }
}

/// A server configuration with a certificate for `name`, and the PEM of the authority that signed it.
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
        // Every child requests it, so tests do not count it.
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

/// Waits for the answer's delay and returns its bytes; `None` for [`Answer::Silence`].
fn written(answer: Answer) -> Option<String> {
    Some(match answer {
        Answer::Json(body) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Answer::Status(status, headers) => {
            let headers = headers.into_iter().map(|(n, v)| format!("{n}: {v}\r\n"));
            let headers: String = headers.collect();
            format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n{headers}\r\n")
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
