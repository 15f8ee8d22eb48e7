//! Every payload in `events/` is parsed as expected.

#![allow(clippy::panic, reason = "a test")]

use std::path::Path;

use rowmill_domain::event::ObjectCreated;
use rowmill_domain::job::JobStateChange;
use rowmill_domain::message::RunMessage;
use rowmill_events::{
    ToCleanup, ToReport, ToSplit, job_state_change, s3_created, sns_messages, to_cleanup,
    to_report, to_split,
};
use serde_json::{Value, json};

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../events")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The payload with this name, and the expected result.
fn pair(name: &str) -> (Value, Value) {
    (
        file(&format!("{name}.json")),
        file(&format!("{name}.expected.json")),
    )
}

fn objects(all: &[ObjectCreated]) -> Value {
    all.iter()
        .map(|o| {
            json!({
                "bucket": o.bucket, "key": o.key, "version": o.version,
                "versioned": o.versioned, "size": o.size, "time": o.time,
            })
        })
        .collect()
}

fn job(job: &JobStateChange) -> Value {
    json!({
        "id": job.id, "name": job.name, "queue": job.queue, "status": job.status,
        "status_reason": job.status_reason, "array_index": job.array_index,
    })
}

#[test]
fn s3_notifications_are_parsed_directly_and_through_sns() {
    for name in ["s3-put", "s3-put-in-sns"] {
        let (payload, expected) = pair(name);
        assert_eq!(objects(&s3_created(&payload).unwrap()), expected, "{name}");
    }
}

#[test]
fn a_retry_is_requested_through_the_topic_or_by_hand() {
    let (payload, expected) = pair("sns-retry");
    let by_hand = file("split-retry.json");
    for payload in [&payload, &by_hand] {
        let events = to_split(payload).unwrap();
        let [ToSplit::Retry(request)] = &events[..] else {
            panic!("{events:?}")
        };
        let message = RunMessage::Retry(request.clone());
        assert_eq!(json!([message]), expected);
    }
    let (payload, _) = pair("sns-upload");
    let [RunMessage::Upload(upload)] = &sns_messages(&payload).unwrap()[..] else {
        panic!("one upload")
    };
    assert_eq!(
        to_split(&payload).unwrap(),
        [ToSplit::Created(upload.clone())]
    );
    let (payload, _) = pair("s3-put");
    assert!(matches!(
        to_split(&payload).unwrap()[..],
        [ToSplit::Created(_)]
    ));
    assert_eq!(to_split(&file("sns-due.json")).unwrap(), []);
    assert!(to_split(&json!({ "kind": "retry" })).is_err());
}

#[test]
fn messages_of_the_topic_are_parsed() {
    for name in [
        "sns-split",
        "sns-stop",
        "sns-failed",
        "sns-check",
        "sns-due",
        "sns-retry",
        "sns-upload",
    ] {
        let (payload, expected) = pair(name);
        let messages = sns_messages(&payload).unwrap();
        assert_eq!(json!(messages), expected, "{name}");
    }
}

#[test]
fn job_state_changes_are_parsed() {
    for name in ["batch-job-succeeded", "batch-job-failed", "batch-child"] {
        let (payload, expected) = pair(name);
        let read = job_state_change(&payload).unwrap();
        assert_eq!(job(&read), expected, "{name}");
        assert_eq!(
            to_report(&payload).unwrap(),
            [ToReport::Job(read)],
            "{name}"
        );
    }
}

#[test]
fn bounces_are_parsed() {
    let (payload, expected) = pair("sns-bounce");
    let [ToReport::Bounced(read)] = &to_report(&payload).unwrap()[..] else {
        panic!("one bounce")
    };
    let read = json!({
        "run": read.run, "mail": read.mail, "recipients": read.recipients,
        "by_workbook": read.by_workbook,
    });
    assert_eq!(read, expected);
}

#[test]
fn report_ignores_messages_for_other_stages() {
    let (payload, _) = pair("sns-failed");
    let [RunMessage::Failed { run, failure }] = &sns_messages(&payload).unwrap()[..] else {
        panic!("one failure")
    };
    let expected = ToReport::Failed {
        run: run.clone(),
        failure: failure.clone(),
    };
    assert_eq!(to_report(&payload).unwrap(), [expected]);
    let check = ToReport::Check { run: run.clone() };
    assert_eq!(to_report(&file("sns-check.json")).unwrap(), [check]);
    for other in ["sns-split.json", "sns-stop.json"] {
        assert_eq!(to_report(&file(other)).unwrap(), []);
        assert_eq!(to_cleanup(&file(other)).unwrap(), []);
    }
}

#[test]
fn cleanup_starts_after_reports_for_sweeps_and_for_due_runs() {
    for name in ["cleanup-reported", "cleanup-schedule"] {
        let (payload, expected) = pair(name);
        let read = match &to_cleanup(&payload).unwrap()[..] {
            [ToCleanup::Reported(reported)] => json!({ "reported": reported }),
            [ToCleanup::Sweep { dry_run: false }] => json!("sweep"),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(read, expected, "{name}");
    }
    let by_hand = to_cleanup(&file("cleanup-sweep.json")).unwrap();
    assert_eq!(by_hand, [ToCleanup::Sweep { dry_run: true }]);
    assert!(to_cleanup(&json!({ "dry_run": "yes" })).is_err());
    let run = "20261121-reviews-0a1b2c3d4e5f".parse().unwrap();
    let due = to_cleanup(&file("sns-due.json")).unwrap();
    assert_eq!(due, [ToCleanup::Due { run }]);
    assert_eq!(to_report(&file("sns-due.json")).unwrap(), []);
    assert_eq!(to_cleanup(&file("sns-check.json")).unwrap(), []);
}

#[test]
fn no_cleanup_follows_a_report_without_an_answer() {
    let mut payload = file("cleanup-reported.json");
    payload["responsePayload"] = json!(null);
    assert_eq!(to_cleanup(&payload).unwrap(), []);
    payload["requestContext"]["condition"] = json!("RetriesExhausted");
    let error = to_cleanup(&payload).unwrap_err().to_string();
    assert!(error.contains("RetriesExhausted"), "{error}");
}

#[test]
fn payloads_for_other_stages_are_rejected() {
    let all = [
        "s3-put",
        "sns-split",
        "batch-job-failed",
        "cleanup-reported",
    ];
    for name in all {
        let payload = file(&format!("{name}.json"));
        assert_eq!(s3_created(&payload).is_ok(), name == "s3-put", "{name}");
        assert_eq!(
            sns_messages(&payload).is_ok(),
            name == "sns-split",
            "{name}"
        );
        assert_eq!(
            job_state_change(&payload).is_ok(),
            name == "batch-job-failed",
            "{name}"
        );
        assert_eq!(
            to_cleanup(&payload).is_ok(),
            // Messages of the topic for other stages are ignored.
            matches!(name, "cleanup-reported" | "sns-split"),
            "{name}"
        );
    }
}
