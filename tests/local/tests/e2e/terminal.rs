//! What the program prints: reasons, advice, logs; no colors when it is piped.

use std::process::{Command, Output};

use rowmill_tests_local::program::{Job, binary, files};
use rowmill_tests_local::workbook::Book;
use serde_json::Value;

/// Three reasons for failed rows, and a program that writes to stderr.
const FAILING: &str = r#"
secrets = ["API_KEY"]

[[step]]
kind = "command"
program = ["python3", "-c", """
import json, sys, os
print("using the key", os.environ["API_KEY"], file=sys.stderr, flush=True)
for line in sys.stdin:
    row = json.loads(line)["row"]
    print("row", row, "is here", file=sys.stderr, flush=True)
    answer = {"error": f"no parcel {row}"} if row % 3 == 0 else {"outputs": {"due": row}}
    print(json.dumps({"row": row, **answer}), flush=True)
"""]
outputs = ["due"]

[[check]]
rule = "due < 20.0"
on_failure = "fail"
"#;

fn rowmill(job: &Job, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args(args)
        .env("ROWMILL_SECRET_API_KEY", "tr0ub4dor");
    command.current_dir(job.folder()).output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_run_with_failed_rows_prints_the_reasons_and_the_path_of_the_logs() {
    let job = Job::new(&Book::numbered(30), FAILING);
    let output = rowmill(&job, &["run", "input.xlsx", "--verbose"]);
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].starts_with("Delivered with errors: 12 of 30 rows done, 18 failed, in "),
        "{stdout}"
    );
    assert_eq!(
        lines[1],
        "  10 rows failed (sample: row 3): step 1 (command): no parcel 3"
    );
    assert!(
        lines[2].contains("The program gives this reason"),
        "{stdout}"
    );
    assert_eq!(
        lines[3],
        "  8 rows failed (sample: row 20): check `due < 20.0` failed"
    );
    assert!(lines.contains(&"  logs    out/.rowmill/logs"), "{stdout}");
    assert!(
        !stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'),
        "{stdout}{stderr}"
    );

    // The log has all that the program wrote to stderr, without secrets and without colors.
    let out = job.folder().join("out");
    let logs = files(&out).into_iter().filter(|f| f.ends_with(".log"));
    let log: String = logs
        .map(|log| std::fs::read_to_string(out.join(log)).unwrap())
        .collect();
    for row in 2..=31 {
        assert!(log.contains(&format!("row {row} is here")), "{log}");
    }
    assert!(log.contains("using the key [secret API_KEY]"), "{log}");
    assert!(
        !log.contains("tr0ub4dor") && !log.contains('\u{1b}'),
        "{log}"
    );
}

#[test]
fn json_has_the_reasons_of_rows_and_why_nothing_could_start() {
    let job = Job::new(&Book::numbered(30), FAILING);
    let json = |args: &[&str], code: i32| -> Value {
        let output = rowmill(&job, args);
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let run = json(&["run", "input.xlsx", "--json"], 3);
    assert_eq!(run["reasons"][0]["count"], 10);
    assert_eq!(run["reasons"][0]["rows"][0], 3);
    assert!(run["reasons"][0]["advice"].as_str().is_some(), "{run}");
    assert_eq!(run["failure"], Value::Null);
    assert_eq!(run["logs"], "out/.rowmill/logs");

    // A run that failed says why, and what to do.
    let empty = Job::new(&Book::numbered(0), "");
    let output = rowmill(&empty, &["run", "input.xlsx", "--json"]);
    let failed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(failed["state"], "failed");
    for part in ["stage", "reason", "advice"] {
        let text = failed["failure"][part].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{failed}");
    }

    // Nothing starts: the errors are on both streams.
    for command in ["run", "plan", "preview"] {
        let refused = json(&[command, "none.xlsx", "--json"], 2);
        assert_eq!(refused["state"], "refused");
        let reason = refused["errors"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("none.xlsx"), "{refused}");
    }
}

#[test]
fn every_error_starts_alike_and_swapped_arguments_are_detected() {
    let job = Job::new(&Book::numbered(2), "[[check]]\nrule = \"Amount <\"\n");
    for (args, part) in [
        (&["run", "none.xlsx"][..], "none.xlsx"),
        (&["run", "input.xlsx"], "pipeline.toml"),
        (
            &["check", "input.xlsx", "pipeline.toml"],
            "input.xlsx is a workbook",
        ),
        (
            &["run", "pipeline.toml", "--pipeline", "input.xlsx"],
            "is a pipeline file",
        ),
        (&["predict", "none.model", "text"], "none.model"),
        (&["run"], "WORKBOOK"),
    ] {
        let (_, stderr) = texts(&rowmill(&job, args));
        assert!(
            stderr.trim_start().starts_with("error: "),
            "{args:?}: {stderr}"
        );
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert!(!stderr.contains('\u{1b}'), "{args:?}: {stderr}");
    }
}
