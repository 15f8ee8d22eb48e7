//! A stage with a run whose result has several objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::run::UploadSource;
use rowmill_domain::storage::ArchiveClass;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_local::bus::{self, Target};
use rowmill_local::{Bucket, Clock, Cloud, DirObjects, LocalArchive, LocalScheduler, SqliteLedger};
use rowmill_ports::faulty::{FaultPlan, Faulty};
use rowmill_ports::{Archive, Location, Objects, Put, Runs, Scheduler};
use rowmill_retention::{Retention, RetentionError};
use rowmill_runs::WorkBucket;
use tempfile::TempDir;

pub(crate) const WORK: &str = "work";

/// The services of a stage.
pub(crate) struct Bench {
    _directory: TempDir,
    clock: Arc<Mutex<DateTime<Utc>>>,
    cloud: Cloud,
    pub(crate) objects: Arc<DirObjects>,
    pub(crate) archive: Arc<LocalArchive>,
    pub(crate) runs: Arc<SqliteLedger>,
    scheduler: Arc<LocalScheduler>,
    pub(crate) run: RunId,
    /// The result, by key.
    pub(crate) content: BTreeMap<String, Bytes>,
}

impl Bench {
    /// A delivered run.
    pub(crate) async fn new() -> Bench {
        let directory = TempDir::new().unwrap();
        let start: DateTime<Utc> = "2026-11-30T10:00:00Z".parse().unwrap();
        let clock = Arc::new(Mutex::new(start));
        let now = Arc::clone(&clock);
        let now: Clock = Arc::new(move || *now.lock().unwrap());
        let bucket = Bucket {
            name: WORK.to_owned(),
            path: directory.path().join(WORK),
            versioned: false,
        };
        let objects = Arc::new(DirObjects::with_clock(vec![bucket], now).unwrap());
        let cloud = Cloud::open(directory.path()).unwrap();
        let archive = LocalArchive::new(objects.clone(), cloud.clone());
        let runs = Arc::new(SqliteLedger::open(directory.path()).unwrap());
        let mut bench = Bench {
            scheduler: Arc::new(LocalScheduler::new(cloud.clone())),
            run: RunId::new("inbox", "reviews/a.xlsx", "v1", start, "reviews"),
            _directory: directory,
            clock,
            cloud,
            objects,
            archive: Arc::new(archive),
            runs,
            content: BTreeMap::new(),
        };
        let run = bench.run.clone();
        bench.create(&run, RunState::Delivered).await;
        for key in [
            keys::about(&run),
            keys::result(&run, "reviews/my file (1)+ü.xlsx"),
            keys::archived_rows(&run, 0),
            keys::index_rows(&run),
        ] {
            let body = Bytes::from(format!("the content of {key}"));
            let put = bench.objects.put(WORK, &key, body.clone(), Put::default());
            put.await.unwrap();
            bench.content.insert(key, body);
        }
        bench
    }

    /// Adds a run in a state.
    pub(crate) async fn create(&self, run: &RunId, state: RunState) {
        let source = UploadSource {
            bucket: "inbox".to_owned(),
            key: "reviews/a.xlsx".to_owned(),
            version: "v1".to_owned(),
            size: 1,
            uploaded: self.now(),
        };
        let item = RunItem {
            state,
            ..RunItem::new(run.clone(), source, self.now())
        };
        assert!(self.runs.create_run(&item).await.unwrap());
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        *self.clock.lock().unwrap()
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        *self.clock.lock().unwrap() += by;
    }

    pub(crate) fn cx(&self) -> Invocation {
        Invocation {
            owner: "test".to_owned(),
            now: self.now(),
        }
    }

    /// The stage with its archive replaced.
    pub(crate) fn stage_with(&self, archive: Arc<dyn Archive>) -> Retention {
        Retention {
            runs: self.runs.clone(),
            archive,
            work: WorkBucket::new(WORK, self.objects.clone()),
            scheduler: self.scheduler.clone(),
        }
    }

    pub(crate) fn stage(&self) -> Retention {
        self.stage_with(self.archive.clone())
    }

    /// The stage with every call going through a plan of faults.
    pub(crate) fn faulty(&self, plan: &Arc<impl FaultPlan + 'static>) -> Retention {
        let plan: Arc<dyn FaultPlan> = plan.clone();
        let runs: Arc<dyn Runs> = self.runs.clone();
        let archive: Arc<dyn Archive> = self.archive.clone();
        let objects: Arc<dyn Objects> = self.objects.clone();
        let scheduler: Arc<dyn Scheduler> = self.scheduler.clone();
        let objects = Arc::new(Faulty::new(objects, plan.clone()));
        Retention {
            runs: Arc::new(Faulty::new(runs, plan.clone())),
            archive: Arc::new(Faulty::new(archive, plan.clone())),
            work: WorkBucket::new(WORK, objects),
            scheduler: Arc::new(Faulty::new(scheduler, plan)),
        }
    }

    pub(crate) async fn storage(&self) -> ResultStorage {
        let item = self.runs.find_run(&self.run).await.unwrap().unwrap();
        item.storage.unwrap_or(ResultStorage::hot(item.updated))
    }

    pub(crate) async fn state(&self) -> ResultState {
        self.storage().await.state
    }

    pub(crate) async fn class(&self, key: &str) -> Option<ArchiveClass> {
        let at = Location::new(WORK, key);
        self.archive.status(&at).await.unwrap().class
    }

    /// The result is in this class, except for its description.
    pub(crate) async fn is_archived(&self, class: ArchiveClass) {
        for key in self.content.keys() {
            let expected = (*key != keys::about(&self.run)).then_some(class);
            assert_eq!(self.class(key).await, expected, "{key}");
        }
        let about = Location::new(WORK, keys::about(&self.run));
        self.objects.get(&about).await.unwrap();
    }

    /// The result can be read for good, and nothing is lost.
    pub(crate) async fn is_hot(&self) {
        assert_eq!(self.state().await, ResultState::Hot);
        for (key, body) in &self.content {
            assert_eq!(self.class(key).await, None, "{key}");
            let at = Location::new(WORK, key);
            let read = self.objects.get(&at).await.unwrap();
            assert_eq!(read.body, *body, "{key}");
        }
    }

    /// Delivers all events of restores that were ever queued, again.
    pub(crate) async fn deliver(&self, stage: &Retention) -> Result<(), RetentionError> {
        for (target, payload) in bus::queue(&self.cloud).unwrap() {
            assert_eq!(target, Target::Retention);
            stage.invoke(&payload, &self.cx()).await?;
        }
        Ok(())
    }

    /// How many events of restores were queued.
    pub(crate) fn events(&self) -> usize {
        bus::queue(&self.cloud).unwrap().len()
    }

    /// The message that waits under the name of the run's schedule, with its time.
    pub(crate) fn scheduled(&self) -> Option<(DateTime<Utc>, String)> {
        let name = rowmill_retention::schedule_name(&self.run);
        let row = self.cloud.with(|conn| {
            let mut select = conn.prepare("SELECT due, message FROM schedule WHERE name = ?1")?;
            let mut rows = select.query([name])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            Ok(Some((row.get::<_, i64>(0)?, row.get(1)?)))
        });
        let (due, message) = row.unwrap()?;
        Some((DateTime::from_timestamp_millis(due).unwrap(), message))
    }
}
