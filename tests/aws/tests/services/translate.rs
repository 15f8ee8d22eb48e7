//! The step `translate` with Amazon Translate, against a server that speaks its protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use rowmill_aws::AmazonTranslate;
use rowmill_domain::record::{Columns, Record, Row};
use rowmill_pipeline::Pipeline;
use rowmill_steps::{Runner, StepDeps, StepResult, runner};
use rowmill_tests_aws::emulators::sdk_config;
use serde_json::{Value, json};

/// A server that speaks the protocol of Amazon Translate (Smithy RPC v2 CBOR) and converts texts to
/// upper case. It refuses some texts, some of them only at first.
struct Amazon {
    url: String,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Amazon {
    fn start() -> Amazon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let requests = shared.clone();
                std::thread::spawn(move || serve(stream, &requests));
            }
        });
        Amazon { url, requests }
    }
}

fn serve(stream: TcpStream, requests: &Mutex<Vec<Value>>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            if line.trim_end().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            head += &line;
        }
        let operation = "/service/awsshinefrontendservice_20170701/operation/translatetext ";
        assert!(head.contains(operation), "{head}");
        assert!(head.contains("aws4-hmac-sha256"), "{head}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = read_map(&body);
        let text = body["Text"].as_str().unwrap().to_owned();
        let before = {
            let mut requests = requests.lock().unwrap();
            requests.push(body.clone());
            requests
                .iter()
                .filter(|a| a["Text"] == body["Text"])
                .count()
        };
        let (status, code) = match &*text {
            "throttled" if before < 3 => (400, "TooManyRequestsException"),
            "out of order" if before < 2 => (500, "InternalServerException"),
            "unknown pair" => (400, "UnsupportedLanguagePairException"),
            _ if text.len() > 10_000 => (400, "TextSizeLimitExceededException"),
            _ => (200, ""),
        };
        let target = body["TargetLanguageCode"].as_str().unwrap();
        let (upper, said) = (text.to_uppercase(), format!("scripted {code}"));
        let answer = match status {
            200 => write_map(&[
                ("TranslatedText", &upper),
                ("SourceLanguageCode", "de"),
                ("TargetLanguageCode", target),
            ]),
            _ => write_map(&[("__type", code), ("message", &said)]),
        };
        write!(
            writer,
            "HTTP/1.1 {status} .\r\ncontent-type: application/cbor\r\n\
             smithy-protocol: rpc-v2-cbor\r\nx-amzn-requestid: request-17\r\n\
             content-length: {}\r\n\r\n",
            answer.len()
        )
        .ok()?;
        writer.write_all(&answer).ok()?;
    }
}

/// Reads a CBOR map of texts (RFC 8949): the format of requests.
fn read_map(bytes: &[u8]) -> Value {
    let mut map = serde_json::Map::new();
    let mut at = 1;
    // Major type 5: the number of pairs, or 0xbf and a final 0xff.
    assert_eq!(bytes[0] >> 5, 5, "{bytes:?}");
    let text = |at: &mut usize| {
        let (head, size) = (bytes[*at], usize::from(bytes[*at] & 31));
        assert_eq!(head >> 5, 3, "a text");
        let wide = match size {
            ..24 => 0,
            n => 1 << (n - 24),
        };
        let length = match wide {
            0 => size,
            n => bytes[*at + 1..][..n]
                .iter()
                .fold(0, |sum, b| sum << 8 | usize::from(*b)),
        };
        let start = *at + 1 + wide;
        *at = start + length;
        String::from_utf8(bytes[start..*at].to_vec()).unwrap()
    };
    while at < bytes.len() && bytes[at] != 0xff {
        let name = text(&mut at);
        map.insert(name, text(&mut at).into());
    }
    map.into()
}

fn write_map(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0xbf];
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.push(0x7a);
        bytes.extend((part.len() as u32).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes.push(0xff);
    bytes
}

/// The step with the client for Amazon Translate, as enrich sets it up, against `amazon`.
fn step(amazon: &Amazon) -> Box<dyn Runner> {
    // The product's number of attempts, without its adaptive mode and pauses: they would take half a
    // minute.
    let attempts = rowmill_aws::retries().max_attempts();
    let retries = RetryConfig::standard().with_max_attempts(attempts);
    let retries = retries.with_initial_backoff(Duration::from_millis(20));
    let config = sdk_config(&amazon.url).to_builder();
    let config = config.retry_config(retries).build();
    let toml = "[[step]]\nkind = \"translate\"\ncolumn = \"Text\"\nservice = \"amazon\"";
    let pipeline = Pipeline::parse("p.toml", toml).unwrap();
    let mut deps = StepDeps::new(4, std::env::temp_dir());
    deps.amazon = Some(Arc::new(AmazonTranslate::new(&config)));
    runner(&pipeline.steps[0], &deps).unwrap()
}

async fn translate(step: &dyn Runner, text: &str) -> StepResult {
    let columns = Columns::new(["Text"]);
    let record = Record {
        row: 2,
        values: vec![Some(text.into())],
    };
    let row = Row {
        columns: &columns,
        record: &record,
        outputs: &[],
    };
    step.run(row).await
}

#[tokio::test]
async fn long_texts_are_split_into_parts_and_throttled_requests_are_repeated() {
    let amazon = Amazon::start();
    let step = step(&amazon);
    for text in ["Guten Tag", "throttled", "out of order"] {
        let result = translate(&*step, text).await;
        assert_eq!(result.outputs.unwrap()[0].1.to_text(), text.to_uppercase());
    }
    let requests = amazon.requests.lock().unwrap().clone();
    assert_eq!(
        requests[0],
        json!({"Text": "Guten Tag", "SourceLanguageCode": "auto", "TargetLanguageCode": "en"})
    );
    assert_eq!(requests.len(), 1 + 3 + 2, "{requests:?}");

    // The limit is 10,000 bytes, not characters.
    let long = "Größe ändert sich täglich. ".repeat(500);
    let result = translate(&*step, &long).await;
    assert_eq!(result.outputs.unwrap()[0].1.to_text(), long.to_uppercase());
    let requests = amazon.requests.lock().unwrap().len();
    assert_eq!(requests, 6 + 2);

    let refused = translate(&*step, "unknown pair").await.outputs.unwrap_err();
    for part in [
        "TranslateText",
        "auto to en",
        "UnsupportedLanguagePairException",
        "request-17",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}
