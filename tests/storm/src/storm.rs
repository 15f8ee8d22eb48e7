//! A world, uploads and faults from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use rowmill_domain::RunId;

use crate::network::{Weather, mix};
use crate::upload::{Upload, changed, pipeline};
use crate::verdict::Delivered;
use crate::world::{Climate, World};

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Storm {
    /// What the world is like.
    pub climate: Climate,
    /// The uploads, each with the time after the one before.
    pub uploads: Vec<(Duration, Upload)>,
    /// The most records of a child.
    pub records_per_child: u32,
    /// Records that a child processes at the same time.
    pub concurrency: u32,
}

/// What a storm did.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// A hash of all calls in their order.
    pub trace: u64,
    /// The number of calls.
    pub calls: u64,
    /// The number of disasters.
    pub disasters: usize,
    /// Children that died.
    pub killed_children: u64,
    /// Runs that failed because all attempts to split them did.
    pub given_up: u64,
    /// Emails.
    pub mails: usize,
    /// Requests beyond one per record.
    pub repeated: u64,
    /// Runs that were re-evaluated.
    pub reevaluated: u64,
    /// How long it took in virtual time.
    pub took: TimeDelta,
}

/// The results of uploads in calm weather, by name, number of records, and whether they are those of the
/// changed pipeline.
#[derive(Default)]
pub struct Expected(BTreeMap<(String, u32, bool), Delivered>);

impl Expected {
    /// What an upload delivers in calm weather.
    pub async fn of(&mut self, upload: &Upload) -> Delivered {
        self.with(upload, false).await
    }

    /// What an upload delivers in calm weather with the [changed] pipeline, without re-evaluation.
    pub async fn of_changed(&mut self, upload: &Upload) -> Delivered {
        self.with(upload, true).await
    }

    async fn with(&mut self, upload: &Upload, is_changed: bool) -> Delivered {
        let key = (upload.name.clone(), upload.records, is_changed);
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let mut toml = pipeline(3, 2);
        if is_changed {
            toml = changed(&toml);
        }
        let mut world = World::new(Climate::calm(), &toml).await;
        let run = world.upload(upload).await;
        world
            .until_cleaned(std::slice::from_ref(&run), TimeDelta::hours(1))
            .await;
        let delivered = world.delivered(&run);
        let counts = delivered.counts;
        assert_eq!(counts.records, u64::from(upload.records));
        assert_eq!(counts.rejected, upload.rejected());
        assert_eq!(counts.missing, 0);
        assert_eq!(world.mails(&run), Ok(1));
        self.0.insert(key, delivered.clone());
        delivered
    }
}

impl Storm {
    /// The storm of a seed.
    pub fn new(seed: u64) -> Storm {
        let dice = |what: u64, sides: u64| mix(seed ^ (what << 40)) % sides;
        let uploads = (0..=dice(1, 3)).map(|n| {
            let name = ["a.csv", "b.csv", "c.csv"][n as usize].to_owned();
            let records = [1, 5, 9, 16, 24, 40][dice(10 + n, 6) as usize];
            let wait = Duration::from_secs(dice(20 + n, 120));
            (wait, Upload { name, records })
        });
        Storm {
            uploads: uploads.collect(),
            records_per_child: 1 + dice(2, 8) as u32,
            concurrency: 1 + dice(3, 4) as u32,
            climate: Climate {
                seed,
                weather: Weather::Storm {
                    seed,
                    one_in: 16 + dice(4, 60),
                    lasts: Duration::from_secs(3600 * (1 + dice(5, 6))),
                },
                chunk_records: 3 + dice(6, 12) as u32,
                slots: 1 + dice(7, 8) as usize,
                spot: dice(8, 40),
                duplicates: dice(9, 60),
                late: dice(30, 30),
                lost: dice(31, 15),
                ..Climate::calm()
            },
        }
    }

    /// Plays the storm, and prints a line for each call.
    ///
    /// # Errors
    /// As [`Storm::play`].
    pub async fn play_with_log(&self, expected: &mut Expected) -> Result<Played, String> {
        self.play_in(expected, true).await
    }

    /// Plays the storm in virtual time.
    ///
    /// # Errors
    /// What is wrong with its result.
    ///
    /// # Panics
    /// If a run does not end.
    pub async fn play(&self, expected: &mut Expected) -> Result<Played, String> {
        self.play_in(expected, false).await
    }

    async fn play_in(&self, expected: &mut Expected, log: bool) -> Result<Played, String> {
        let mut delivered = Vec::new();
        for (_, upload) in &self.uploads {
            delivered.push(expected.of(upload).await);
        }
        let pipeline = pipeline(self.records_per_child, self.concurrency);
        let mut world = World::new(self.climate, &pipeline).await;
        if log {
            world.network.print_log();
        }
        let begun = world.now();
        let mut runs: Vec<RunId> = Vec::new();
        for (wait, upload) in &self.uploads {
            let until = world.now() + *wait;
            world.until(until).await;
            let run = world.upload(upload).await;
            world
                .source
                .expect(&upload.name, run.clone(), world.outcomes.clone());
            runs.push(run);
        }
        world.until_cleaned(&runs, TimeDelta::days(3)).await;
        world.sweeps(3).await;

        let (mut mails, mut given_up) = (0, 0);
        let mut ended = Vec::new();
        for ((run, expected), (_, upload)) in runs.iter().zip(&delivered).zip(&self.uploads) {
            mails += world.mails(run)?;
            match delivered_as(&world, run, upload, expected)? {
                true => ended.push((run, upload)),
                false => given_up += 1,
            }
        }
        let requests = world.source.requests();
        world.set_pipeline(&changed(&pipeline)).await;
        let mut again = Vec::new();
        for (base, upload) in ended {
            again.push((world.reevaluate(upload, base).await, upload));
        }
        let reevaluations: Vec<RunId> = again.iter().map(|(run, _)| run.clone()).collect();
        world
            .until_cleaned(&reevaluations, TimeDelta::days(3))
            .await;
        let took = world.now() - begun;
        world.sweeps(3).await;
        for (run, upload) in &again {
            mails += world.mails(run)?;
            let expected = expected.of_changed(upload).await;
            let delivered = delivered_as(&world, run, upload, &expected);
            if !delivered.map_err(|wrong| format!("re-evaluation {wrong}"))? {
                given_up += 1;
            }
        }
        if world.source.requests() != requests {
            return Err("a re-evaluation sent requests".to_owned());
        }
        let left = world.leftovers().await;
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        let happened = world.network.happened();
        let repeated = world.source.finished_again();
        if !repeated.is_empty() {
            return Err(format!("finished work was repeated: {repeated:?}"));
        }
        Ok(Played {
            trace: world.network.trace(),
            calls: world.network.calls(),
            disasters: happened.len(),
            killed_children: world.killed_children,
            mails,
            given_up,
            repeated: requests.values().map(|times| u64::from(times - 1)).sum(),
            reevaluated: again.len() as u64,
            took,
        })
    }
}

/// Whether a run delivered what is expected; `false` if it was given up.
fn delivered_as(
    world: &World,
    run: &RunId,
    upload: &Upload,
    expected: &Delivered,
) -> Result<bool, String> {
    if world.gave_up(run, upload) {
        return Ok(false);
    }
    let found = world.delivered(run);
    match found == *expected {
        true => Ok(true),
        false => Err(format!("{run}: {}", differs(&found, expected))),
    }
}

/// How a result differs from the expected one.
pub fn differs(found: &Delivered, expected: &Delivered) -> String {
    let mut text = format!(
        "{:?} {:?} instead of {:?} {:?}",
        found.state, found.counts, expected.state, expected.counts
    );
    for (name, sheet) in &expected.sheets {
        let other = found.sheets.get(name);
        if other != Some(sheet) {
            let other = other.map_or("", String::as_str);
            let at = sheet.bytes().zip(other.bytes());
            let at = at.take_while(|(a, b)| a == b).count();
            let part = |text: &str| {
                let bytes = text.as_bytes();
                let around = at.saturating_sub(200)..(at + 300).min(bytes.len());
                String::from_utf8_lossy(&bytes[around]).into_owned()
            };
            text += &format!(
                "\nsheet {name}:\n  {}\ninstead of\n  {}",
                part(other),
                part(sheet)
            );
        }
    }
    text
}

/// Runs a future in virtual time, on one thread.
#[cfg(feature = "virtual-time")]
pub fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work)
}
