//! The scheduled check of a run: it repeats until the run is cleaned up, and restarts a run that is
//! stalled.

use crate::bench::{Bench, STALLED_AFTER, at, split_killed_when};
use rowmill_cleanup::{Finding, Mode};
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::message::RunMessage;
use rowmill_domain::{RunId, keys};
use rowmill_ports::Runs;

/// A run that is split at hour 0 and not submitted.
async fn split(bench: &Bench) -> RunId {
    bench.pipeline("p", "").await;
    let event = bench.upload("p/a.csv", "id\n1\n2\n", &[]).await;
    bench.split.handle(&event, &at("split", 0)).await.unwrap();
    rowmill_split::run_id(&event)
}

/// The due time of the only scheduled check, which must be for this run.
fn next(bench: &Bench, run: &RunId) -> i64 {
    let [(message, due)] = &bench.due()[..] else {
        panic!("not one check: {:?}", bench.due())
    };
    assert_eq!(*message, RunMessage::Due { run: run.clone() });
    *due
}

fn seconds_after(cx: &Invocation) -> i64 {
    (cx.now + STALLED_AFTER).timestamp()
}

#[tokio::test]
async fn a_run_with_progress_is_checked_again_when_it_could_be_stalled() {
    let bench = Bench::new();
    let run = split(&bench).await;
    assert_eq!(next(&bench, &run), seconds_after(&at("", 0)));
    let mut cx = at("due", 0);
    cx.now += STALLED_AFTER / 3;
    assert_eq!(bench.cleanup.due(&run, &cx).await.unwrap(), []);
    // A quarter of an hour after its last progress, not after this check.
    assert_eq!(next(&bench, &run), seconds_after(&at("", 0)));
}

#[tokio::test]
async fn a_stalled_run_is_restarted_and_checked_until_it_is_cleaned_up() {
    let bench = Bench::new();
    let run = split(&bench).await;
    let moved = bench.cleanup.due(&run, &at("due", 1)).await.unwrap();
    assert_eq!(moved, [Finding::NotSubmitted { run: run.clone() }]);
    assert_eq!(next(&bench, &run), seconds_after(&at("", 1)));

    bench.submit.handle(&run, &at("submit", 1)).await.unwrap();
    assert_eq!(
        bench.cleanup.due(&run, &at("due", 2)).await.unwrap(),
        [],
        "its job is allowed to wait"
    );
    assert_eq!(next(&bench, &run), seconds_after(&at("", 2)));

    // Reported, but cleanup did not run.
    bench.deliver(&run, at("report", 2).now).await;
    let moved = bench.cleanup.due(&run, &at("due", 3)).await.unwrap();
    assert_eq!(moved, [Finding::NotCleaned { run: run.clone() }]);
    assert_eq!(bench.due(), []);
    assert_eq!(bench.objects_under(keys::RUNS).await, []);
    // A check that was already delivered.
    assert_eq!(bench.cleanup.due(&run, &at("due", 4)).await.unwrap(), []);
    assert_eq!(bench.due(), []);
}

#[tokio::test]
async fn a_check_that_is_killed_anywhere_schedules_the_next_check() {
    for steps in 0.. {
        let bench = Bench::new();
        let run = split(&bench).await;
        // The check is delivered, so it is no longer scheduled.
        bench
            .cloud
            .with(|conn| conn.execute("DELETE FROM schedule", ()))
            .unwrap();
        bench.faults.kill_after(steps);
        let checked = bench.cleanup.due(&run, &at("due", 1)).await;
        let killed = bench.faults.is_killed();
        assert_eq!(checked.is_err(), killed);
        bench.faults.restart();
        if killed {
            // The message is delivered again.
            bench.cleanup.due(&run, &at("due", 1)).await.unwrap();
        }
        assert_eq!(next(&bench, &run), seconds_after(&at("", 1)));
        let resubmit = RunMessage::Split { run: run.clone() };
        let resubmits = bench.published().into_iter().filter(|m| *m == resubmit);
        assert!(resubmits.count() >= 2, "one of split, one of the check");
        if !killed {
            assert!(steps > 5, "{steps}");
            return;
        }
    }
}

#[tokio::test]
async fn the_sweep_schedules_a_lost_check_again() {
    let bench = Bench::new();
    let run = split(&bench).await;
    bench
        .cloud
        .with(|conn| conn.execute("DELETE FROM schedule", ()))
        .unwrap();
    bench
        .cleanup
        .sweep(Mode::Repair, &at("sweep", 1))
        .await
        .unwrap();
    assert_eq!(next(&bench, &run), seconds_after(&at("", 1)));
}

#[tokio::test]
async fn a_check_of_a_run_that_was_never_created_is_the_last() {
    let scheduled = async |bench: &Bench, run: &RunId| {
        !bench.due().is_empty() && bench.ledger.find_run(run).await.unwrap().is_none()
    };
    let (bench, event, run) = split_killed_when("id\n1\n", scheduled).await;
    assert_eq!(next(&bench, &run), seconds_after(&at("", 0)));
    bench
        .cloud
        .with(|conn| conn.execute("DELETE FROM schedule", ()))
        .unwrap();
    assert_eq!(bench.cleanup.due(&run, &at("due", 1)).await.unwrap(), []);
    assert_eq!(bench.due(), []);
    // A late retry of split creates the run and schedules its check.
    bench.split.handle(&event, &at("split", 2)).await.unwrap();
    assert_eq!(next(&bench, &run), seconds_after(&at("", 2)));
    let reported = Reported { run: run.clone() };
    bench.deliver(&run, at("", 2).now).await;
    bench
        .cleanup
        .handle(&reported, &at("cleanup", 3))
        .await
        .unwrap();
    assert_eq!(bench.due(), []);
}
