//! The time set for a run: it is looked at until it is cleaned, and moved on where it stands still.

use crate::place::{Place, STALLED_AFTER, at};
use rowmill_cleanup::SweepAction;
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::message::Message;
use rowmill_domain::{RunId, keys};
use rowmill_ports::Runs;

/// A run that is split at hour 0, and not submitted.
async fn split(place: &Place) -> RunId {
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", "id\n1\n2\n", &[]).await;
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    rowmill_split::run_id(&event)
}

/// The one time that is set, for that run.
fn next(place: &Place, run: &RunId) -> i64 {
    let [(message, due)] = &place.due()[..] else {
        panic!("one time: {:?}", place.due())
    };
    assert_eq!(*message, Message::Due { run: run.clone() });
    *due
}

fn seconds_after(cx: &Invocation) -> i64 {
    (cx.now + STALLED_AFTER).timestamp()
}

#[tokio::test]
async fn a_run_that_moved_is_looked_at_again_once_it_could_stand_still() {
    let place = Place::new();
    let run = split(&place).await;
    assert_eq!(next(&place, &run), seconds_after(&at("", 0)));
    let mut cx = at("due", 0);
    cx.now += STALLED_AFTER / 3;
    assert_eq!(place.cleanup.due(&run, &cx).await.unwrap(), []);
    // A quarter of an hour after it moved last, not after this look.
    assert_eq!(next(&place, &run), seconds_after(&at("", 0)));
}

#[tokio::test]
async fn a_run_that_stands_still_is_moved_on_and_looked_at_until_it_is_cleaned() {
    let place = Place::new();
    let run = split(&place).await;
    let moved = place.cleanup.due(&run, &at("due", 1)).await.unwrap();
    assert_eq!(moved, [SweepAction::Resubmitted { run: run.clone() }]);
    assert_eq!(next(&place, &run), seconds_after(&at("", 1)));

    place.submit.handle(&run, &at("submit", 1)).await.unwrap();
    assert_eq!(
        place.cleanup.due(&run, &at("due", 2)).await.unwrap(),
        [],
        "its job waits, and may"
    );
    assert_eq!(next(&place, &run), seconds_after(&at("", 2)));

    // Reported, and cleanup never came.
    place.deliver(&run, at("report", 2).now).await;
    let moved = place.cleanup.due(&run, &at("due", 3)).await.unwrap();
    assert_eq!(moved, [SweepAction::Cleaned { run: run.clone() }]);
    assert_eq!(place.due(), []);
    assert_eq!(place.objects_under(keys::RUNS).await, []);
    // One that was on its way already.
    assert_eq!(place.cleanup.due(&run, &at("due", 4)).await.unwrap(), []);
    assert_eq!(place.due(), []);
}

#[tokio::test]
async fn a_look_that_is_killed_anywhere_leaves_a_next_one() {
    for steps in 0.. {
        let place = Place::new();
        let run = split(&place).await;
        // Its time has come, and is no longer set.
        place
            .cloud
            .with(|conn| conn.execute("DELETE FROM schedule", ()))
            .unwrap();
        place.faults.kill_after(steps);
        let looked = place.cleanup.due(&run, &at("due", 1)).await;
        let killed = place.faults.is_killed();
        assert_eq!(looked.is_err(), killed);
        place.faults.restart();
        if killed {
            // The message is delivered again.
            place.cleanup.due(&run, &at("due", 1)).await.unwrap();
        }
        assert_eq!(next(&place, &run), seconds_after(&at("", 1)));
        let resubmit = Message::Split { run: run.clone() };
        let told = place.published().into_iter().filter(|m| *m == resubmit);
        assert!(told.count() >= 2, "split's, and the look's");
        if !killed {
            assert!(steps > 5, "{steps}");
            return;
        }
    }
}

#[tokio::test]
async fn the_sweep_sets_a_time_that_was_lost() {
    let place = Place::new();
    let run = split(&place).await;
    place
        .cloud
        .with(|conn| conn.execute("DELETE FROM schedule", ()))
        .unwrap();
    place.cleanup.sweep(&at("sweep", 1)).await.unwrap();
    assert_eq!(next(&place, &run), seconds_after(&at("", 1)));
}

#[tokio::test]
async fn the_time_of_a_run_that_never_was_is_over_without_a_next_one() {
    let place = Place::new();
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", "id\n1\n", &[]).await;
    let run = rowmill_split::run_id(&event);
    // Killed once its time is set, before it is created.
    place.faults.kill_after(4);
    place
        .split
        .handle(&event, &at("split", 0))
        .await
        .unwrap_err();
    place.faults.restart();
    assert_eq!(place.ledger.run(&run).await.unwrap(), None);
    assert_eq!(next(&place, &run), seconds_after(&at("", 0)));
    place
        .cloud
        .with(|conn| conn.execute("DELETE FROM schedule", ()))
        .unwrap();
    assert_eq!(place.cleanup.due(&run, &at("due", 1)).await.unwrap(), []);
    assert_eq!(place.due(), []);
    // A late retry of split makes the run, with a time.
    place.split.handle(&event, &at("split", 2)).await.unwrap();
    assert_eq!(next(&place, &run), seconds_after(&at("", 2)));
    let reported = Reported { run: run.clone() };
    place.deliver(&run, at("", 2).now).await;
    place
        .cleanup
        .handle(&reported, &at("cleanup", 3))
        .await
        .unwrap();
    assert_eq!(place.due(), []);
}
