//! The adapters in memory pass the suites of `rowmill-ports`.

use std::sync::Mutex;
use std::time::Duration;

use chrono::TimeDelta;
use rowmill_domain::message::RunMessage;
use rowmill_events::sns_messages;
use rowmill_local::batch::MemoryBatch;
use rowmill_ports::conformance;
use rowmill_tests_storm::memory::{
    MemoryBus, MemoryCoordination, MemoryMailer, MemoryObjects, MemoryOutcomes, MemoryRuns,
    MemorySubmitters, system_clock,
};

#[tokio::test]
async fn objects_pass_the_suite() {
    let scratch = tempfile::tempdir().unwrap();
    let buckets = [("work", false), ("inbox", true), ("versions", true)];
    let objects = MemoryObjects::new(system_clock(), &buckets);
    conformance::objects::objects(&objects, "work", scratch.path()).await;
    conformance::objects::objects(&objects, "inbox", scratch.path()).await;
    conformance::objects::copy_if_absent(&objects, "work").await;
    conformance::objects::versioned_objects(&objects, "versions", scratch.path()).await;
}

#[tokio::test]
async fn the_ledger_passes_the_suites() {
    let outcomes = MemoryOutcomes::default();
    conformance::runs::runs(&MemoryRuns::default()).await;
    conformance::outcomes::outcomes(&outcomes).await;
    let coordination = MemoryCoordination::new(&outcomes);
    conformance::coordination::coordination(&coordination, &outcomes).await;
    conformance::submitters::submitters(&MemorySubmitters::default()).await;
}

#[tokio::test]
async fn jobs_pass_the_suite() {
    let clock = system_clock();
    let jobs = MemoryBatch::new("main", Box::new(move || clock()));
    conformance::jobs::jobs(&jobs, "main").await;
    conformance::jobs::jobs_limits(&jobs, "main").await;
    assert_eq!(jobs.open_jobs(), 0);
}

#[tokio::test]
async fn the_mailer_passes_the_suite() {
    let mailer = MemoryMailer::default();
    conformance::mailer::mailer(&mailer, "rowmill@example.com", "ana@example.com").await;
    assert_eq!(mailer.sent().len(), 2);
}

/// A bus that delivers every message once and at once.
fn bus() -> MemoryBus {
    MemoryBus::new(system_clock(), Box::new(|_, _| vec![TimeDelta::zero()]))
}

#[tokio::test]
async fn the_topic_passes_the_suite() {
    let (bus, received) = (bus(), Mutex::new(Vec::new()));
    let received = |kind: &str| {
        let mut received = received.lock().unwrap();
        while let Some(message) = bus.next() {
            received.extend(sns_messages(&message.letter.payload).unwrap());
        }
        let all = received.iter().cloned();
        all.filter(|message: &RunMessage| message.kind() == kind)
            .collect::<Vec<RunMessage>>()
    };
    conformance::topic::topic(&bus, &received, Duration::ZERO).await;
}

#[tokio::test]
async fn the_scheduler_passes_the_suite() {
    let (bus, received) = (bus(), Mutex::new(Vec::new()));
    let received = || {
        let mut received = received.lock().unwrap();
        while let Some(message) = bus.next() {
            received.extend(sns_messages(&message.letter.payload).unwrap());
        }
        received.clone()
    };
    conformance::scheduler::scheduler(&bus, &received, Duration::from_secs(5)).await;
}
