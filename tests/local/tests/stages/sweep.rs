//! The sweep: what stands still is moved on, what belongs to nothing is removed.

use crate::place::{Place, WORK, at};
use rowmill_cleanup::{CleanupError, SweepAction};
use rowmill_domain::event::Reported;
use rowmill_domain::job::JobStatus;
use rowmill_domain::message::Message;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunState, keys};
use rowmill_ports::{Claim, Coordination, Jobs, Objects, Outcomes, Put, RunPatch, Runs, TablePlan};

const INPUT: &str = "id\n1\n2\n";

async fn sweep(place: &Place, hours: u32) -> Vec<SweepAction> {
    let swept = place.cleanup.sweep(&at("sweep", hours)).await.unwrap();
    assert!(swept.errors.is_empty(), "{:?}", swept.errors);
    swept.actions
}

/// A run that is split, and not submitted.
async fn split(place: &Place) -> RunId {
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", INPUT, &[]).await;
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    rowmill_split::run_id(&event)
}

#[tokio::test]
async fn a_run_that_moves_is_left_alone() {
    let place = Place::new();
    let run = split(&place).await;
    assert_eq!(sweep(&place, 0).await, []);
    assert_eq!(place.item(&run).await.state, RunState::Running);
}

#[tokio::test]
async fn a_run_that_was_never_submitted_is_told_to_submit_again() {
    let place = Place::new();
    let run = split(&place).await;
    assert_eq!(
        sweep(&place, 1).await,
        [SweepAction::Resubmitted { run: run.clone() }]
    );
    let message = Message::Split { run: run.clone() };
    assert_eq!(place.published(), [message.clone(), message]);
    // While an invocation is at it, it is left alone.
    let owner = at("submit", 2);
    let lease = rowmill_submit::LEASE;
    let claim = place
        .ledger
        .claim(&run, Work::Submit, &owner.owner, owner.now, lease)
        .await;
    let first = Claim::Taken { resumed: false };
    assert_eq!(claim.unwrap(), first, "the sweep itself takes no claim");
    assert_eq!(sweep(&place, 2).await, []);
    place.submit.handle(&run, &owner).await.unwrap();
    assert_eq!(place.jobs().await.len(), 1);
}

#[tokio::test]
async fn a_split_that_was_given_up_ends_in_a_mail() {
    let place = Place::new();
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", INPUT, &[]).await;
    let run = rowmill_split::run_id(&event);
    place.faults.kill_after(12);
    place
        .split
        .handle(&event, &at("split", 0))
        .await
        .unwrap_err();
    place.faults.restart();
    assert_eq!(place.item(&run).await.state, RunState::Splitting);
    assert_eq!(
        sweep(&place, 1).await,
        [SweepAction::SplitFailed { run: run.clone() }]
    );
    let failure = place.item(&run).await.failure.unwrap();
    assert!(failure.what.contains("a.csv"), "{failure:?}");
    assert_eq!(
        place.published(),
        [Message::Failed {
            run: run.clone(),
            failure
        }]
    );
    // Report did not hear of it: it is told again.
    assert_eq!(
        sweep(&place, 2).await,
        [SweepAction::FailureRepeated { run: run.clone() }]
    );
    assert_eq!(place.published().len(), 2);
    // A late try of split does not bring the run back.
    place.split.handle(&event, &at("split", 3)).await.unwrap();
    assert_eq!(place.item(&run).await.state, RunState::Splitting);
}

#[tokio::test]
async fn jobs_whose_end_nobody_heard_of_are_looked_at() {
    let place = Place::new();
    let run = split(&place).await;
    place.submit.handle(&run, &at("submit", 0)).await.unwrap();
    assert_eq!(sweep(&place, 1).await, [], "its job waits, and may");
    let job = place.jobs().await.remove(0);
    place.batch.terminate(&job.id, "test").await.unwrap();
    assert_eq!(
        sweep(&place, 1).await,
        [SweepAction::JobsEnded { run: run.clone() }]
    );
    assert_eq!(
        place.published().last(),
        Some(&Message::Check { run: run.clone() })
    );
    // Report took it up and died.
    let patch = RunPatch {
        state: Some(RunState::Reporting),
        ..RunPatch::default()
    };
    let running = [RunState::Running];
    assert!(
        place
            .ledger
            .update_run(&run, &running, patch, at("", 1).now)
            .await
            .unwrap()
    );
    assert_eq!(
        sweep(&place, 2).await,
        [SweepAction::JobsEnded { run: run.clone() }]
    );
    // Report is at it.
    let owner = at("report", 3);
    let lease = crate::place::HOUR;
    place
        .ledger
        .claim(&run, Work::Report, &owner.owner, owner.now, lease)
        .await
        .unwrap();
    assert_eq!(sweep(&place, 3).await, []);
}

#[tokio::test]
async fn a_job_that_waits_is_told_of_and_given_up_only_where_batch_says_that_it_can_never_run() {
    let array = "[batch]\nseconds_per_record = 240\nconcurrency = 1\n";
    for (pipeline, status) in [("", JobStatus::Runnable), (array, JobStatus::Pending)] {
        let mut place = Place::new();
        place.pipeline("p", pipeline).await;
        let event = place.upload("p/a.csv", INPUT, &[]).await;
        let run = rowmill_split::run_id(&event);
        place.split.handle(&event, &at("split", 0)).await.unwrap();
        place.submit.handle(&run, &at("submit", 0)).await.unwrap();
        let job = place.jobs().await.remove(0);
        assert_eq!(job.status, status);
        // Batch's own clock says when the job was made.
        let created = chrono::DateTime::from_timestamp_millis(job.created_at.unwrap()).unwrap();
        let mut cx = at("sweep", 0);
        cx.now = created + crate::place::HOUR * 5;
        let swept = place.cleanup.sweep(&cx).await.unwrap();
        assert_eq!(swept.actions, []);

        cx.now = created + crate::place::HOUR * 7;
        let capacity = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill it";
        for why in ["", capacity] {
            place.batch_says(why);
            let swept = place.cleanup.sweep(&cx).await.unwrap();
            let expected = SweepAction::JobWaits {
                run: run.clone(),
                job: job.name.clone(),
                why: why.into(),
            };
            assert_eq!(swept.actions, [expected]);
            assert_eq!(place.jobs().await[0].status, status);
        }
        place.batch_says("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - It needs more than there is");
        let swept = place.cleanup.sweep(&cx).await.unwrap();
        let expected = SweepAction::JobGivenUp { run, job: job.name };
        assert_eq!(swept.actions, [expected]);
        let job = place.jobs().await.remove(0);
        assert_eq!(job.status, JobStatus::Failed);
        let reason = job.status_reason.unwrap();
        assert!(reason.contains("JOB_RESOURCE_REQUIREMENT"), "{reason}");
    }
}

#[tokio::test]
async fn what_belongs_to_no_run_is_removed() {
    let place = Place::new();
    let run = split(&place).await;
    place.submit.handle(&run, &at("submit", 0)).await.unwrap();
    let unknown: RunId = "20261121-p-0123456789ab".parse().unwrap();
    let plan = TablePlan {
        writes_per_second: 1,
        records: 1,
    };
    place.ledger.create_table(&unknown, plan).await.unwrap();
    for key in [
        keys::chunk(&unknown, 0),
        keys::chunk(&unknown, 1),
        "runs/notes.txt".into(),
    ] {
        place
            .objects
            .put(WORK, &key, "x".into(), Put::default())
            .await
            .unwrap();
    }
    assert_eq!(
        sweep(&place, 0).await,
        [
            SweepAction::TableDropped {
                run: unknown.clone()
            },
            SweepAction::ObjectsDeleted {
                run: unknown.clone()
            },
        ]
    );
    let left: Vec<String> = place
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
        place.batch.definitions("rowmill-").await.unwrap().len(),
        1,
        "in use"
    );

    // Delivered, and cleanup never came.
    place.deliver(&run, at("report", 0).now).await;
    assert_eq!(
        sweep(&place, 1).await,
        [SweepAction::Cleaned { run: run.clone() }]
    );
    assert_eq!(place.ledger.tables().await.unwrap(), []);
    assert_eq!(
        place.batch.definitions("rowmill-").await.unwrap(),
        [] as [&str; 0]
    );

    // A zombie of it left something behind.
    place
        .objects
        .put(WORK, &keys::chunk(&run, 0), "x".into(), Put::default())
        .await
        .unwrap();
    assert_eq!(
        sweep(&place, 1).await,
        [SweepAction::ObjectsDeleted { run }]
    );
}

#[tokio::test]
async fn nothing_is_removed_before_the_mail_is_sent() {
    let place = Place::new();
    let run = split(&place).await;
    let reported = Reported { run: run.clone() };
    let error = place
        .cleanup
        .handle(&reported, &at("cleanup", 1))
        .await
        .unwrap_err();
    assert!(matches!(error, CleanupError::NotEnded { .. }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(place.ledger.tables().await.unwrap(), [run]);
}
