//! The sweep: it restarts stalled runs and removes data that belongs to no run.

use crate::bench::{Bench, WORK, at, split_killed_when};
use rowmill_cleanup::{CleanupError, Finding, Mode};
use rowmill_domain::event::Reported;
use rowmill_domain::job::JobStatus;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Work;
use rowmill_domain::second_round::NO_CAPACITY;
use rowmill_domain::{RunId, RunState, keys};
use rowmill_ports::{Claim, Coordination, Jobs, Objects, Outcomes, Put, RunPatch, Runs, TablePlan};
use rowmill_runs::Transition;

const INPUT: &str = "id\n1\n2\n";

async fn sweep(bench: &Bench, hours: u32) -> Vec<Finding> {
    let swept = bench
        .cleanup
        .sweep(Mode::Repair, &at("sweep", hours))
        .await
        .unwrap();
    assert!(swept.errors.is_empty(), "{:?}", swept.errors);
    swept.findings
}

/// A run that is split and not submitted.
async fn split(bench: &Bench) -> RunId {
    bench.pipeline("p", "").await;
    let event = bench.upload("p/a.csv", INPUT, &[]).await;
    bench.split.handle(&event, &at("split", 0)).await.unwrap();
    rowmill_split::run_id(&event)
}

#[tokio::test]
async fn a_run_with_progress_is_left_alone() {
    let bench = Bench::new();
    let run = split(&bench).await;
    assert_eq!(sweep(&bench, 0).await, []);
    assert_eq!(bench.item(&run).await.state, RunState::Running);
}

#[tokio::test]
async fn a_run_that_was_never_submitted_is_submitted_again() {
    let bench = Bench::new();
    let run = split(&bench).await;
    assert_eq!(
        sweep(&bench, 1).await,
        [Finding::NotSubmitted { run: run.clone() }]
    );
    let message = RunMessage::Split { run: run.clone() };
    assert_eq!(bench.published(), [message.clone(), message]);
    // While an invocation holds the claim, the sweep does nothing.
    let owner = at("submit", 2);
    let lease = rowmill_domain::limits::CLAIM_LEASE;
    let claim = bench
        .ledger
        .claim(&run, Work::Submit, &owner.owner, owner.now, lease)
        .await;
    let first = Claim::Taken { resumed: false };
    assert_eq!(claim.unwrap(), first, "the sweep itself takes no claim");
    assert_eq!(sweep(&bench, 2).await, []);
    bench.submit.handle(&run, &owner).await.unwrap();
    assert_eq!(bench.jobs().await.len(), 1);
}

#[tokio::test]
async fn a_run_whose_split_was_abandoned_ends_with_a_mail() {
    let begun =
        async |bench: &Bench, run: &RunId| bench.ledger.find_run(run).await.unwrap().is_some();
    let (bench, event, run) = split_killed_when(INPUT, begun).await;
    assert_eq!(bench.item(&run).await.state, RunState::Splitting);
    assert_eq!(
        sweep(&bench, 1).await,
        [Finding::SplitAbandoned {
            run: run.clone(),
            file: "a.csv".into()
        }]
    );
    let failure = bench.item(&run).await.failure.unwrap();
    assert!(failure.what.contains("a.csv"), "{failure:?}");
    assert_eq!(
        bench.published(),
        [RunMessage::Failed {
            run: run.clone(),
            failure: failure.clone()
        }]
    );
    // Report did not receive the message, so it is published again.
    assert_eq!(
        sweep(&bench, 2).await,
        [Finding::FailureUnreported {
            run: run.clone(),
            failure: failure.clone()
        }]
    );
    assert_eq!(bench.published().len(), 2);
    // A late retry of split does not revive the run.
    bench.split.handle(&event, &at("split", 3)).await.unwrap();
    assert_eq!(bench.item(&run).await.state, RunState::Splitting);
}

#[tokio::test]
async fn jobs_whose_end_event_was_lost_are_checked() {
    let bench = Bench::new();
    let run = split(&bench).await;
    bench.submit.handle(&run, &at("submit", 0)).await.unwrap();
    assert_eq!(sweep(&bench, 1).await, [], "its job is allowed to wait");
    let job = bench.jobs().await.remove(0);
    bench.batch.terminate(&job.id, "test").await.unwrap();
    assert_eq!(
        sweep(&bench, 1).await,
        [Finding::NotReported { run: run.clone() }]
    );
    assert_eq!(
        bench.published().last(),
        Some(&RunMessage::Check { run: run.clone() })
    );
    // Report started and was killed.
    let (none, now) = (RunPatch::default(), at("", 1).now);
    let started = Transition::StartReport.apply(&*bench.ledger, &run, none, now);
    assert!(started.await.unwrap());
    assert_eq!(
        sweep(&bench, 2).await,
        [Finding::NotReported { run: run.clone() }]
    );
    // Report holds the claim.
    let owner = at("report", 3);
    let lease = crate::bench::HOUR;
    bench
        .ledger
        .claim(&run, Work::Report, &owner.owner, owner.now, lease)
        .await
        .unwrap();
    assert_eq!(sweep(&bench, 3).await, []);
}

#[tokio::test]
async fn a_job_that_waits_too_long_is_abandoned_with_the_reason_that_batch_gives() {
    let array = "[batch]\nrecords_per_child = 1\n";
    let never = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - It needs more than there is";
    let capacity = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill it";
    for (pipeline, status) in [("", JobStatus::Runnable), (array, JobStatus::Pending)] {
        for (why, start) in [
            ("", NO_CAPACITY),
            (capacity, NO_CAPACITY),
            (never, "the job can never start"),
        ] {
            let mut bench = Bench::new();
            bench.pipeline("p", pipeline).await;
            let event = bench.upload("p/a.csv", INPUT, &[]).await;
            let run = rowmill_split::run_id(&event);
            bench.split.handle(&event, &at("split", 0)).await.unwrap();
            bench.submit.handle(&run, &at("submit", 0)).await.unwrap();
            let job = bench.jobs().await.remove(0);
            assert_eq!(job.status, status);
            bench.batch_says(why);
            // Batch's clock determines when the job was created.
            let created = chrono::DateTime::from_timestamp_millis(job.created_at.unwrap()).unwrap();
            let mut cx = at("sweep", 0);
            cx.now = created + crate::bench::HOUR * 5;
            let swept = bench.cleanup.sweep(Mode::Repair, &cx).await.unwrap();
            assert_eq!(swept.findings, []);

            cx.now = created + crate::bench::HOUR * 7;
            let swept = bench.cleanup.sweep(Mode::Repair, &cx).await.unwrap();
            let [
                Finding::JobStuck {
                    run: found,
                    job: name,
                    ..
                },
            ] = &swept.findings[..]
            else {
                panic!("{:?}", swept.findings)
            };
            assert_eq!((found, name), (&run, &job.name));
            let job = bench.jobs().await.remove(0);
            assert_eq!(job.status, JobStatus::Failed);
            let reason = job.status_reason.unwrap();
            assert!(
                reason.starts_with(start) && reason.contains(why),
                "{reason}"
            );
        }
    }
}

#[tokio::test]
async fn data_of_no_run_is_removed() {
    let bench = Bench::new();
    let run = split(&bench).await;
    bench.submit.handle(&run, &at("submit", 0)).await.unwrap();
    let unknown: RunId = "20261121-p-0123456789ab".parse().unwrap();
    let plan = TablePlan {
        writes_per_second: 1,
        records: 1,
    };
    bench.ledger.create_table(&unknown, plan).await.unwrap();
    for key in [
        keys::chunk(&unknown, 0),
        keys::chunk(&unknown, 1),
        "runs/notes.txt".into(),
    ] {
        bench
            .objects
            .put(WORK, &key, "x".into(), Put::default())
            .await
            .unwrap();
    }
    assert_eq!(
        sweep(&bench, 0).await,
        [
            Finding::StrayTable {
                run: unknown.clone()
            },
            Finding::StrayObjects {
                run: unknown.clone()
            },
        ]
    );
    let left: Vec<String> = bench
        .objects_under(keys::RUNS)
        .await
        .into_iter()
        .map(|o| o.0)
        .collect();
    assert!(left.contains(&"runs/notes.txt".to_owned()) && left.contains(&keys::manifest(&run)));
    assert!(
        !left
            .iter()
            .any(|key| key.starts_with(&keys::run_prefix(&unknown)))
    );
    assert_eq!(
        bench.batch.definitions("rowmill-").await.unwrap().len(),
        1,
        "in use"
    );

    // Delivered, but cleanup did not run.
    bench.deliver(&run, at("report", 0).now).await;
    assert_eq!(
        sweep(&bench, 1).await,
        [Finding::NotCleaned { run: run.clone() }]
    );
    assert_eq!(bench.ledger.list_tables().await.unwrap(), []);
    assert_eq!(
        bench.batch.definitions("rowmill-").await.unwrap(),
        [] as [&str; 0]
    );

    // A late process of the run wrote an object.
    bench
        .objects
        .put(WORK, &keys::chunk(&run, 0), "x".into(), Put::default())
        .await
        .unwrap();
    assert_eq!(sweep(&bench, 1).await, [Finding::StrayObjects { run }]);
}

#[tokio::test]
async fn nothing_is_removed_before_the_mail_is_sent() {
    let bench = Bench::new();
    let run = split(&bench).await;
    let reported = Reported { run: run.clone() };
    let error = bench
        .cleanup
        .handle(&reported, &at("cleanup", 1))
        .await
        .unwrap_err();
    assert!(matches!(error, CleanupError::NotEnded { .. }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(bench.ledger.list_tables().await.unwrap(), [run]);
}
