//! Storms from seeds, lost hosts, and a day of runs.
//!
//! `ROWMILL_SEED=17` plays the storm of that seed, with a line for each call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rowmill_tests_storm::network::Weather;
use rowmill_tests_storm::storm::{Expected, Played, Storm, differs, in_virtual_time};
use rowmill_tests_storm::upload::{Upload, pipeline};
use rowmill_tests_storm::world::{Climate, World};

/// Seeds of storms that found an error, which is fixed.
const FOUND_AN_ERROR: [u64; 0] = [];

/// Plays a storm. A failure names the seed and the commit, which replay it.
fn play(seed: u64, expected: &mut Expected) -> Result<Played, String> {
    let storm = Storm::new(seed);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        in_virtual_time(storm.play(expected))
    }));
    let wrong = match played {
        Ok(Ok(played)) => return Ok(played),
        Ok(Err(wrong)) => wrong,
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(message) => message.clone(),
            None => "it panicked, see above".to_owned(),
        },
    };
    let git = std::process::Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output();
    let commit = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Err(format!(
        "ROWMILL_SEED={seed} at commit {}: {wrong}\n{storm:?}",
        commit.unwrap_or_default()
    ))
}

/// Plays storms on all processors.
fn play_all(seeds: impl Iterator<Item = u64> + Send) {
    let begun = Instant::now();
    let seeds = std::sync::Mutex::new(seeds);
    let (storms, calls, disasters, deaths, repeated, reevaluated, given_up) = Default::default();
    let wrong = std::sync::Mutex::new(Vec::new());
    let add = |sum: &AtomicU64, more: u64| sum.fetch_add(more, Ordering::Relaxed);
    let worker = || {
        let mut expected = Expected::default();
        loop {
            let Some(seed) = seeds.lock().unwrap().next() else {
                return;
            };
            match play(seed, &mut expected) {
                Ok(played) => {
                    add(&calls, played.calls);
                    add(&disasters, played.disasters as u64);
                    add(&deaths, played.killed_children);
                    add(&repeated, played.repeated);
                    add(&reevaluated, played.reevaluated);
                    add(&given_up, played.given_up);
                }
                Err(failure) => wrong.lock().unwrap().push(failure),
            }
            add(&storms, 1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let number = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    println!(
        "{} storms: {} calls, {} disasters, {} children killed, {} requests repeated, \
         {} runs re-evaluated, {} runs failed because all attempts to split them did, {:.0} s",
        number(&storms),
        number(&calls),
        number(&disasters),
        number(&deaths),
        number(&repeated),
        number(&reevaluated),
        number(&given_up),
        begun.elapsed().as_secs_f64()
    );
    assert!(number(&reevaluated) > 0);
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn twenty_storms() {
    play_all(FOUND_AN_ERROR.into_iter().chain(0..20));
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn a_thousand_storms() {
    play_all(1_000..2_000);
}

#[test]
fn a_seed_replays_call_by_call() {
    for seed in 0..3 {
        let played = || play(seed, &mut Expected::default()).unwrap();
        assert_eq!(played(), played(), "seed {seed}");
    }
}

#[test]
#[ignore = "plays the storm of ROWMILL_SEED"]
fn one_storm() {
    let seed = std::env::var("ROWMILL_SEED").expect("ROWMILL_SEED");
    let storm = Storm::new(seed.parse().expect("a number"));
    println!("{storm:#?}");
    let played = in_virtual_time(storm.play_with_log(&mut Expected::default()));
    println!("{played:#?}");
    played.unwrap();
}

#[test]
fn spot_interruptions_lose_no_record_and_repeat_little() {
    let upload = Upload {
        name: "a.csv".to_owned(),
        records: 240,
    };
    let mut all = 0;
    for seed in 0..8 {
        let (concurrency, per_child) = (4, 30);
        let climate = Climate {
            seed,
            weather: Weather::Calm,
            spot: 30,
            chunk_records: 90,
            ..Climate::calm()
        };
        all += in_virtual_time(async {
            let expected = Expected::default().of(&upload).await;
            let mut world = World::new(climate, &pipeline(per_child, concurrency)).await;
            let run = world.upload(&upload).await;
            let runs = std::slice::from_ref(&run);
            world.until_cleaned(runs, TimeDelta::days(1)).await;
            let found = world.delivered(&run);
            assert!(found == expected, "{}", differs(&found, &expected));
            let repeated = world.coordination.asked() - u64::from(upload.records);
            let (killed, unwritten) = (world.killed_children, world.outcomes.most_written());
            let bound = killed * (u64::from(concurrency) + unwritten);
            println!(
                "{killed} children killed: {repeated} records repeated, of at most {bound}; \
                 the largest batch has {unwritten}"
            );
            assert!(repeated <= bound, "{repeated} of at most {bound}");
            killed
        });
    }
    assert!(all > 8, "{all} children were killed");
}

#[test]
fn jobs_are_submitted_at_most_fifty_times_per_second() {
    let upload = Upload {
        name: "a.csv".to_owned(),
        records: 240,
    };
    in_virtual_time(async {
        let climate = Climate {
            chunk_records: 3,
            latency: 1,
            ..Climate::calm()
        };
        let mut world = World::new(climate, &pipeline(3, 2)).await;
        let run = world.upload(&upload).await;
        let runs = std::slice::from_ref(&run);
        world.until_cleaned(runs, TimeDelta::days(1)).await;
        let times = world.network.submitted();
        assert_eq!(times.len(), 160, "80 chunks of two phases");
        let most = rowmill_domain::limits::SUBMIT_PER_SECOND as usize;
        let second = Duration::from_secs(1);
        let windows = times.windows(most + 1);
        assert!(
            windows
                .clone()
                .all(|times| times[most] - times[0] >= second)
        );
        let all = times[159] - times[0];
        assert!(all < 4 * second, "the limit is used: {all:?}");
    });
}

#[test]
fn two_concurrent_reports_send_one_email() {
    let upload = Upload {
        name: "a.csv".to_owned(),
        records: 9,
    };
    for seed in 0..8 {
        in_virtual_time(async {
            let expected = Expected::default().of(&upload).await;
            let climate = Climate {
                seed,
                duplicates: 100,
                ..Climate::calm()
            };
            let mut world = World::new(climate, &pipeline(2, 2)).await;
            let run = world.upload(&upload).await;
            let runs = std::slice::from_ref(&run);
            world.until_cleaned(runs, TimeDelta::days(1)).await;
            world.sweeps(3).await;
            let found = world.delivered(&run);
            assert!(found == expected, "{}", differs(&found, &expected));
            assert_eq!(world.mails(&run), Ok(1), "seed {seed}");
        });
    }
}

/// Bytes of memory in use.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn a_day_of_runs_leaves_nothing_behind() {
    let begun = Instant::now();
    let climate = Climate {
        seed: 24,
        weather: Weather::Storm {
            seed: 24,
            one_in: 40,
            lasts: Duration::from_secs(24 * 3600),
        },
        chunk_records: 10,
        spot: 10,
        duplicates: 20,
        late: 5,
        lost: 2,
        ..Climate::calm()
    };
    in_virtual_time(async {
        let mut world = World::new(climate, &pipeline(5, 2)).await;
        let end = world.now() + TimeDelta::hours(24);
        let (mut count, mut runs, mut at_first) = (0, Vec::new(), 0);
        while world.now() < end {
            let upload = Upload {
                name: format!("{count}.csv"),
                records: 5 + count % 40,
            };
            runs.push((world.upload(&upload).await, upload));
            count += 1;
            let next = world.now() + TimeDelta::minutes(6);
            world.until(next).await;
            // Each hour, what expires in a deployment after days.
            if count % 10 == 0 {
                runs.retain(|(run, upload)| {
                    let Some(item) = world.run(run).filter(|run| run.cleaned.is_some()) else {
                        return true;
                    };
                    assert_eq!(item.counts.records, u64::from(upload.records));
                    assert_eq!(item.counts.missing, 0, "{item:?}");
                    assert!(world.mails(run).unwrap() > 0);
                    false
                });
                world.forget_ended();
            }
            if count == 60 {
                at_first = memory();
            }
        }
        let open: Vec<_> = runs.iter().map(|(run, _)| run.clone()).collect();
        world.until_cleaned(&open, TimeDelta::days(1)).await;
        world.sweeps(3).await;
        world.forget_ended();
        assert_eq!(world.leftovers().await, [] as [&str; 0]);
        let grown = memory().saturating_sub(at_first) / 1024 / 1024;
        println!(
            "24 hours: {count} runs, {} calls, {} disasters; memory grew by {grown} MiB from the \
             60th run on; {:.0} s",
            world.network.calls(),
            world.network.disasters(),
            begun.elapsed().as_secs_f64()
        );
        assert!(grown < 16, "memory grew by {grown} MiB");
    });
}
