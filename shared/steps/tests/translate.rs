//! `translate` through a real server that speaks LibreTranslate's protocol.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row, Value};
use rowmill_pipeline::Pipeline;
use rowmill_steps::{Runner, Setup, StepResult, runner};
use serde_json::{Value as Json, json};

/// Every translation that was asked for.
type Asked = Arc<Mutex<Vec<Json>>>;

/// A server that "translates" to capitals, at most `limit` characters at a time. It fails as told
/// by `fault`: a status for a text and how many requests came before.
struct Server {
    url: String,
    asked: Asked,
}

impl Server {
    fn start(limit: i64, fault: fn(&str, usize) -> Option<u16>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let shared = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = shared.clone();
                std::thread::spawn(move || serve(stream, limit, fault, &asked));
            }
        });
        Server { url, asked }
    }

    fn texts(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|a| a["q"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn serve(
    stream: TcpStream,
    limit: i64,
    fault: fn(&str, usize) -> Option<u16>,
    asked: &Asked,
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
                let mut asked = asked.lock().unwrap();
                asked.push(body.clone());
                asked.len() - 1
            };
            std::thread::sleep(Duration::from_millis(20));
            match fault(&text, before) {
                Some(status) => (status, json!({"error": format!("told to say {status}")})),
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
            "HTTP/1.1 {status} Told\r\n{retry}Content-Length: {}\r\n\r\n{answer}",
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
    let mut setup = Setup::new(16, std::env::temp_dir());
    setup.secrets = Arc::new([("KEY", "k-1-secret")].into_iter().collect());
    runner(&pipeline.steps[0], &setup).unwrap()
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
async fn what_is_asked_is_libretranslates_protocol() {
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
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(
        asked[0],
        json!({"q": "Guten \"Tag\"", "source": "de", "target": "en", "format": "text", "api_key": "k-1-secret"})
    );
    assert_eq!(
        (&asked[1]["source"], &asked[2]["source"]),
        (&json!("auto"), &json!("nb"))
    );
}

#[tokio::test]
async fn what_needs_no_translation_is_not_asked_for() {
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
    assert_eq!(empty.notes, ["no translated: column `Text` is empty"]);
    assert_eq!(server.texts(), [""; 0]);
}

#[tokio::test]
async fn the_same_text_is_asked_for_once_also_at_once() {
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
    // `eins` in Dutch is another text.
    let mut asked = server.texts();
    asked.sort();
    assert_eq!(asked, ["eins", "eins", "zwei"]);
}

#[tokio::test]
async fn a_long_text_is_cut_at_sentences_as_the_server_says() {
    let server = Server::start(40, |_, _| None);
    let text = "Es ist gut. Es ist sehr gut!  Ich kaufe es wieder.\nUnd dann noch eines. 5.";
    for (more, most) in [("", 40), (", max_chars = 25", 25)] {
        let step = step(&server, more);
        assert_eq!(
            translated(&run(&*step, 2, text, "de").await),
            text.to_uppercase()
        );
        let asked = server.texts();
        assert!(
            asked.len() > 1 && asked.iter().all(|t| t.chars().count() <= most),
            "{asked:?}"
        );
        server.asked.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn throttling_is_waited_for_and_a_refusal_is_the_rows() {
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
    assert_eq!(reason, "the server answers 400: told to say 400");
    assert_eq!(refused.attempts, 1);
    let failed = run(&*step, 4, "drei", "de").await;
    let reason = failed.outputs.unwrap_err();
    assert!(
        reason.contains("/translate: 500") && reason.contains("4 attempts"),
        "{reason}"
    );
    // A failure is not kept.
    assert_eq!(failed.attempts, 4);
    assert!(run(&*step, 5, "drei", "de").await.outputs.is_err());
    assert_eq!(server.texts().iter().filter(|t| *t == "drei").count(), 8);
}

#[tokio::test]
async fn a_private_address_needs_leave_and_amazon_needs_aws() {
    let server = Server::start(100, |_, _| None);
    let toml = format!(
        "[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nservice = {{ url = \"{}\" }}",
        server.url
    );
    let setup = Setup::new(1, std::env::temp_dir());
    let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
    let step = runner(&pipeline.steps[0], &setup).unwrap();
    let reason = run(&*step, 2, "eins", "").await.outputs.unwrap_err();
    assert!(reason.contains("not a public address"), "{reason}");
    assert_eq!(server.texts(), [""; 0]);

    let toml = "[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nservice = \"amazon\"";
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let told = runner(&pipeline.steps[0], &setup)
        .err()
        .unwrap()
        .to_string();
    assert!(
        told.contains("only children on AWS") && told.contains("LibreTranslate"),
        "{told}"
    );
}
