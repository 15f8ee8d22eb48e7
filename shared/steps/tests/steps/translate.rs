//! `translate` with a local server that has LibreTranslate's API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row, Value};
use rowmill_pipeline::Pipeline;
use rowmill_steps::{Runner, StepDeps, StepResult, runner};
use serde_json::{Value as Json, json};

/// The requests for translations, in the order received.
type Requests = Arc<Mutex<Vec<Json>>>;

/// A server that "translates" to capitals, at most `limit` characters at a time. `error` returns the
/// status for a text and the number of requests before it.
struct Server {
    url: String,
    requests: Requests,
}

impl Server {
    fn start(limit: i64, error: fn(&str, usize) -> Option<u16>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let shared = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let requests = shared.clone();
                std::thread::spawn(move || serve(stream, limit, error, &requests));
            }
        });
        Server { url, requests }
    }

    fn texts(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|a| a["q"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn serve(
    stream: TcpStream,
    limit: i64,
    error: fn(&str, usize) -> Option<u16>,
    requests: &Requests,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim_end().to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                None => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = if line.starts_with("GET /frontend/settings ") {
            (200, json!({"charLimit": limit, "keyRequired": false}))
        } else {
            let body: Json = serde_json::from_slice(&body).unwrap();
            let text = body["q"].as_str().unwrap().to_owned();
            let before = {
                let mut requests = requests.lock().unwrap();
                requests.push(body.clone());
                requests.len() - 1
            };
            std::thread::sleep(Duration::from_millis(20));
            match error(&text, before) {
                Some(status) => (status, json!({"error": format!("test error {status}")})),
                None if limit > 0 && text.chars().count() as i64 > limit => (
                    400,
                    json!({"error": format!("request exceeds text limit ({limit})")}),
                ),
                None => (200, json!({"translatedText": text.trim().to_uppercase()})),
            }
        };
        let answer = answer.to_string();
        let retry = if status == 429 {
            "Retry-After: 0\r\n"
        } else {
            ""
        };
        write!(
            writer,
            "HTTP/1.1 {status} Test\r\n{retry}Content-Length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .ok()?;
    }
}

fn step(server: &Server, more: &str) -> Box<dyn Runner> {
    let toml = format!(
        "secrets = [\"KEY\"]\n[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nfrom = \"Language\"\n\
         service = {{ url = \"{}\", allow_hosts = [\"127.0.0.1\"]{more} }}",
        server.url
    );
    let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
    let mut deps = StepDeps::new(16, std::env::temp_dir());
    deps.secrets = Arc::new([("KEY", "k-1-secret")].into_iter().collect());
    runner(&pipeline.steps[0], &deps).unwrap()
}

async fn run(step: &dyn Runner, row: u32, text: &str, from: &str) -> StepResult {
    let columns = Columns::new(["Text", "Language"]);
    let value = |text: &str| (!text.is_empty()).then(|| Value::from(text));
    let record = Record {
        row,
        values: vec![value(text), value(from)],
    };
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    step.run(row).await
}

fn translated(result: &StepResult) -> String {
    let outputs = result.outputs.as_ref().unwrap();
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    assert_eq!(&*outputs[0].0, "translated");
    outputs[0].1.to_text()
}

#[tokio::test]
async fn requests_use_libretranslates_api() {
    let server = Server::start(-1, |_, _| None);
    let step = step(&server, ", api_key = \"{{ secret('KEY') }}\"");
    assert_eq!(
        translated(&run(&*step, 2, "Guten \"Tag\"\n", "de").await),
        "GUTEN \"TAG\"\n"
    );
    assert_eq!(translated(&run(&*step, 3, "Bonjour", "").await), "BONJOUR");
    assert_eq!(
        translated(&run(&*step, 4, "God dag", "no").await),
        "GOD DAG"
    );
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(
        requests[0],
        json!({"q": "Guten \"Tag\"", "source": "de", "target": "en", "format": "text", "api_key": "k-1-secret"})
    );
    assert_eq!(
        (&requests[1]["source"], &requests[2]["source"]),
        (&json!("auto"), &json!("nb"))
    );
}

#[tokio::test]
async fn text_that_needs_no_translation_is_not_sent() {
    let server = Server::start(100, |_, _| None);
    let step = step(&server, "");
    for (text, from) in [
        ("Good day", "en"),
        ("Good day", "en-GB"),
        ("12.5 %", ""),
        ("\u{1F44D}", "de"),
    ] {
        assert_eq!(translated(&run(&*step, 2, text, from).await), text);
    }
    let empty = run(&*step, 2, "", "de").await;
    assert_eq!(empty.outputs, Ok(vec![]));
    assert_eq!(empty.notes, ["translated not set: column `Text` is empty"]);
    assert_eq!(server.texts(), [""; 0]);
}

#[tokio::test]
async fn the_same_text_is_requested_once_even_concurrently() {
    let server = Server::start(100, |_, _| None);
    let step = step(&server, "");
    let step = &*step;
    let texts = ["eins", "zwei", "eins", "eins", "zwei", "eins"];
    let (a, b, c, d, e, f) = tokio::join!(
        run(step, 2, texts[0], "de"),
        run(step, 3, texts[1], "de"),
        run(step, 4, texts[2], "de"),
        run(step, 5, texts[3], "de"),
        run(step, 6, texts[4], "de"),
        run(step, 7, texts[5], "nl"),
    );
    for (result, text) in [a, b, c, d, e, f].iter().zip(texts) {
        assert_eq!(translated(result), text.to_uppercase());
    }
    run(step, 8, "zwei", "de").await;
    // `eins` in Dutch is another request.
    let mut requests = server.texts();
    requests.sort();
    assert_eq!(requests, ["eins", "eins", "zwei"]);
}

#[tokio::test]
async fn a_long_text_is_split_at_sentences_to_the_servers_limit() {
    let server = Server::start(40, |_, _| None);
    let text = "Es ist gut. Es ist sehr gut!  Ich kaufe es wieder.\nUnd dann noch eines. 5.";
    for (more, max) in [("", 40), (", max_chars = 25", 25)] {
        let step = step(&server, more);
        assert_eq!(
            translated(&run(&*step, 2, text, "de").await),
            text.to_uppercase()
        );
        let requests = server.texts();
        assert!(
            requests.len() > 1 && requests.iter().all(|t| t.chars().count() <= max),
            "{requests:?}"
        );
        server.requests.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn throttled_requests_are_retried_and_rejected_ones_fail_the_row() {
    let server = Server::start(100, |text, before| match text {
        "eins" if before < 2 => Some(429),
        "zwei" => Some(400),
        "drei" => Some(500),
        _ => None,
    });
    let step = step(&server, ", attempts = 4");
    let result = run(&*step, 2, "eins", "de").await;
    assert_eq!(
        (translated(&result), result.attempts),
        ("EINS".to_owned(), 3)
    );
    let refused = run(&*step, 3, "zwei", "de").await;
    let reason = refused.outputs.unwrap_err();
    assert_eq!(reason, "the server answered 400: test error 400");
    assert_eq!(refused.attempts, 1);
    let failed = run(&*step, 4, "drei", "de").await;
    let reason = failed.outputs.unwrap_err();
    assert!(
        reason.contains("/translate: 500") && reason.contains("4 attempts"),
        "{reason}"
    );
    // Failures are not cached.
    assert_eq!(failed.attempts, 4);
    assert!(run(&*step, 5, "drei", "de").await.outputs.is_err());
    assert_eq!(server.texts().iter().filter(|t| *t == "drei").count(), 8);
}

#[tokio::test]
async fn private_addresses_must_be_allowed_and_amazon_needs_aws() {
    let server = Server::start(100, |_, _| None);
    let toml = format!(
        "[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nservice = {{ url = \"{}\" }}",
        server.url
    );
    let deps = StepDeps::new(1, std::env::temp_dir());
    let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
    let step = runner(&pipeline.steps[0], &deps).unwrap();
    let reason = run(&*step, 2, "eins", "").await.outputs.unwrap_err();
    assert!(reason.contains("not a public address"), "{reason}");
    assert_eq!(server.texts(), [""; 0]);

    let toml = "[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nservice = \"amazon\"";
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let error = runner(&pipeline.steps[0], &deps).err().unwrap().to_string();
    assert!(
        error.contains("available only on AWS") && error.contains("LibreTranslate"),
        "{error}"
    );
}
