//! A mock tax office API for the example `tax-due`. It answers for most customers, and fails, stalls and
//! throttles for some, always the same ones.
//!
//! `cargo run --release --example tax-source [PORT]` (default 8731), on 127.0.0.1 only.
//!
//! - `GET /parcels/C1234` -> `{"customer":"C1234","due":812.5,"assessed":"2026-03-14"}`
//! - `GET /owners/C1234` -> a page for people, with the owner in `td.owner`

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many times each path was requested since it was last answered.
type Tries = Arc<Mutex<HashMap<String, u32>>>;

/// How the source replies to a request.
enum Reply {
    Page(u16, &'static str, String),
    /// 429, with the number of seconds to wait.
    Throttled(u32),
    /// Keeps the connection open and sends nothing.
    Stall,
    /// Closes the connection.
    Drop,
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8731".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    eprintln!("tax source on http://{}", listener.local_addr()?);
    let tries = Tries::default();
    for stream in listener.incoming().flatten() {
        let tries = tries.clone();
        // A broken connection is the client's problem.
        std::thread::spawn(move || serve(stream, &tries).ok());
    }
    Ok(())
}

/// Answers the requests of one connection until it is closed.
fn serve(mut stream: TcpStream, tries: &Tries) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next().transpose()? {
        // Skip the headers.
        while lines.next().transpose()?.is_some_and(|l| !l.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let (status, kind, body, extra) = match reply(&path, tries) {
            Reply::Page(status, kind, body) => (status, kind, body, String::new()),
            Reply::Throttled(s) => {
                let extra = format!("retry-after: {s}\r\n");
                (429, "text/plain", "slow down".to_owned(), extra)
            }
            Reply::Stall => {
                std::thread::sleep(Duration::from_secs(5));
                return Ok(());
            }
            Reply::Drop => return Ok(()),
        };
        let head = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: {kind}\r\n{extra}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

fn reply(path: &str, tries: &Tries) -> Reply {
    let Some((office, customer)) = path.trim_start_matches('/').split_once('/') else {
        return Reply::Page(404, "text/plain", "no such page".into());
    };
    let Some(number) = customer.strip_prefix('C').and_then(|n| n.parse().ok()) else {
        return Reply::Page(404, "text/plain", "no such customer".into());
    };
    let attempt = {
        let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = tries.entry(path.to_owned()).or_insert(0);
        *attempt += 1;
        *attempt
    };
    let reply = match office {
        "parcels" => parcel(customer, number, attempt),
        "owners" => owner(number),
        _ => Reply::Page(404, "text/plain", "no such office".into()),
    };
    if matches!(reply, Reply::Page(200, ..)) {
        // The next run sees the same faults again.
        let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.remove(path);
    }
    reply
}

/// The customer's number decides the fault.
fn parcel(customer: &str, number: u32, attempt: u32) -> Reply {
    let json = |due: &str| {
        let day = number % 28 + 1;
        let body = format!(
            r#"{{"customer":"{customer}"{due},"assessed":"2026-{:02}-{day:02}"}}"#,
            number % 12 + 1
        );
        Reply::Page(200, "application/json", body)
    };
    // Spread from 0 to 2,999.75. Any odd multiplier that mixes the numbers well would do.
    let due = f64::from(number.wrapping_mul(2_654_435_761) % 12_000) / 4.0;
    match (number % 50, attempt) {
        (7, 1) => Reply::Page(503, "text/plain", "busy".into()),
        (13, 1 | 2) => Reply::Throttled(1),
        (19, 1) => Reply::Stall,
        (23, 1) => Reply::Drop,
        (29, _) if number == 1129 => Reply::Stall,
        (31, _) => Reply::Page(404, "text/plain", "no such customer".into()),
        (37, _) => json(""),
        (41, _) => json(r#","due":null"#),
        (43, _) if number > 1200 => Reply::Page(500, "text/plain", "out of order".into()),
        (47, _) => json(r#","due":-1"#),
        _ => json(&format!(r#","due":{due}"#)),
    }
}

/// Some customers own nothing.
fn owner(number: u32) -> Reply {
    const OWNERS: [&str; 6] = [
        "Berg &amp; Søn AS",
        "Familie Schäfer",
        "Costa Lda.",
        "O&#39;Brien Trust",
        "Nguyễn Thị Mai",
        "Stadtwerke Nord",
    ];
    let cell = match number % 9 {
        0 => String::new(),
        n => format!(
            r#"<td class="owner">{}</td>"#,
            OWNERS[n as usize % OWNERS.len()]
        ),
    };
    let body = format!(
        "<!doctype html><title>Parcel {number}</title><table><tr><th>Owner</th>{cell}</tr></table>"
    );
    Reply::Page(200, "text/html; charset=utf-8", body)
}
