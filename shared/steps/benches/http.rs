//! Requests a second of the `http` step for small JSON with extraction, against a server here.
//!
//! `cargo bench -p rowmill-steps --bench http [-- REQUESTS AT_ONCE LATENCY_MS]` (100,000, 64 and
//! 0 by default). Server and client are pinned to a core each with taskset. With a latency, the
//! ideal is AT_ONCE requests each LATENCY_MS. `-- serve` is the server alone, for peers: it
//! prints its address.

#![allow(clippy::print_stdout)]

use std::io::BufRead;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rowmill_domain::pipeline::{
    Extract, HttpMethod, HttpOutput, HttpStep, Step, StepKind, Template,
};
use rowmill_domain::record::Columns;
use rowmill_domain::{Kind, Record, Row};
use rowmill_steps::{Setup, runner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const BODY: &str = r#"{"parcel":"00501-17","owner":"Ada Lovelace","due":812.5,"paid":false}"#;

async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
                BODY.len()
            );
            let mut asked = Vec::with_capacity(4096);
            while matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                if !asked.ends_with(b"\r\n\r\n") {
                    continue;
                }
                // The path is the latency in milliseconds.
                let path = asked[5..].split(|b| *b == b'/' || *b == b' ').next();
                let ms = path.and_then(|p| std::str::from_utf8(p).ok()?.parse().ok());
                if let Some(ms @ 1..) = ms {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                asked.clear();
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(address: &str, requests: u32, at_once: usize, latency: u64) -> Result<Duration> {
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
                optional: false,
            }],
        })),
        image: None,
    };
    let setup = Setup::new(at_once, std::env::temp_dir());
    let step: Arc<dyn rowmill_steps::Runner> = Arc::from(runner(&step, &setup)?);
    let next = Arc::new(AtomicU32::new(1));
    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
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
        Some("serve") => runtime.block_on(serve()),
        Some("ask") => {
            let address = arguments.get(2).ok_or("an address")?;
            let (requests, at_once, latency) = (number(3, 0), number(4, 1), number(5, 0));
            let took =
                runtime.block_on(ask(address, requests as u32, at_once as usize, latency))?;
            let ideal = requests.div_ceil(at_once) * latency;
            println!(
                "{requests} requests, {at_once} at once, {latency} ms: {:.2} s, {:.0} a second (no faster than {:.2} s)",
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
            let [requests, at_once, latency] =
                [number(1, 100_000), number(2, 64), number(3, 0)].map(|n: u64| n.to_string());
            let status = std::process::Command::new("taskset")
                .args(["-c", "1"])
                .arg(&program)
                .args(["ask", address.trim(), &requests, &at_once, &latency])
                .status();
            server.kill()?;
            server.wait()?;
            assert!(status?.success());
            Ok(())
        }
    }
}
