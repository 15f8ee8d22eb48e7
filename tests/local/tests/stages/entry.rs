//! Each stage accepts its own events and refuses all others.

use std::path::Path;

use rowmill_cleanup::CleanupError;
use rowmill_ports::Runs;
use rowmill_split::SplitError;
use rowmill_submit::SubmitError;
use serde_json::{Value, json};

use crate::bench::{Bench, INBOX, at};

/// The payloads in `events/` and the stages that accept each.
const PAYLOADS: [(&str, &[&str]); 18] = [
    ("api-download", &[]),
    ("batch-child", &[]),
    ("batch-job-failed", &[]),
    ("batch-job-succeeded", &[]),
    ("cleanup-reported", &["cleanup"]),
    ("cleanup-schedule", &["cleanup"]),
    ("cleanup-sweep", &["cleanup"]),
    ("s3-put", &["split"]),
    ("s3-put-in-sns", &["split"]),
    ("sns-bounce", &[]),
    ("sns-check", &["split", "submit", "cleanup"]),
    ("sns-due", &["split", "submit", "cleanup"]),
    ("sns-failed", &["split", "submit", "cleanup"]),
    ("sns-retry", &["split", "submit", "cleanup"]),
    ("sns-split", &["split", "submit", "cleanup"]),
    ("sns-stop", &["split", "submit", "cleanup"]),
    ("sns-upload", &["split", "submit", "cleanup"]),
    ("split-retry", &["split"]),
];

fn events() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

fn payload(name: &str) -> Value {
    let text = std::fs::read_to_string(events().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn every_payload_is_accepted_by_its_stages_and_refused_by_the_others() {
    let mut files: Vec<String> = std::fs::read_dir(events())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".expected.json"))
        .collect();
    files.sort();
    let mut named: Vec<String> = PAYLOADS.iter().map(|(n, _)| format!("{n}.json")).collect();
    named.sort();
    assert_eq!(files, named, "every file is in the table");

    for (name, takers) in PAYLOADS {
        let (bench, payload, cx) = (Bench::new(), payload(name), at(name, 0));
        let split = bench.split.invoke(&payload, &cx).await;
        let submit = bench.submit.invoke(&payload, &cx).await;
        let cleanup = bench.cleanup.invoke(&payload, &cx).await;
        let refused = [
            (
                "split",
                matches!(split, Err(SplitError::Event(_))),
                split.map_err(|e| e.to_string()),
            ),
            (
                "submit",
                matches!(submit, Err(SubmitError::Event(_))),
                submit.map_err(|e| e.to_string()),
            ),
            (
                "cleanup",
                matches!(cleanup, Err(CleanupError::Event(_))),
                cleanup.map_err(|e| e.to_string()),
            ),
        ];
        for (stage, refused, answer) in refused {
            assert_eq!(
                refused,
                !takers.contains(&stage),
                "{name}, {stage}: {answer:?}"
            );
            if refused {
                let error = answer.unwrap_err();
                assert!(
                    error.starts_with("not a valid "),
                    "{name}, {stage}: {error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_bad_record_in_an_event_does_not_block_the_others_and_the_event_is_retried() {
    let bench = Bench::new();
    bench.pipeline("p", "").await;
    let good = bench.upload("p/a.csv", "id\n1\n", &[]).await;
    let mut event = rowmill_local::inbox_event(INBOX, &info(&good));
    let record = event["Records"][0].clone();
    let mut bad = record.clone();
    // Longer than the maximum length of a key, so that the request is refused.
    let long = format!("p/{}.csv", "x".repeat(1100));
    bad["s3"]["object"]["key"] = json!(long);
    event["Records"] = json!([bad, record]);
    event["Records"][0]["newerField"] = json!({ "unknown": true });
    for minute in [0, 1] {
        let error = bench.split.invoke(&event, &at("split", minute)).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("xxxx"), "{error}");
        let run = rowmill_split::run_id(&good);
        let item = bench.ledger.find_run(&run).await.unwrap().unwrap();
        assert_eq!(item.state, rowmill_domain::RunState::Running);
        assert_eq!(item.counts.records, 1);
    }
    // Published once although the event arrived twice.
    assert_eq!(bench.published().len(), 1);
}

fn info(object: &rowmill_domain::event::ObjectCreated) -> rowmill_ports::ObjectInfo {
    rowmill_ports::ObjectInfo {
        key: object.key.clone(),
        size: object.size,
        etag: object.version.clone(),
        version: Some(object.version.clone()),
        modified: object.time,
        metadata: Default::default(),
    }
}
