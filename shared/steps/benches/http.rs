//! Requests per second of the `http` step for small JSON documents, against a local server.
//!
//! `cargo bench -p rowmill-steps --bench http [-- REQUESTS CONCURRENCY LATENCY_MS]` (100,000, 64 and
//! 0 by default). Server and client are each pinned to one core with taskset. With a latency, the
//! ideal is CONCURRENCY requests per LATENCY_MS. `-- serve` starts only the server and prints its
//! address, for `benches/http_step.py`, which compares the whole program with similar tools.

#![allow(clippy::print_stdout)]

use std::cell::RefCell;
use std::io::BufRead;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rowmill_domain::job::Resources;
use rowmill_domain::record::Columns;
use rowmill_domain::{Kind, Record, Row};
use rowmill_pipeline::{Extract, HttpMethod, HttpOutput, HttpStep, Step, StepKind, Template};
use rowmill_steps::{StepDeps, runner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BODY: &str = r#"{"parcel":"00501-17","owner":"Ada Lovelace","due":812.5,"paid":false}"#;

/// The requests since the figures were last read.
#[derive(Default)]
struct Figures {
    requests: u32,
    /// When the first request arrived, and when the last answer was sent.
    span: Option<(Instant, Instant)>,
}

/// Answers `/<milliseconds>/..` with [`BODY`] after that time. Answers `/figures` with the number of
/// requests since the last call and the seconds from the first request to the last answer. Answers
/// everything else with 404.
async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let figures = Rc::new(RefCell::new(Figures::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that disconnects ends only its connection.
        tokio::task::spawn_local(answer(stream, figures.clone()));
    }
}

async fn answer(mut stream: TcpStream, figures: Rc<RefCell<Figures>>) -> std::io::Result<()> {
    let value = response("200 OK", BODY);
    let mut asked = Vec::with_capacity(4096);
    while stream.read_buf(&mut asked).await? > 0 {
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        let received = Instant::now();
        let part = asked[5..].split(|b| *b == b'/' || *b == b' ').next();
        let part = part.and_then(|part| std::str::from_utf8(part).ok());
        match part.map(|part| (part, part.parse())) {
            Some((_, Ok(ms))) => {
                if ms > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                stream.write_all(value.as_bytes()).await?;
                let mut figures = figures.borrow_mut();
                figures.requests += 1;
                let first = figures
                    .span
                    .map_or(received, |(first, _)| first.min(received));
                figures.span = Some((first, Instant::now()));
            }
            Some(("figures", _)) => {
                let Figures { requests, span } = figures.take();
                let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
                let body = format!("{{\"requests\": {requests}, \"seconds\": {seconds}}}");
                stream
                    .write_all(response("200 OK", &body).as_bytes())
                    .await?;
            }
            _ => {
                stream
                    .write_all(response("404 Not Found", "").as_bytes())
                    .await?
            }
        }
        asked.clear();
    }
    Ok(())
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn ask(address: &str, requests: u32, concurrency: usize, latency: u64) -> Result<Duration> {
    let step = Step {
        kind: StepKind::Http(Box::new(HttpStep {
            method: HttpMethod::Get,
            url: Template::compile(&format!("http://{address}/{latency}/{{{{ row['ID'] }}}}"))
                .map_err(|_| "template")?,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            form: Vec::new(),
            timeout: Duration::from_secs(30),
            retry_on: rowmill_pipeline::RETRY_ON.to_vec(),
            auth: None,
            cookies: rowmill_pipeline::CookieScope::Redirects,
            attempts: 4,
            rate: None,
            robots: false,
            allow_hosts: vec!["127.0.0.1".into()],
            proxy: None,
            ca: None,
            cache: false,
            ok_when: None,
            pages: None,
            outputs: vec![HttpOutput {
                name: "due".into(),
                from: Extract::Json("$.due".into()),
                kind: Some(Kind::Number),
                absolute: false,
                optional: false,
            }],
        })),
        image: None,
        resources: Resources::SMALLEST,
    };
    let deps = StepDeps::new(concurrency, std::env::temp_dir());
    let step: Arc<dyn rowmill_steps::Runner> = Arc::from(runner(&step, &deps)?);
    let next = Arc::new(AtomicU32::new(1));
    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let (step, next) = (step.clone(), next.clone());
        workers.spawn(async move {
            let columns = Columns::new(["ID"]);
            loop {
                let row = next.fetch_add(1, Ordering::Relaxed);
                if row > requests {
                    return;
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
                let result = step.run(row).await;
                assert_eq!(result.outputs.map(|o| o.len()), Ok(1));
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done?;
    }
    Ok(start.elapsed())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let number = |at: usize, default| {
        let given = arguments.get(at).and_then(|a| a.parse().ok());
        given.unwrap_or(default)
    };
    match arguments.get(1).map(String::as_str) {
        Some("serve") => tokio::task::LocalSet::new().block_on(&runtime, serve()),
        Some("ask") => {
            let address = arguments.get(2).ok_or("an address")?;
            let (requests, concurrency, latency) = (number(3, 0), number(4, 1), number(5, 0));
            let took =
                runtime.block_on(ask(address, requests as u32, concurrency as usize, latency))?;
            let ideal = requests.div_ceil(concurrency) * latency;
            println!(
                "{requests} requests, {concurrency} at once, {latency} ms: {:.2} s, {:.0} a second (no faster than {:.2} s)",
                took.as_secs_f64(),
                requests as f64 / took.as_secs_f64(),
                ideal as f64 / 1000.0
            );
            Ok(())
        }
        _ => {
            let program = std::env::current_exe()?;
            let mut server = std::process::Command::new("taskset")
                .args(["-c", "0"])
                .arg(&program)
                .arg("serve")
                .stdout(Stdio::piped())
                .spawn()?;
            let mut address = String::new();
            let output = server.stdout.take().ok_or("no output")?;
            std::io::BufReader::new(output).read_line(&mut address)?;
            let [requests, concurrency, latency] =
                [number(1, 100_000), number(2, 64), number(3, 0)].map(|n: u64| n.to_string());
            let status = std::process::Command::new("taskset")
                .args(["-c", "1"])
                .arg(&program)
                .args(["ask", address.trim(), &requests, &concurrency, &latency])
                .status();
            server.kill()?;
            server.wait()?;
            assert!(status?.success());
            Ok(())
        }
    }
}
