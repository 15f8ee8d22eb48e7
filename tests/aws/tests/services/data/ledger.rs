//! The ledger on DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, TableStatus};
use chrono::{DateTime, Utc};
use rowmill_aws::DynamoLedger;
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::limits::RUN_KEPT;
use rowmill_domain::review::{FilterVerdict, ReviewEvent, Verdict};
use rowmill_domain::run::{UploadSource, Work};
use rowmill_domain::{Outcome, RunId, RunItem, Status};
use rowmill_ports::{
    Claim, Coordination, ErrorKind, Outcomes, Reviews, RunPatch, Runs, TablePlan, conformance,
};
use rowmill_runs::Transition;
use rowmill_tests_aws::emulators::{Emulator, sdk_config};
use rowmill_tests_aws::run_tables::RunTables;
use rowmill_tests_aws::stack::{permits_table, reviews_table, runs_table, submitters_table};
use rowmill_tests_aws::wire::{Sent, Wire};

const PLAN: TablePlan = TablePlan {
    writes_per_second: 1000,
    records: 100,
};

fn run() -> RunId {
    "20261121-suite-0123456789ab".parse().unwrap()
}

fn outcome(row: u32) -> Outcome {
    Outcome {
        row,
        phase: 0,
        status: Status::Ok,
        outputs: Vec::new(),
        error: None,
        attempts: 1,
        times: Vec::new(),
        steps: 0,
        notes: Vec::new(),
    }
}

/// ministack does not store the key, so check the request.
#[tokio::test]
async fn a_runs_table_is_encrypted_with_the_key_of_the_deployment() {
    let wire = Wire::replay(|_| Some((400, r#"{"__type":"x#ValidationException"}"#.to_owned())));
    let config = wire.on(&sdk_config("http://127.0.0.1:1"));
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1";
    for given in [None, Some(key)] {
        let ledger = DynamoLedger::new(&config, "rowmill").encrypted_with(given.map(str::to_owned));
        ledger.create_table(&run(), PLAN).await.unwrap_err();
        let sent = wire.sent("DynamoDB_20120810.CreateTable");
        let asked = &sent.last().unwrap().body["SSESpecification"];
        assert_eq!(asked["KMSMasterKeyId"].as_str(), given, "{asked}");
    }
}

/// However many rows were reviewed, a page of rows and a verdict are one call each.
#[tokio::test(flavor = "multi_thread")]
async fn reviews_need_few_calls_and_bytes() {
    let (aws, wire) = (Emulator::ministack(), Wire::new(0));
    let config = wire.on(&aws.sdk_config());
    reviews_table(&config, "suite").await;
    let ledger = DynamoLedger::new(&config, "suite");
    let event = |text: &str| ReviewEvent {
        verdict: Verdict::Override,
        value: Some("delivery".into()),
        reviewer: "ada@example.com".into(),
        time: Utc::now(),
        key: Some(text.into()),
    };
    let cost = || {
        let sent = wire.sent("");
        let bytes = |sent: &Sent| sent.body.to_string().len();
        (sent.len(), sent.iter().map(bytes).sum::<usize>())
    };
    let since = |before: (usize, usize)| {
        let now = cost();
        (now.0 - before.0, now.1 - before.1)
    };
    for row in 2..302 {
        assert!(
            ledger
                .add_review(&run(), row, 0, &event("k"))
                .await
                .unwrap()
        );
    }
    let before = cost();
    let page: Vec<u32> = (2..102).collect();
    let found = ledger.find_reviews(&run(), &page).await.unwrap();
    assert_eq!(found.len(), 100);
    let (calls, bytes) = since(before);
    assert!(calls == 1 && bytes < 10_000, "a page: {calls} {bytes}");

    let before = cost();
    assert!(ledger.add_review(&run(), 2, 1, &event("l")).await.unwrap());
    // The second reviewer.
    assert!(!ledger.add_review(&run(), 2, 1, &event("m")).await.unwrap());
    let (calls, bytes) = since(before);
    assert!(calls == 2 && bytes < 2_000, "two verdicts: {calls} {bytes}");

    let filter = FilterVerdict {
        id: "f".into(),
        verdict: Verdict::Approve,
        value: None,
        reviewer: "ada@example.com".into(),
        time: Utc::now(),
        count: 1_000_000,
        rows: vec![7; 125_000],
        undone: None,
    };
    let before = cost();
    assert!(ledger.put_filter(&run(), &filter).await.unwrap());
    let (calls, bytes) = since(before);
    // Base64 adds a third.
    assert!(calls == 1 && bytes < 168_000, "a filter: {calls} {bytes}");

    let before = cost();
    let (all, next) = ledger.list_reviews(&run(), 0).await.unwrap();
    assert_eq!((all.len(), next), (300, None));
    let (calls, _) = since(before);
    assert_eq!(calls, 1, "all verdicts");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_outcomes_and_coordination() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    runs_table(&config, "suite").await;
    permits_table(&config, "suite").await;
    reviews_table(&config, "suite").await;
    submitters_table(&config, "suite").await;
    let ledger = DynamoLedger::new(&config, "suite");
    conformance::runs::runs(&ledger).await;
    conformance::outcomes::outcomes(&ledger).await;
    conformance::coordination::coordination(&ledger, &ledger).await;
    conformance::reviews::reviews(&ledger).await;
    conformance::submitters::submitters(&ledger).await;
}

/// So that the test of a full sheet measures report against what DynamoDB does.
#[tokio::test(flavor = "multi_thread")]
async fn run_tables_of_the_tests_are_like_those_of_dynamodb() {
    let aws = Emulator::ministack();
    let tables = RunTables::start(&aws.url()).await;
    let ledger = DynamoLedger::new(&sdk_config(&tables.url()), "suite");
    conformance::outcomes::outcomes(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_share_an_account() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    for stack in ["mill", "mill-run-x"] {
        runs_table(&config, stack).await;
    }
    let [one, two] = ["mill", "mill-run-x"].map(|stack| DynamoLedger::new(&config, stack));
    two.create_table(&run(), PLAN).await.unwrap();
    assert_eq!(one.list_tables().await.unwrap(), []);
    assert_eq!(two.list_tables().await.unwrap(), [run()]);
}

/// More tables than one page of ListTables (100).
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_over_all_pages() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let ledger = DynamoLedger::new(&config, "suite");
    let ids: Vec<RunId> = (0..120_u32)
        .map(|n| format!("20261121-suite-{n:012x}").parse().unwrap())
        .collect();
    for id in &ids {
        ledger.create_table(id, PLAN).await.unwrap();
    }
    assert_eq!(ledger.list_tables().await.unwrap(), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runs_table_is_on_demand_tagged_and_warm_if_the_plan_needs_it() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let client = Client::new(&config);
    let wire = Wire::new(0);
    let ledger = DynamoLedger::new(&wire.on(&config), "suite");
    let name = format!("suite-run-{}", run());
    for (writes, warm) in [(4000, None), (12_000, Some(12_000))] {
        let plan = TablePlan {
            writes_per_second: writes,
            records: 1_000_000,
        };
        ledger.create_table(&run(), plan).await.unwrap();
        let described = client.describe_table().table_name(&name).send().await;
        let table = described.unwrap().table.unwrap();
        assert_eq!(table.table_status(), Some(&TableStatus::Active));
        let billing = table.billing_mode_summary().unwrap();
        assert_eq!(billing.billing_mode().unwrap().as_str(), "PAY_PER_REQUEST");
        assert_eq!(table.deletion_protection_enabled(), Some(false));
        // ministack does not store warm throughput, so check the request.
        let sent = wire.sent("DynamoDB_20120810.CreateTable");
        let asked = &sent.last().unwrap().body["WarmThroughput"]["WriteUnitsPerSecond"];
        assert_eq!(asked.as_i64(), warm);
        let tags = client.list_tags_of_resource();
        let tags = tags.resource_arn(table.table_arn().unwrap()).send().await;
        let tags = tags.unwrap();
        let mut tags: Vec<_> = tags.tags().iter().map(|t| (t.key(), t.value())).collect();
        tags.sort_unstable();
        let id = run();
        assert_eq!(
            tags,
            [("rowmill:run", id.as_str()), ("rowmill:stack", "suite")]
        );
        ledger.drop_table(&run()).await.unwrap();
    }
}

/// A page of a query has at most 1 MB.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_of_several_megabytes_are_complete_and_in_order() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let ledger = DynamoLedger::new(&config, "suite");
    ledger.create_table(&run(), PLAN).await.unwrap();
    let large = |row| Outcome {
        // Quotes and backslashes take the most space in the request.
        error: Some("\"\\".repeat(45_000)),
        ..outcome(row)
    };
    // 60 items of 180 KB of JSON, 360 KB each in the request.
    let all: Vec<Outcome> = (2..62).map(large).collect();
    ledger.put_outcomes(&run(), 3, &all).await.unwrap();
    let stored = ledger.read_outcomes(&run(), 3, 0..=u32::MAX).await.unwrap();
    assert!(stored == all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_was_lost_is_recognized_as_ours() {
    use rowmill_domain::run::UploadSource;
    use rowmill_domain::{RunItem, RunState};
    use rowmill_ports::RunPatch;
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    runs_table(&config, "suite").await;
    let ledger = DynamoLedger::new(&config, "suite");
    let now = "2026-11-21T10:00:00.123456789Z".parse().unwrap();
    let source = UploadSource {
        bucket: "inbox".into(),
        key: "suite/a.xlsx".into(),
        version: "v1".into(),
        size: 1,
        uploaded: now,
    };
    let item = RunItem::new(run(), source, now);
    ledger.create_run(&item).await.unwrap();
    let patch = RunPatch {
        state: Some(RunState::Running),
        jobs: Some(2),
        ..RunPatch::default()
    };
    let from = [RunState::Splitting];
    #[expect(clippy::disallowed_methods, reason = "tests the port itself")]
    let update = async |now| {
        let patch = patch.clone();
        ledger.update_run(&run(), &from, patch, now).await.unwrap()
    };
    assert!(update(now).await);
    assert!(
        update(now).await,
        "the same call again, as the SDK sends it"
    );
    let later = now + Duration::from_nanos(1);
    assert!(!update(later).await, "another update is too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_and_its_jobs_expire_long_after_it_is_cleaned_up() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    runs_table(&config, "suite").await;
    let ledger = DynamoLedger::new(&config, "suite");
    let client = Client::new(&config);
    let now = Utc::now();
    let source = UploadSource {
        bucket: "inbox".to_owned(),
        key: "p/a.csv".to_owned(),
        version: "1".to_owned(),
        size: 1,
        uploaded: now,
    };
    let (run, job) = (run(), JobId("job-1".to_owned()));
    ledger
        .create_run(&RunItem::new(run.clone(), source, now))
        .await
        .unwrap();
    let name = JobName::new(&run, 0, 0);
    ledger.record_job(&run, &name, &job).await.unwrap();
    let items = async || {
        let all = client.scan().table_name("suite-runs").send().await;
        all.unwrap().items.unwrap()
    };
    let before = items().await;
    let item = before
        .iter()
        .find(|item| item["pk"].as_s().unwrap() == "run");
    assert!(!item.unwrap().contains_key("expires"), "{item:?}");

    for (change, fields) in [
        (Transition::Fail, RunPatch::default()),
        (
            Transition::Clean,
            RunPatch {
                cleaned: Some(now),
                ..RunPatch::default()
            },
        ),
    ] {
        assert!(change.apply(&ledger, &run, fields, now).await.unwrap());
    }
    let kept = RUN_KEPT.as_secs() as i64;
    let after = items().await;
    // The run, its job, and its place in the list of runs.
    assert_eq!(after.len(), 3, "{after:?}");
    for item in after {
        let expires: i64 = item["expires"].as_n().unwrap().parse().unwrap();
        assert!((expires - now.timestamp() - kept).abs() < 60, "{item:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_key_expires_a_day_after_its_last_permit() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    permits_table(&config, "suite").await;
    let ledger = DynamoLedger::new(&config, "suite");
    let client = Client::new(&config);
    let now: DateTime<Utc> = "2026-11-21T10:00:00.9Z".parse().unwrap();
    // From one permit without a gap to permits for two years.
    for (permits, gap) in [
        (1, 1),
        (7, 100_000),
        (100, 86_400_000_000),
        (1, 1),
        (630, 86_400_000_000),
    ] {
        let gap = Duration::from_micros(gap);
        ledger
            .take_permits("a.example", permits, gap, now)
            .await
            .unwrap();
        let item = client.get_item().table_name("suite-permits");
        let item = item.key("rate_key", AttributeValue::S("a.example".into()));
        let item = item.send().await.unwrap().item.unwrap();
        let [next, expires] = ["next", "expires"].map(|name| {
            let number: i64 = item[name].as_n().unwrap().parse().unwrap();
            number
        });
        let kept = expires - next / 1_000_000_000;
        assert!((86_400..86_500).contains(&kept), "{kept} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_operation_the_resource_and_the_request_id() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let ledger = DynamoLedger::new(&config, "suite");
    let id = run();
    let table = format!("suite-run-{id}");
    let absent = ledger
        .put_outcomes(&id, 0, &[outcome(1)])
        .await
        .unwrap_err();
    assert_eq!(
        (absent.operation, absent.resource.as_str()),
        ("BatchWriteItem", &*table)
    );
    assert_eq!(absent.kind, ErrorKind::NotFound);
    let said = absent.to_string();
    assert!(said.contains("ResourceNotFoundException: "), "{said}");
    assert!(said.contains("(HTTP 400, request id "), "{said}");

    // The stack's table does not exist.
    let lease = Duration::from_secs(60);
    let claim = ledger.claim(&id, Work::Split, "me", Utc::now(), lease);
    let error = claim.await.unwrap_err();
    assert_eq!(
        (error.operation, error.resource.as_str()),
        ("UpdateItem", id.as_str())
    );
    runs_table(&config, "suite").await;
    let claim = ledger.claim(&id, Work::Split, "me", Utc::now(), lease);
    assert_eq!(claim.await.unwrap(), Claim::Taken { resumed: false });
    let lost = ledger.complete(&id, Work::Split, "you").await.unwrap_err();
    assert_eq!(lost.message, "you does not hold split");
}
