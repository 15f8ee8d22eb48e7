//! Translation end to end, through a LibreTranslate-compatible server, and through Amazon's client
//! against a server that speaks Amazon Translate's protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use rowmill_aws::AmazonTranslate;
use rowmill_domain::Pipeline;
use rowmill_domain::record::{Columns, Record, Row};
use rowmill_steps::{Runner, Setup, StepResult, runner};
use rowmill_tests::emulators::sdk_config;
use rowmill_tests::once::eight_children_ask_once;
use rowmill_tests::program::{Job, Ran, binary, root};
use rowmill_tests::source::{Answer, Source};
use rowmill_tests::workbook::{Book, Cell};
use serde_json::{Value, json};

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../../examples/reviews-multilingual/translator.rs"]
mod translator;

#[test]
fn a_thousand_reviews_in_six_languages_are_translated_and_scored() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || translator::answer(&listener));
    let example = root().join("examples/reviews-multilingual");
    let pipeline = std::fs::read_to_string(example.join("pipeline.toml")).unwrap();
    let pipeline = pipeline.replace(":8732", &format!(":{port}"));
    let job = Job::of_file(&example.join("reviews.xlsx"), &pipeline);
    let begun = Instant::now();
    let ran = job.run(&[]).expect(0);
    let took = begun.elapsed();
    println!("1,000 reviews took {took:?}");
    assert_eq!(
        (&ran.json["records"], &ran.json["ok"]),
        (&json!(1000), &json!(1000))
    );
    // Seconds; the bound leaves room for a busy machine and a build without optimisation.
    assert!(took < Duration::from_secs(60), "{took:?}");

    let result = job.result();
    let added = [
        "lang_detected",
        "confidence",
        "translated",
        "sa_class",
        "sa_score",
    ];
    let header = result.header();
    assert_eq!(header[4..9], added);
    let [texts, languages, translated, classes] =
        ["Review", "lang_detected", "translated", "sa_class"].map(|name| result.texts(name));
    let sentences = include_str!("../../examples/reviews-multilingual/sentences.tsv");
    let known: Vec<Vec<&str>> = sentences.lines().map(|l| l.split('\t').collect()).collect();
    let (mut right, mut told, mut agree, mut scored) = (0, 0, 0, 0);
    for i in 0..1000 {
        let parts: Vec<_> = known.iter().filter(|s| texts[i].contains(s[2])).collect();
        // The short ones, which no language is told of.
        if parts.is_empty() {
            assert_eq!((&*languages[i], &translated[i]), ("", &texts[i]));
            continue;
        }
        if !languages[i].is_empty() {
            told += 1;
            right += usize::from(parts[0][0] == languages[i]);
        }
        // Where the language was right or left to the server, no sentence is left as it was.
        if languages[i].is_empty() || languages[i] == parts[0][0] {
            for part in &parts {
                assert!(
                    translated[i].contains(part[3]),
                    "{}: {}",
                    texts[i],
                    translated[i]
                );
            }
            let tone = parts.iter().map(|p| p[1]).find(|tone| *tone != "plain");
            scored += 1;
            agree += usize::from(match tone {
                Some("good") => classes[i] == "positive",
                Some("bad") => classes[i] == "negative",
                _ => true,
            });
        }
    }
    println!("told {told}, right {right}; scored {scored}, as written {agree}");
    assert!(
        told >= 950 && right * 100 >= told * 99,
        "{right} of {told} languages"
    );
    assert!(agree * 100 >= scored * 99, "{agree} of {scored} classes");
    let error = result.texts("error");
    let note = "no lang_detected and confidence: the text";
    assert!(error.iter().any(|e| e.contains(note)));
}

#[test]
fn a_text_is_translated_once_in_a_run_of_many_children() {
    // It turns texts to capitals, slowly enough for other children to come and want them too.
    let source = Source::start(|asked, _| match asked.split_once(' ') {
        Some(("/translate", body)) => {
            let body: Value = serde_json::from_str(body).unwrap();
            let text = body["q"].as_str().unwrap().to_uppercase();
            let answer = Answer::Json(json!({ "translatedText": text }).to_string());
            Answer::After(Duration::from_millis(50), Box::new(answer))
        }
        _ => Answer::Status(404, Vec::new()),
    });
    let step = format!(
        "kind = \"translate\"\ncolumn = \"Text\"\n\
         service = {{ url = \"{}\", allow_hosts = [\"127.0.0.1\"] }}",
        source.url()
    );
    eight_children_ask_once(
        &source,
        "/translate",
        &step,
        "translated",
        str::to_uppercase,
    );
}

#[test]
fn what_only_aws_has_passes_a_check_and_is_refused_before_the_first_record() {
    let pipeline = "[[step]]\nkind = \"translate\"\ncolumn = \"n\"\nservice = \"amazon\"\n\
                    [[step]]\nkind = \"command\"\nprogram = [\"/app/score\"]\noutputs = [\"score\"]\n\
                    image = \"123456789012.dkr.ecr.eu-central-1.amazonaws.com/score:1\"\n";
    let job = Job::new(
        &Book::new(&["n"], [vec![Cell::from("Guten Tag")]]),
        pipeline,
    );
    let told = |ran: Ran| {
        let said: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "step 1 (translate): service \"amazon\" is Amazon Translate, which only children on AWS can reach",
            "LibreTranslate",
            "step 2 (command): program `/app/score` was not found",
        ] {
            assert!(said.contains(part), "{said}");
        }
    };
    told(job.run(&[]).expect(2));
    assert!(!job.out().exists());
    let check = |file: &str| {
        let mut command = Command::new(binary());
        let output = command
            .args(["check", file])
            .current_dir(job.folder())
            .output()
            .unwrap();
        let line = String::from_utf8(output.stdout.clone()).unwrap();
        (Ran::from(output), line)
    };
    let (ran, line) = check("pipeline.toml");
    told(ran.expect(0));
    assert_eq!(
        line,
        "pipeline.toml: ok, 2 steps, 0 checks, adds translated, score; `rowmill run` on this machine needs what is said above\n"
    );
    // A program of the deployment's own image, or of this machine, is looked for here.
    let own = pipeline.split("image").next().unwrap();
    std::fs::write(job.folder().join("own.toml"), own).unwrap();
    let ran = check("own.toml").0.expect(2);
    assert!(
        ran.stderr.contains("program `/app/score` was not found"),
        "{}",
        ran.stderr
    );
}

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
    let mut setup = Setup::new(4, std::env::temp_dir());
    setup.amazon = Some(Arc::new(AmazonTranslate::new(&config)));
    runner(&pipeline.steps[0], &setup).unwrap()
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
