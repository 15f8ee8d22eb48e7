//! What a sweep finds: a dry run lists it and changes nothing, a sweep repairs it, and then a sweep finds
//! nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use rowmill_cleanup::{Finding, Mode};
use rowmill_domain::run::StopReason;
use rowmill_domain::{RunId, RunState, keys};
use rowmill_ports::{Jobs as _, Objects as _, Outcomes as _, Put, TablePlan};
use rowmill_runs::record_stop;
use rowmill_tests_storm::network::Weather;
use rowmill_tests_storm::storm::{Expected, differs, in_virtual_time};
use rowmill_tests_storm::upload::{Upload, pipeline};
use rowmill_tests_storm::world::{Climate, INBOX, WORK, World};

fn upload() -> Upload {
    Upload {
        name: "a.csv".to_owned(),
        records: 9,
    }
}

/// A world for three chunks, each of two phases. Sweeps are 19 minutes, 39 minutes and so on from now.
async fn world(climate: Climate) -> World {
    let mut world = World::new(climate, &pipeline(2, 2)).await;
    world.until(world.now() + TimeDelta::minutes(1)).await;
    world
}

/// The kinds of what a dry run finds, which changes nothing.
async fn found(world: &World) -> Vec<String> {
    let before = world.stored().await;
    let swept = world.sweep(Mode::DryRun).await;
    assert_eq!(world.stored().await, before, "a dry run changes nothing");
    let json = swept.json(Mode::DryRun);
    let findings = json["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            assert!(finding["what"].is_string() && finding["repair"].is_string());
            finding["kind"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Lets the sweeps finish the run, and checks its result.
async fn is_repaired(world: &mut World, run: &RunId, expected: &mut Expected) {
    let expected = expected.of(&upload()).await;
    let runs = std::slice::from_ref(run);
    world.until_cleaned(runs, TimeDelta::days(1)).await;
    let delivered = world.delivered(run);
    assert!(delivered == expected, "{}", differs(&delivered, &expected));
    is_over(world, run).await;
}

/// Nothing is left of the run but its result and one kind of email.
async fn is_over(world: &mut World, run: &RunId) {
    world.mails(run).unwrap();
    world.sweeps(2).await;
    assert_eq!(found(world).await, [] as [&str; 0]);
    assert_eq!(world.leftovers().await, [] as [&str; 0]);
}

#[test]
fn each_event_of_a_run_may_be_lost_although_nothing_checks_the_run() {
    let unchecked = Climate {
        checks: false,
        ..Climate::calm()
    };
    let events = in_virtual_time(async {
        let mut world = world(unchecked).await;
        let run = world.upload(&upload()).await;
        let runs = std::slice::from_ref(&run);
        world.until_cleaned(runs, TimeDelta::hours(1)).await;
        world.bus.sent()
    });
    let mut kinds = BTreeSet::new();
    for event in 0..events {
        in_virtual_time(async {
            let climate = Climate {
                lost_event: Some(event),
                ..unchecked
            };
            let mut world = world(climate).await;
            let run = world.upload(&upload()).await;
            // The run is stalled, and the next sweep is later.
            world.until(world.now() + TimeDelta::minutes(30)).await;
            let found = found(&world).await;
            assert!(found.len() <= 1, "{event}: {found:?}");
            kinds.extend(found);
            is_repaired(&mut world, &run, &mut Expected::default()).await;
        });
    }
    println!("{events} events; found: {kinds:?}");
    let all = [
        "not_cleaned",
        "not_reported",
        "not_submitted",
        "upload_ignored",
    ];
    assert!(kinds.iter().map(String::as_str).eq(all), "{kinds:?}");
}

/// Every attempt to split ends at this operation, for that long. Returns the world after the sweep has
/// found what is left, and the run.
async fn deadly(operation: &'static str, lasts: Duration, kind: &str) -> (World, RunId) {
    let weather = Weather::Deadly {
        process: "split",
        operation,
        lasts,
    };
    let climate = Climate {
        weather,
        checks: false,
        ..Climate::calm()
    };
    let mut world = world(climate).await;
    let run = world.upload(&upload()).await;
    world.until(world.now() + TimeDelta::minutes(30)).await;
    let dead = world.bus.dead().len();
    assert_eq!(dead, 1, "all three attempts died");
    assert_eq!(found(&world).await, [kind]);
    (world, run)
}

#[test]
fn an_upload_whose_attempts_all_end_before_there_is_a_run_is_split_later() {
    for operation in ["claim", "CreateSchedule", "create_run"] {
        in_virtual_time(async {
            let lasts = Duration::from_secs(1800);
            let (mut world, run) = deadly(operation, lasts, "upload_ignored").await;
            is_repaired(&mut world, &run, &mut Expected::default()).await;
        });
    }
}

#[test]
fn a_run_whose_split_always_dies_fails_with_an_email_and_leaves_nothing() {
    for operation in ["create_table", "PutObject", "update_run"] {
        in_virtual_time(async {
            let lasts = Duration::from_secs(7 * 86_400);
            let (mut world, run) = deadly(operation, lasts, "split_abandoned").await;
            let runs = std::slice::from_ref(&run);
            world.until_cleaned(runs, TimeDelta::hours(2)).await;
            let item = world.run(&run).unwrap();
            assert_eq!(item.state, RunState::Failed);
            assert_eq!(item.failure.unwrap().stage, "split");
            is_over(&mut world, &run).await;
            assert_eq!(world.mails(&run), Ok(1));
        });
    }
}

/// A run whose jobs have waited for ten minutes, because Batch has no slots.
async fn waiting() -> (World, RunId) {
    let climate = Climate {
        checks: false,
        slots: 0,
        ..Climate::calm()
    };
    let mut world = world(climate).await;
    let run = world.upload(&upload()).await;
    world.until(world.now() + TimeDelta::minutes(10)).await;
    (world, run)
}

#[test]
fn jobs_that_batch_lost_are_found_and_their_records_are_not_forgotten() {
    in_virtual_time(async {
        let (mut world, run) = waiting().await;
        assert!(world.batch.open_jobs() > 0);
        assert_eq!(found(&world).await, [] as [&str; 0], "jobs may wait");
        world.batch.lose_jobs();
        world.until(world.now() + TimeDelta::minutes(15)).await;
        let found = found(&world).await;
        assert!(found.len() >= 3 && found.iter().all(|kind| kind == "job_lost"));
        // In the second round.
        world.has_slots(4);
        is_repaired(&mut world, &run, &mut Expected::default()).await;
    });
}

#[test]
fn a_stopped_run_whose_jobs_still_wait_is_stopped() {
    in_virtual_time(async {
        let (mut world, run) = waiting().await;
        // The message that follows is lost.
        let reason = StopReason::Cancelled {
            by: "ana".to_owned(),
        };
        record_stop(&*world.runs, &run, reason, world.now())
            .await
            .unwrap();
        world.until(world.now() + TimeDelta::minutes(25)).await;
        assert_eq!(found(&world).await, ["not_stopped"]);
        assert!(world.batch.open_jobs() > 0);
        let runs = std::slice::from_ref(&run);
        world.until_cleaned(runs, TimeDelta::hours(1)).await;
        let item = world.run(&run).unwrap();
        // No record is done.
        assert_eq!(item.state, RunState::Failed);
        assert_eq!(item.counts.missing, 9, "{item:?}");
        is_over(&mut world, &run).await;
    });
}

#[test]
fn leftovers_of_no_run_and_of_runs_that_ended_are_removed() {
    in_virtual_time(async {
        let mut world = world(Climate::calm()).await;
        let run = world.upload(&upload()).await;
        let runs = std::slice::from_ref(&run);
        world.until_cleaned(runs, TimeDelta::hours(1)).await;
        let unknown: RunId = "20261121-storm-0123456789ab".parse().unwrap();
        let plan = TablePlan {
            writes_per_second: 1,
            records: 1,
        };
        // A killed split leaves some of its chunks.
        for run in [&run, &unknown] {
            world.outcomes.create_table(run, plan).await.unwrap();
            let chunk = keys::chunk(run, 0);
            let put = world
                .objects
                .put(WORK, &chunk, Bytes::from("{\"row\":"), Put::default());
            put.await.unwrap();
        }
        let stray = rowmill_ports::conformance::jobs::definition("rowmill-0123456789ab");
        world.batch.register(&stray).await.unwrap();
        let kinds = [
            "stray_table",
            "stray_table",
            "stray_objects",
            "stray_objects",
            "stray_definition",
        ];
        assert_eq!(found(&world).await, kinds);
        let swept = world.sweep(Mode::Repair).await;
        assert_eq!(swept.findings.len(), kinds.len());
        assert_eq!(found(&world).await, [] as [&str; 0]);
        assert_eq!(world.leftovers().await, [] as [&str; 0]);
        assert!(
            world.delivered(&run).counts.records == 9,
            "the result stays"
        );
    });
}

#[test]
fn what_is_new_or_not_an_upload_is_left_alone() {
    in_virtual_time(async {
        let mut world = world(Climate::calm()).await;
        let objects = world.objects.clone();
        let put = async |key: &str| {
            let put = objects.put(INBOX, key, Bytes::from("id\n1\n"), Put::default());
            put.await.unwrap();
        };
        put("storm/").await;
        put("storm/deleted.csv").await;
        let deleted = ["storm/deleted.csv".to_owned()];
        world.objects.delete(INBOX, &deleted).await.unwrap();
        let sweep = world.sweep(Mode::Repair).await;
        assert_eq!(sweep.findings, []);
        world.until(world.now() + TimeDelta::minutes(30)).await;
        put("storm/new.csv").await;
        assert_eq!(world.sweep(Mode::Repair).await.findings, []);
        world.until(world.now() + TimeDelta::minutes(19)).await;
        let found = world.sweep(Mode::DryRun).await.findings;
        assert_eq!(found, [], "its event may be late");
        world.until(world.now() + TimeDelta::minutes(1)).await;
        let found = world.sweep(Mode::DryRun).await.findings;
        assert!(
            matches!(&found[..], [Finding::UploadIgnored { .. }]),
            "{found:?}"
        );
    });
}
