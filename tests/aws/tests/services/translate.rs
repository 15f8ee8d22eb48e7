//! The step `translate` over Amazon's client, against a server that speaks Amazon Translate's protocol.

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

/// A server that speaks what the SDK speaks with Amazon Translate (Smithy RPC v2 CBOR) and turns
/// texts to capitals; some texts it refuses, for a time or for good.
struct Amazon {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Amazon {
    fn start() -> Amazon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = shared.clone();
                std::thread::spawn(move || serve(stream, &asked));
            }
        });
        Amazon { url, asked }
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<Value>>) -> Option<()> {
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
            let mut asked = asked.lock().unwrap();
            asked.push(body.clone());
            asked.iter().filter(|a| a["Text"] == body["Text"]).count()
        };
        let (status, code) = match &*text {
            "throttled" if before < 3 => (400, "TooManyRequestsException"),
            "out of order" if before < 2 => (500, "InternalServerException"),
            "unknown pair" => (400, "UnsupportedLanguagePairException"),
            _ if text.len() > 10_000 => (400, "TextSizeLimitExceededException"),
            _ => (200, ""),
        };
        let target = body["TargetLanguageCode"].as_str().unwrap();
        let (upper, said) = (text.to_uppercase(), format!("told to say {code}"));
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

/// A CBOR map of texts (RFC 8949), of which requests are made.
fn read_map(bytes: &[u8]) -> Value {
    let mut map = serde_json::Map::new();
    let mut at = 1;
    // Major type 5: so many pairs, or 0xbf and 0xff around them.
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

/// The step over Amazon's client, as enrich's main wires it, against `amazon`.
fn step(amazon: &Amazon) -> Box<dyn Runner> {
    // The product's attempts; its adaptive mode and its pauses would take half a minute here.
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
async fn amazon_is_asked_in_parts_it_takes_and_again_where_it_throttles() {
    let amazon = Amazon::start();
    let step = step(&amazon);
    for text in ["Guten Tag", "throttled", "out of order"] {
        let result = translate(&*step, text).await;
        assert_eq!(result.outputs.unwrap()[0].1.to_text(), text.to_uppercase());
    }
    let asked = amazon.asked.lock().unwrap().clone();
    assert_eq!(
        asked[0],
        json!({"Text": "Guten Tag", "SourceLanguageCode": "auto", "TargetLanguageCode": "en"})
    );
    assert_eq!(asked.len(), 1 + 3 + 2, "{asked:?}");

    // 10,000 bytes: 6,000 characters of two bytes each are too many.
    let long = "Größe ändert sich täglich. ".repeat(500);
    let result = translate(&*step, &long).await;
    assert_eq!(result.outputs.unwrap()[0].1.to_text(), long.to_uppercase());
    let asked = amazon.asked.lock().unwrap().len();
    assert_eq!(asked, 6 + 2);

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
