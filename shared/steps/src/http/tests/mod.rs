//! Tests against a local server. The steps allow the loopback address.

mod auth;
mod faults;
mod guard;
mod memory;
mod pages;
mod redirects;
mod requests;
mod responses;
mod robots;
mod sources;
mod tls;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowmill_domain::record::Columns;
use rowmill_domain::{Kind, Record, Value};
use rowmill_pipeline::{Extract, HttpOutput, Template};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::guard::LookupFuture;

/// A request that the server received.
#[derive(Clone, Debug, Default)]
struct Received {
    line: String,
    headers: HashMap<String, String>,
    body: String,
}

/// What the server replies.
enum Reply {
    /// Status line with headers, and the body.
    Http(String, Vec<u8>),
    /// No answer.
    Silence,
    /// Closes the connection.
    Close,
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
}

fn reply(status: &str, body: &str) -> Reply {
    Reply::Http(status.to_owned(), body.as_bytes().to_vec())
}

struct Server {
    address: String,
    port: u16,
    requests: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `answer` with each request and the number of requests before it.
    async fn start(answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Server {
            address: format!("http://127.0.0.1:{port}"),
            port,
            requests: requests.clone(),
            connections: connections.clone(),
        };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, answer.clone(), requests.clone()));
            }
        });
        server
    }

    fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answer: Arc<impl Fn(&Received, usize) -> Reply + Send + Sync>,
    requests: Arc<Mutex<Vec<Received>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = Received::default();
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => {
                    request
                        .headers
                        .insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None if line.trim_end().is_empty() => break,
                None => request.line = line.trim_end().to_owned(),
            }
        }
        let length = request.headers.get("content-length");
        let mut body = vec![0; length.map_or(0, |l| l.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        request.body = String::from_utf8(body).unwrap();
        let before = {
            let mut requests = requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        match answer(&request, before) {
            Reply::Http(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let all = [head.into_bytes(), body].concat();
                if stream.write_all(&all).await.is_err() {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Close => return,
        }
    }
}

fn step(url: &str) -> HttpStep {
    HttpStep {
        method: HttpMethod::Get,
        url: Template::compile(url).unwrap(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        form: Vec::new(),
        timeout: Duration::from_secs(5),
        attempts: 1,
        retry_on: rowmill_pipeline::RETRY_ON.to_vec(),
        rate: None,
        robots: false,
        allow_hosts: vec!["127.0.0.1".into()],
        proxy: None,
        ca: None,
        cache: false,
        ok_when: None,
        auth: None,
        cookies: CookieScope::Redirects,
        pages: None,
        outputs: vec![HttpOutput {
            name: "due".into(),
            from: Extract::Json("$.due".into()),
            kind: Some(Kind::Number),
            absolute: false,
            optional: false,
        }],
    }
}

fn setup() -> StepDeps {
    StepDeps::new(4, std::env::temp_dir())
}

async fn run(step: &HttpStep, id: &str) -> StepResult {
    run_on(&Http::new(step, &setup()).unwrap(), id).await
}

async fn run_on(http: &Http, id: &str) -> StepResult {
    let columns = Columns::new(["ID", "Empty"]);
    let record = Record {
        row: 2,
        values: vec![Some(id.into()), None],
    };
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    http.run(row).await
}

fn due(n: f64, attempts: u32) -> StepResult {
    StepResult::ok(vec![("due".into(), n.into())], attempts)
}

fn reason(result: StepResult) -> String {
    result.outputs.unwrap_err()
}

/// Runs rows 1 to `rows`, `concurrency` at a time, and returns all results.
async fn run_all(http: Http, rows: u32, concurrency: usize) -> Vec<StepResult> {
    let http = Arc::new(http);
    let next = Arc::new(std::sync::atomic::AtomicU32::new(1));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let (http, next) = (http.clone(), next.clone());
        workers.spawn(async move {
            let columns = Columns::new(["ID"]);
            let mut results = Vec::new();
            loop {
                let row = next.fetch_add(1, Ordering::SeqCst);
                if row > rows {
                    return results;
                }
                let record = Record {
                    row,
                    values: vec![Some(f64::from(row).into())],
                };
                let row = Row {
                    columns: &columns,
                    record: &record,
                    outputs: &[],
                };
                results.push(http.run(row).await);
            }
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}
