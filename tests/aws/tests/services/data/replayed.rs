//! Behavior of AWS that the emulators do not have, as scripted answers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::types::TableStatus;
use bytes::Bytes;
use rowmill_aws::{BatchJobs, DynamoLedger, S3Objects, function_image};
use rowmill_domain::RunId;
use rowmill_ports::{ErrorKind, Jobs, Location, Objects, Outcomes, Put, TablePlan, conformance};
use rowmill_tests_aws::emulators::{Emulator, sdk_config};
use rowmill_tests_aws::stack::bucket;
use rowmill_tests_aws::wire::{Sent, Wire};

/// A configuration whose service is never called because the test scripts all answers.
const NOBODY: &str = "http://127.0.0.1:1";

fn error_xml(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>as S3 says</Message></Error>")
}

fn error_json(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as it says"}}"#)
}

fn is(sent: &Sent, method: &str, part: &str) -> bool {
    sent.method == method && sent.uri.contains(part)
}

/// Returns these answers in turn, then repeats the last.
fn in_turn(answers: Vec<(u16, String)>) -> impl Fn() -> (u16, String) + Send + Sync {
    let next = AtomicU32::new(0);
    move || {
        let n = next.fetch_add(1, Ordering::SeqCst) as usize;
        answers[n.min(answers.len() - 1)].clone()
    }
}

/// ministack decides immediately which of two conditional writes wins; S3 can answer that the request
/// must be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_put_is_repeated_until_it_is_decided() {
    let undecided = || (409, error_xml("ConditionalRequestConflict"));
    let once = || Put {
        if_absent: true,
        ..Put::default()
    };
    let lost = vec![
        undecided(),
        undecided(),
        (412, error_xml("PreconditionFailed")),
    ];
    for (answers, conflict) in [
        (lost, true),
        (vec![undecided(), (200, String::new())], false),
    ] {
        let (calls, answer) = (answers.len(), in_turn(answers));
        let wire = Wire::replay(move |_| Some(answer()));
        let objects = S3Objects::new(&wire.on(&sdk_config(NOBODY)));
        let put = objects.put("work", "k", Bytes::new(), once()).await;
        assert_eq!(put.is_err(), conflict, "{put:?}");
        assert!(
            put.err()
                .is_none_or(|error| error.kind == ErrorKind::Conflict)
        );
        assert_eq!(wire.sent("").len(), calls);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_part_aborts_the_upload() {
    let aws = Emulator::ministack();
    let client = bucket(&aws.sdk_config(), "work", false).await;
    let wire = Wire::replay(|sent| {
        is(sent, "PUT", "partNumber=2").then(|| (403, error_xml("AccessDenied")))
    });
    let objects = S3Objects::new(&wire.on(&aws.sdk_config()));
    let body = Bytes::from(vec![7; 20 << 20]);
    let error = objects
        .put("work", "k", body, Put::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.operation, error.kind),
        ("UploadPart", ErrorKind::Denied)
    );
    assert!(
        wire.sent("")
            .iter()
            .any(|sent| is(sent, "DELETE", "uploadId="))
    );
    let uploads = client
        .list_multipart_uploads()
        .bucket("work")
        .send()
        .await
        .unwrap();
    assert!(uploads.uploads().is_empty(), "no parts remain");
    let head = objects.head(&Location::new("work", "k")).await;
    assert!(head.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_deletion_is_an_error_and_a_throttled_one_is_retried() {
    let errors = |key: &str, code: &str| {
        let body = format!(
            "<DeleteResult><Error><Key>{key}</Key><Code>{code}</Code><Message>as S3 says\
             </Message></Error></DeleteResult>"
        );
        (200, body)
    };
    let keys = ["a".to_owned(), "b".to_owned()];
    let busy = in_turn(vec![
        errors("b", "SlowDown"),
        errors("b", "InternalError"),
        (200, "<DeleteResult/>".to_owned()),
    ]);
    let wire = Wire::replay(move |_| Some(busy()));
    let objects = S3Objects::new(&wire.on(&sdk_config(NOBODY)));
    objects.delete("work", &keys).await.unwrap();
    assert_eq!(wire.sent("").len(), 3);

    let denied = errors("b", "AccessDenied");
    let wire = Wire::replay(move |_| Some(denied.clone()));
    let objects = S3Objects::new(&wire.on(&sdk_config(NOBODY)));
    let error = objects.delete("work", &keys).await.unwrap_err();
    assert_eq!(
        (error.kind, error.resource.as_str()),
        (ErrorKind::Denied, "s3://work/b")
    );
    assert_eq!(
        error.message,
        "AccessDenied: as S3 says (request id WIRE0123456789AB)"
    );

    let busy = errors("b", "SlowDown");
    let wire = Wire::replay(move |_| Some(busy.clone()));
    let objects = S3Objects::new(&wire.on(&sdk_config(NOBODY)));
    let error = objects.delete("work", &keys).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert_eq!(
        error.message,
        "SlowDown: as S3 says (request id WIRE0123456789AB); keys not deleted: 1"
    );
}

/// The SDK retries a call until the answer starts; this connection ends after the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_object_is_read_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for (n, stream) in server.incoming().enumerate() {
            let mut stream = stream.unwrap();
            // One read returns a whole request because it has no body.
            let _ = stream.read(&mut [0; 16 << 10]).unwrap();
            let body: &[u8] = if n % 3 == 2 { b"0123456789" } else { b"01234" };
            let head = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\
                        Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    });
    let objects = S3Objects::new(&sdk_config(&url));
    let at = Location::new("work", "k");
    assert_eq!(objects.get(&at).await.unwrap().body, "0123456789");
    let directory = tempfile::TempDir::new().unwrap();
    let to = directory.path().join("to");
    objects.download(&at, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"0123456789");
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "no partial file remains");
}

const PLAN: TablePlan = TablePlan {
    writes_per_second: 10,
    records: 10,
};

fn status(status: TableStatus) -> (u16, String) {
    (
        200,
        format!(r#"{{"Table":{{"TableStatus":"{}"}}}}"#, status.as_str()),
    )
}

/// Scripts the answers of each operation. ministack creates and drops tables immediately.
fn dynamo(script: Vec<(&'static str, Vec<(u16, String)>)>) -> (Wire, DynamoLedger, RunId) {
    let script: Vec<_> = script
        .into_iter()
        .map(|(operation, answers)| (format!("DynamoDB_20120810.{operation}"), in_turn(answers)))
        .collect();
    let wire = Wire::replay(move |sent| {
        let answer = script.iter().find(|(target, _)| *target == sent.target);
        Some(answer.unwrap_or_else(|| panic!("{}", sent.target)).1())
    });
    let ledger = DynamoLedger::new(&wire.on(&sdk_config(NOBODY)), "suite");
    (wire, ledger, "20261121-suite-0123456789ab".parse().unwrap())
}

#[tokio::test]
async fn create_waits_until_the_table_is_active() {
    let absent = || (400, error_json("ResourceNotFoundException"));
    let (wire, ledger, run) = dynamo(vec![
        ("CreateTable", vec![(200, "{}".to_owned())]),
        (
            "DescribeTable",
            vec![
                absent(),
                status(TableStatus::Creating),
                status(TableStatus::Active),
            ],
        ),
    ]);
    ledger.create_table(&run, PLAN).await.unwrap();
    assert_eq!(wire.sent("DynamoDB_20120810.DescribeTable").len(), 3);
}

/// A new table is usually active after a few seconds, but the SDK's waiter would take 20 seconds. It is
/// used only for tables that take minutes.
#[tokio::test]
async fn a_fast_table_is_noticed_quickly_and_a_slow_one_is_waited_for() {
    for (looks, least, most) in [(6, 5, 5), (14, 100, 600)] {
        let mut answers = vec![status(TableStatus::Creating); looks - 1];
        answers.push(status(TableStatus::Active));
        let (wire, ledger, run) = dynamo(vec![
            ("CreateTable", vec![(200, "{}".to_owned())]),
            ("DescribeTable", answers),
        ]);
        ledger.create_table(&run, PLAN).await.unwrap();
        assert_eq!(wire.sent("DynamoDB_20120810.DescribeTable").len(), looks);
        let waited = wire.waited().as_secs();
        assert!((least..=most).contains(&waited), "{looks}: {waited} s");
    }
}

#[tokio::test]
async fn create_waits_until_a_table_being_dropped_is_gone() {
    let in_use = || (400, error_json("ResourceInUseException"));
    let absent = || (400, error_json("ResourceNotFoundException"));
    let (wire, ledger, run) = dynamo(vec![
        ("CreateTable", vec![in_use(), (200, "{}".to_owned())]),
        (
            "DescribeTable",
            vec![
                status(TableStatus::Deleting),
                status(TableStatus::Deleting),
                absent(),
                status(TableStatus::Active),
            ],
        ),
    ]);
    ledger.create_table(&run, PLAN).await.unwrap();
    assert_eq!(wire.sent("DynamoDB_20120810.CreateTable").len(), 2);
    assert_eq!(wire.sent("DynamoDB_20120810.DescribeTable").len(), 4);
}

#[tokio::test]
async fn drop_waits_until_a_table_being_created_is_active() {
    let in_use = || (400, error_json("ResourceInUseException"));
    let absent = || (400, error_json("ResourceNotFoundException"));
    let (wire, ledger, run) = dynamo(vec![
        ("DeleteTable", vec![in_use(), (200, "{}".to_owned())]),
        (
            "DescribeTable",
            vec![
                status(TableStatus::Creating),
                status(TableStatus::Active),
                status(TableStatus::Deleting),
                absent(),
            ],
        ),
    ]);
    ledger.drop_table(&run).await.unwrap();
    assert_eq!(wire.sent("DynamoDB_20120810.DeleteTable").len(), 2);
    assert_eq!(wire.sent("DynamoDB_20120810.DescribeTable").len(), 4);
}

/// SubmitJob has no idempotency token, so a retry could create a second job.
#[tokio::test]
async fn submit_job_is_sent_once_whatever_the_answer() {
    for (status, kind) in [
        (500, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (429, ErrorKind::Throttled),
    ] {
        let wire = Wire::replay(move |_| Some((status, r#"{"message":"as it says"}"#.to_owned())));
        let jobs = BatchJobs::asking(&wire.on(&sdk_config(NOBODY)));
        let job = conformance::jobs::job("a", "queue", "d:1");
        let error = jobs.submit(&job).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(wire.sent("").len(), 1, "{status}");
    }
}

/// ministack does not resolve the digest of an image.
#[tokio::test]
async fn the_image_of_a_function_is_the_deployed_one() {
    let image = "1.dkr.ecr.eu-central-1.amazonaws.com/enrich@sha256:0123";
    let answers = |code: &str| {
        let body = format!(r#"{{"Configuration":{{}},"Code":{{{code}}}}}"#);
        let wire = Wire::replay(move |_| Some((200, body.clone())));
        wire.on(&sdk_config(NOBODY))
    };
    let config = answers(&format!(
        r#""ImageUri":"1.dkr.ecr.eu-central-1.amazonaws.com/enrich:v1","ResolvedImageUri":"{image}""#
    ));
    assert_eq!(function_image(&config, "enrich").await.unwrap(), image);
    let config = answers(r#""RepositoryType":"S3""#);
    let error = function_image(&config, "enrich").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("PackageType: Image"), "{error}");
}

/// AWS has a host name for each bucket, an emulator one for all buckets.
#[tokio::test]
async fn buckets_have_path_style_addresses_only_with_a_custom_endpoint() {
    let named = sdk_config(NOBODY);
    let mut aws = named.to_builder();
    aws.set_endpoint_url(None);
    for (config, expected) in [
        (named, "http://127.0.0.1:1/work/k"),
        (aws.build(), "https://work.s3.eu-central-1.amazonaws.com/k"),
    ] {
        let wire = Wire::replay(|_| Some((200, String::new())));
        let objects = S3Objects::new(&wire.on(&config));
        objects.head(&Location::new("work", "k")).await.unwrap();
        let uri = wire.sent("")[0].uri.clone();
        assert_eq!(uri.split('?').next(), Some(expected));
    }
}

/// The emulators ignore the condition of a copy.
#[tokio::test]
async fn a_copy_only_if_absent_asks_for_it() {
    let wire = Wire::replay(|sent| match sent.method.as_str() {
        "HEAD" => Some((200, String::new())),
        _ => Some((412, error_xml("PreconditionFailed"))),
    });
    let objects = S3Objects::new(&wire.on(&sdk_config(NOBODY)));
    let put = Put {
        if_absent: true,
        ..Put::default()
    };
    let from = Location::new("work", "from");
    let error = objects.copy(&from, "inbox", "to", put).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    let asked: Vec<_> = wire
        .sent("")
        .into_iter()
        .map(|sent| sent.if_none_match)
        .collect();
    assert_eq!(asked, [None, Some("*".to_owned())]);
}
