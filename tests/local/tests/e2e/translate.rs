//! Translation through a LibreTranslate-compatible server.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rowmill_tests_local::once::eight_children_ask_once;
use rowmill_tests_local::program::{Job, Ran, binary, root};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::{Book, Cell};
use serde_json::{Value, json};

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../../../../examples/reviews-multilingual/translator.rs"]
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
    // It takes seconds; the limit leaves room for a busy machine and an unoptimised build.
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
    let sentences = include_str!("../../../../examples/reviews-multilingual/sentences.tsv");
    let known: Vec<Vec<&str>> = sentences.lines().map(|l| l.split('\t').collect()).collect();
    let (mut right, mut detected, mut agree, mut scored) = (0, 0, 0, 0);
    for i in 0..1000 {
        let parts: Vec<_> = known.iter().filter(|s| texts[i].contains(s[2])).collect();
        // Texts that are too short to detect a language.
        if parts.is_empty() {
            assert_eq!((&*languages[i], &translated[i]), ("", &texts[i]));
            continue;
        }
        if !languages[i].is_empty() {
            detected += 1;
            right += usize::from(parts[0][0] == languages[i]);
        }
        // If the language was right or was left to the server, every sentence is translated.
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
    println!("detected {detected}, right {right}; scored {scored}, as written {agree}");
    assert!(
        detected >= 950 && right * 100 >= detected * 99,
        "{right} of {detected} languages"
    );
    assert!(agree * 100 >= scored * 99, "{agree} of {scored} classes");
    let error = result.texts("error");
    let note = "lang_detected and confidence not set: the text";
    assert!(error.iter().any(|e| e.contains(note)));
}

#[test]
fn children_of_a_run_translate_each_text_once() {
    // It converts texts to upper case, slowly enough that other children need the same answer.
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
fn a_pipeline_that_needs_aws_passes_check_and_is_refused_by_run() {
    let pipeline = "[[step]]\nkind = \"translate\"\ncolumn = \"n\"\nservice = \"amazon\"\n\
                    [[step]]\nkind = \"command\"\nprogram = [\"/app/score\"]\noutputs = [\"score\"]\n\
                    image = \"123456789012.dkr.ecr.eu-central-1.amazonaws.com/score:1\"\n";
    let job = Job::new(
        &Book::new(&["n"], [vec![Cell::from("Guten Tag")]]),
        pipeline,
    );
    let explained = |ran: Ran| {
        let said: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "step 1 (translate): service \"amazon\" is Amazon Translate, which is available only on AWS",
            "LibreTranslate",
            "step 2 (command): program `/app/score` not found",
        ] {
            assert!(said.contains(part), "{said}");
        }
    };
    explained(job.run(&[]).expect(2));
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
    explained(ran.expect(0));
    assert_eq!(
        line,
        "pipeline.toml: ok, 2 steps, 0 checks, adds translated, score; resolve the notes above before `rowmill run` on this machine\n"
    );
    // A program without an `image` must exist on this machine.
    let own = pipeline.split("image").next().unwrap();
    std::fs::write(job.folder().join("own.toml"), own).unwrap();
    let ran = check("own.toml").0.expect(2);
    assert!(
        ran.stderr.contains("program `/app/score` not found"),
        "{}",
        ran.stderr
    );
}
