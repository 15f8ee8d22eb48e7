//! Every call of a run, one at a time, fails before or after it took effect, is made twice, or is the
//! last of its process. The run ends all the same, with the same workbook.

use std::time::Duration;

use chrono::TimeDelta;
use rowmill_domain::limits::CLAIM_LEASE;
use rowmill_ports::faulty::{Fault, Moment};
use rowmill_tests_storm::network::{Disaster, Weather};
use rowmill_tests_storm::storm::{differs, in_virtual_time};
use rowmill_tests_storm::upload::{Upload, pipeline};
use rowmill_tests_storm::verdict::Delivered;
use rowmill_tests_storm::world::{Climate, World};

/// Three chunks, each of two phases, with arrays of two children.
fn upload() -> Upload {
    Upload {
        name: "a.csv".to_owned(),
        records: 9,
    }
}

/// Plays the run in this weather. Returns its result and the number of calls.
async fn play(weather: Weather) -> (Delivered, u64) {
    let climate = Climate {
        weather,
        ..Climate::calm()
    };
    let mut world = World::new(climate, &pipeline(2, 2)).await;
    let run = world.upload(&upload()).await;
    let runs = std::slice::from_ref(&run);
    world.until_cleaned(runs, TimeDelta::days(1)).await;
    let left = world.leftovers().await;
    assert_eq!(left, [] as [&str; 0], "{:?}", world.network.happened());
    world.mails(&run).unwrap();
    (world.delivered(&run), world.network.calls())
}

/// Plays the run once for each of its calls, which meets this disaster.
fn at_every_call(disaster: Disaster) {
    let (expected, calls) = in_virtual_time(play(Weather::Calm));
    assert_eq!(expected.counts.records, 9);
    let mut wrong = Vec::new();
    for call in 0..calls {
        let weather = Weather::Nth(call, disaster);
        match std::panic::catch_unwind(|| in_virtual_time(play(weather)).0) {
            Ok(found) if found == expected => {}
            Ok(found) => wrong.push(format!("{call}: {}", differs(&found, &expected))),
            Err(_) => wrong.push(format!("{call}: panicked, see above")),
        }
    }
    println!("{disaster:?}: {calls} runs, one for each call");
    assert!(calls > 100, "{calls}");
    let (wrong, count) = (wrong.join("\n"), wrong.len());
    assert!(
        count == 0,
        "{disaster:?} at {count} of {calls} calls:\n{wrong}"
    );
}

/// Plays the run with a process that is suspended at this call for longer than a claim is held, while the
/// run is checked and others take its work. Returns its result, and what happened twice.
async fn suspended(call: u64) -> (Delivered, Option<String>) {
    let disaster = Disaster::Delay(CLAIM_LEASE + Duration::from_secs(600));
    let climate = Climate {
        weather: Weather::Nth(call, disaster),
        limit: Duration::from_secs(7200),
        ..Climate::calm()
    };
    let mut world = World::new(climate, &pipeline(2, 2)).await;
    let run = world.upload(&upload()).await;
    let runs = std::slice::from_ref(&run);
    world.until_cleaned(runs, TimeDelta::days(1)).await;
    world.sweeps(3).await;
    let left = world.leftovers().await;
    assert_eq!(left, [] as [&str; 0], "{:?}", world.network.happened());
    // What was sent before may still have an effect.
    let happened = world.network.happened();
    let operation = happened.first().map_or("", |happened| happened.operation);
    let (mails, jobs) = (world.mails(&run).unwrap(), world.batch.submitted());
    let mails_at_most = match operation {
        "SendEmail" | "update_run" => 2,
        _ => 1,
    };
    let jobs_at_most = 6 + u64::from(operation == "SubmitJob");
    let twice = (mails > mails_at_most || jobs > jobs_at_most)
        .then(|| format!("{operation}: {mails} emails, {jobs} jobs"));
    (world.delivered(&run), twice)
}

#[test]
fn a_process_that_was_suspended_publishes_nothing_that_another_one_did() {
    let (expected, calls) = in_virtual_time(play(Weather::Calm));
    let mut wrong = Vec::new();
    for call in 0..calls {
        let (found, twice) = in_virtual_time(suspended(call));
        if found != expected {
            wrong.push(format!("{call}: {}", differs(&found, &expected)));
        }
        wrong.extend(twice.map(|twice| format!("{call}: {twice}")));
    }
    let (wrong, count) = (wrong.join("\n"), wrong.len());
    assert!(count == 0, "{count} of {calls} calls:\n{wrong}");
}

#[test]
fn any_request_may_be_lost() {
    at_every_call(Disaster::Fault(Fault::Lost(Moment::Before)));
}

#[test]
fn any_response_may_be_lost() {
    at_every_call(Disaster::Fault(Fault::Lost(Moment::After)));
}

#[test]
fn any_call_may_be_throttled() {
    at_every_call(Disaster::Fault(Fault::Throttled));
}

#[test]
fn any_call_may_take_effect_twice() {
    at_every_call(Disaster::Fault(Fault::Twice));
}

#[test]
fn any_process_may_die_before_a_call_takes_effect() {
    at_every_call(Disaster::Death(Moment::Before));
}

#[test]
fn any_process_may_die_after_a_call_took_effect() {
    at_every_call(Disaster::Death(Moment::After));
}
