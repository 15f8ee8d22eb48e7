//! The conformance suites also pass if a service refuses every third call; they only take longer.
//!
//! This is a separate binary with one test per service because all calls of a service share their rate
//! within a process, and two tests have different clocks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use chrono::{TimeDelta, Utc};
use rowmill_aws::{
    Architecture, BatchConfig, BatchJobs, DynamoLedger, EventBridgeScheduler, S3Objects, SesMailer,
    SnsTopic,
};
use rowmill_domain::RunId;
use rowmill_domain::job::Capacity;
use rowmill_domain::message::RunMessage;
use rowmill_ports::{ErrorKind, Location, Mailer, Objects, Scheduler, Topic, conformance};
use rowmill_tests_aws::batch_endpoint::{BatchEndpoint, Setup};
use rowmill_tests_aws::emulators::{Emulator, sdk_config};
use rowmill_tests_aws::stack::{bucket, permits_table, runs_table};
use rowmill_tests_aws::wire::Wire;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn objects_while_s3_slows_down() {
    let aws = Emulator::ministack();
    bucket(&aws.sdk_config(), "work", false).await;
    let scratch = TempDir::new().unwrap();
    let wire = Wire::new(3);
    let objects = S3Objects::new(&wire.on(&aws.sdk_config()));
    conformance::objects::objects(&objects, "work", scratch.path()).await;
    let (refused, _) = wire.refused();
    assert!(refused > 500, "{refused} calls of the suite were refused");
    assert!(
        wire.waited() > Duration::from_secs(60),
        "{:?}",
        wire.waited()
    );

    // If the service refuses every call, the error contains its message.
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
async fn ledger_while_dynamodb_throttles_and_leaves_items_unprocessed() {
    let aws = Emulator::ministack();
    runs_table(&aws.sdk_config(), "suite").await;
    permits_table(&aws.sdk_config(), "suite").await;
    let wire = Wire::new(3);
    let ledger = DynamoLedger::new(&wire.on(&aws.sdk_config()), "suite");
    conformance::runs::runs(&ledger).await;
    conformance::outcomes::outcomes(&ledger).await;
    conformance::coordination::coordination(&ledger, &ledger).await;
    let (refused, unprocessed) = wire.refused();
    assert!(refused > 100, "{refused} calls of the suite were refused");
    assert!(unprocessed > 100, "{unprocessed} items were unprocessed");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_while_batch_throttles() {
    let state = TempDir::new().unwrap();
    let mut setup = Setup::new("main", Path::new("/bin/true"));
    setup.clock_scale = 0.05;
    let (endpoint, _events) = BatchEndpoint::start(state.path(), setup).await;
    let wire = Wire::new(3);
    let config = BatchConfig {
        job_role: "arn:aws:iam::000000000000:role/job".into(),
        execution_role: "arn:aws:iam::000000000000:role/execution".into(),
        log_group: "/rowmill/jobs".into(),
        architecture: Architecture::X86_64,
        capacity: Capacity::Fargate,
        assign_public_ip: true,
        tags: BTreeMap::new(),
    };
    let jobs = BatchJobs::new(&wire.on(&sdk_config(&endpoint.url())), config);
    conformance::jobs::jobs(&jobs, "main").await;
    conformance::jobs::jobs_limits(&jobs, "main").await;
    let (refused, _) = wire.refused();
    assert!(refused > 50, "{refused} calls of the suite were refused");
}

fn due(n: usize) -> RunMessage {
    let date = Utc::now();
    RunMessage::Due {
        run: RunId::new("inbox", &n.to_string(), "1", date, "suite"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_while_sns_throttles() {
    let aws = Emulator::ministack();
    let sns = aws_sdk_sns::Client::new(&aws.sdk_config());
    let created = sns.create_topic().name("rowmill").send().await.unwrap();
    let wire = Wire::new(3);
    let topic = SnsTopic::new(&wire.on(&aws.sdk_config()), created.topic_arn.unwrap());
    for n in 0..20 {
        topic.publish(&due(n)).await.unwrap();
    }
    assert!(wire.refused().0 >= 9, "{:?}", wire.refused());
    wire.refuse_every(1);
    let error = topic.publish(&due(0)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduler_while_eventbridge_throttles() {
    let aws = Emulator::ministack();
    // Without the shared rate of the SDK, whose waits use a different clock.
    let config = aws.sdk_config().to_builder();
    let config = config.retry_config(RetryConfig::disabled()).build();
    let client = aws_sdk_scheduler::Client::new(&config);
    let group = client.create_schedule_group().name("rowmill");
    group.send().await.unwrap();
    let wire = Wire::new(3);
    let topic = "arn:aws:sns:eu-central-1:000000000000:rowmill";
    let role = "arn:aws:iam::000000000000:role/publish";
    let scheduler = EventBridgeScheduler::new(&wire.on(&aws.sdk_config()), "rowmill", role, topic);
    let when = Utc::now() + TimeDelta::hours(1);
    let names = async || {
        let listed = client.list_schedules().send().await.unwrap();
        let names = listed.schedules().iter().filter_map(|s| s.name());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    for n in 0..10 {
        let name = format!("run-{n}");
        scheduler.at(&name, when, &due(n)).await.unwrap();
        // Replacing a schedule takes two calls of the service.
        scheduler.at(&name, when, &due(n + 1)).await.unwrap();
        assert_eq!(names().await, std::slice::from_ref(&name));
        scheduler.cancel(&name).await.unwrap();
        assert_eq!(names().await, [] as [String; 0]);
    }
    assert!(wire.refused().0 >= 15, "{:?}", wire.refused());
    wire.refuse_every(1);
    let error = scheduler.at("a", when, &due(0)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
    let error = scheduler.cancel("a").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mailer_while_ses_throttles() {
    let aws = Emulator::moto();
    let (from, to) = ("rowmill@example.com", "ana@example.com");
    let client = aws_sdk_sesv2::Client::new(&aws.sdk_config());
    let identity = client.create_email_identity().email_identity(from);
    identity.send().await.unwrap();
    let wire = Wire::new(2);
    let mailer = SesMailer::new(&wire.on(&aws.sdk_config()), None);
    conformance::mailer::mailer(&mailer, from, to).await;
    assert!(wire.refused().0 >= 1, "{:?}", wire.refused());
    wire.refuse_every(1);
    let envelope = conformance::mailer::envelope(from, to);
    let mime = conformance::mailer::mime(from, to);
    let error = mailer.send(&envelope, &mime).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
}
