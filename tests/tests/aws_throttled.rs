//! A service that refuses every third call changes nothing but time: the suites of the ports hold
//! as they do without.
//!
//! A binary of its own, with one test a service: calls of a service share their rate within a
//! process, and the clocks of two tests differ.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use rowmill_aws::{DynamoLedger, S3Objects};
use rowmill_ports::{ErrorKind, Location, Objects, conformance};
use rowmill_tests::emulators::Emulator;
use rowmill_tests::stack::{bucket, runs_table};
use rowmill_tests::wire::Wire;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn s3_slows_down() {
    let aws = Emulator::ministack();
    bucket(&aws.sdk_config(), "work", false).await;
    let scratch = TempDir::new().unwrap();
    let wire = Wire::new(3);
    let objects = S3Objects::new(&wire.on(&aws.sdk_config()));
    conformance::objects::objects(&objects, "work", scratch.path()).await;
    let (refused, _) = wire.refused();
    assert!(refused > 500, "{refused} of the suite's calls were refused");
    assert!(
        wire.waited() > Duration::from_secs(60),
        "{:?}",
        wire.waited()
    );

    // Where it never lets go, the error says so, as the service does.
    wire.refuse_every(1);
    let at = Location::new("work", "runs/r/manifest.json");
    let error = objects.get(&at).await.unwrap_err();
    let config = aws.sdk_config();
    let tries = config.retry_config().map(RetryConfig::max_attempts);
    assert_eq!(wire.refused().0, refused + u64::from(tries.unwrap()));
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert_eq!(
        error.to_string(),
        "GetObject s3://work/runs/r/manifest.json: SlowDown: Please reduce your request rate. \
         (HTTP 503, request id WIRE0123456789AB, extended request id wire/extended=)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_throttles_and_leaves_items_unprocessed() {
    let aws = Emulator::ministack();
    runs_table(&aws.sdk_config(), "suite").await;
    let wire = Wire::new(3);
    let ledger = DynamoLedger::new(&wire.on(&aws.sdk_config()), "suite");
    conformance::ledger::ledger(&ledger).await;
    let (refused, unprocessed) = wire.refused();
    assert!(refused > 100, "{refused} of the suite's calls were refused");
    assert!(unprocessed > 100, "{unprocessed} items came back");
}
