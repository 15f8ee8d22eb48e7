//! A place to run stages in: local adapters on an empty directory, behind a fuse.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobName, JobStatus, SubmitJob};
use rowmill_domain::message::Message;
use rowmill_domain::run::Work;
use rowmill_domain::{Outcome, RunId, RunItem, RunState};
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::{Bucket, Cloud, DirObjects, LocalScheduler, LocalTopic, SqliteLedger};
use rowmill_ports::*;
use rowmill_split::Split;
use rowmill_submit::{Submit, SubmitConfig};
use tempfile::TempDir;

pub(crate) const INBOX: &str = "inbox";
pub(crate) const WORK: &str = "work";
pub(crate) const QUEUE: &str = "main";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// Every call through a port burns it twice: before it is made, and before its answer arrives.
/// Once it is burnt down, every call fails, as all do for a process that is gone.
#[derive(Clone)]
pub(crate) struct Fuse(Arc<AtomicI64>);

impl Fuse {
    pub(crate) fn set(&self, steps: i64) {
        self.0.store(steps, Ordering::SeqCst);
    }
    pub(crate) fn is_burnt(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }
    fn burn(&self) -> Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.set(-1);
        Err(PortError::new(
            "Any",
            "fuse",
            ErrorKind::Unavailable,
            "killed",
        ))
    }
}

/// An adapter behind the fuse.
struct Fused<T: ?Sized>(Fuse, Arc<T>);

macro_rules! fused {
    ($port:ident { $(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl<T: $port + ?Sized> $port for Fused<T> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer> {
                self.0.burn()?;
                let answer = self.1.$name($($arg),*).await;
                self.0.burn()?;
                answer
            })*
        }
    };
}

fused!(Objects {
    fn head(at: &Location) -> ObjectInfo;
    fn get(at: &Location) -> Object;
    fn download(at: &Location, to: &Path) -> ObjectInfo;
    fn put(bucket: &str, key: &str, body: Bytes, put: Put) -> ObjectInfo;
    fn upload(bucket: &str, key: &str, from: &Path, put: Put) -> ObjectInfo;
    fn list(bucket: &str, prefix: &str, after: Option<&str>) -> Page;
    fn delete(bucket: &str, keys: &[String]) -> ();
    fn link(at: &Location, file_name: &str, valid: Duration) -> String;
});

fused!(Ledger {
    fn create_run(run: &RunItem) -> bool;
    fn run(id: &RunId) -> Option<RunItem>;
    fn runs(after: Option<&RunId>, limit: usize) -> Vec<RunItem>;
    fn update_run(id: &RunId, from: &[RunState], patch: RunPatch, now: DateTime<Utc>) -> bool;
    fn claim(id: &RunId, work: Work, owner: &str, now: DateTime<Utc>, lease: Duration) -> Claim;
    fn complete(id: &RunId, work: Work, owner: &str) -> ();
    fn release(id: &RunId, work: Work, owner: &str) -> ();
    fn record_job(id: &RunId, name: &JobName, job: &JobId) -> ();
    fn job_ended(id: &RunId, name: &JobName, job: &JobId) -> u32;
    fn jobs(id: &RunId) -> Vec<JobRecord>;
    fn create_table(id: &RunId, plan: TablePlan) -> ();
    fn drop_table(id: &RunId) -> ();
    fn tables() -> Vec<RunId>;
    fn put_outcomes(id: &RunId, chunk: u32, outcomes: &[Outcome]) -> ();
    fn take_turns(lane: &str, turns: u32, gap: Duration, now: DateTime<Utc>) -> DateTime<Utc>;
    fn ask(id: &RunId, question: &str, owner: &str, now: DateTime<Utc>, lease: Duration) -> Asked;
    fn answer(id: &RunId, question: &str, owner: &str, answer: Option<&str>) -> ();
    fn outcomes(id: &RunId, chunk: u32, rows: std::ops::RangeInclusive<u32>) -> Vec<Outcome>;
});

fused!(Jobs {
    fn register(definition: &JobDefinition) -> String;
    fn definitions(name_prefix: &str) -> Vec<String>;
    fn deregister(arn: &str) -> ();
    fn submit(job: &SubmitJob) -> JobId;
    fn describe(ids: &[JobId]) -> Vec<JobDetail>;
    fn list(filter: &JobFilter, after: Option<&str>) -> (Vec<JobDetail>, Option<String>);
    fn terminate(id: &JobId, reason: &str) -> ();
    fn cancel(id: &JobId, reason: &str) -> ();
});

fused!(Topic {
    fn publish(message: &Message) -> ();
});

fused!(Scheduler {
    fn at(name: &str, when: DateTime<Utc>, message: &Message) -> ();
    fn cancel(name: &str) -> ();
});

pub(crate) struct Place {
    pub(crate) fuse: Fuse,
    pub(crate) objects: Arc<DirObjects>,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) batch: Arc<LocalBatch>,
    batch_config: BatchConfig,
    pub(crate) cloud: Cloud,
    pub(crate) split: Split,
    pub(crate) submit: Submit,
    pub(crate) cleanup: Cleanup,
    _directory: TempDir,
}

impl Place {
    /// An empty place. Its Batch takes jobs and runs none.
    pub(crate) fn new() -> Place {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        let bucket = |name: &str, versioned| Bucket {
            name: name.into(),
            path: at(name),
            versioned,
        };
        let objects = DirObjects::open(vec![bucket(INBOX, true), bucket(WORK, false)]).unwrap();
        let cloud = Cloud::open(&at("state")).unwrap();
        let config = BatchConfig {
            queue: QUEUE.into(),
            slots: 1,
            program: vec!["false".into()],
            environment: Default::default(),
            logs: at("logs"),
            chaos: None,
            clock_scale: 1.0,
        };
        let objects = Arc::new(objects);
        let batch_config = config.clone();
        let ledger = Arc::new(SqliteLedger::open(&at("state")).unwrap());
        let batch = Arc::new(LocalBatch::open(cloud.clone(), config).unwrap());
        let topic = Arc::new(LocalTopic::new(cloud.clone(), None));
        let fuse = Fuse(Arc::new(AtomicI64::new(i64::MAX)));
        let fused_objects: Arc<dyn Objects> = Arc::new(Fused(fuse.clone(), objects.clone()));
        let fused_ledger: Arc<dyn Ledger> = Arc::new(Fused(fuse.clone(), ledger.clone()));
        let fused_jobs: Arc<dyn Jobs> = Arc::new(Fused(fuse.clone(), batch.clone()));
        let fused_topic: Arc<dyn Topic> = Arc::new(Fused(fuse.clone(), topic));
        let scheduler = Arc::new(LocalScheduler::new(cloud.clone()));
        let fused_scheduler: Arc<dyn Scheduler> = Arc::new(Fused(fuse.clone(), scheduler));
        Place {
            split: Split {
                objects: fused_objects.clone(),
                ledger: fused_ledger.clone(),
                topic: fused_topic.clone(),
                scheduler: fused_scheduler.clone(),
                work_bucket: WORK.into(),
                stalled_after: STALLED_AFTER,
                rows_read: Arc::default(),
            },
            submit: Submit {
                objects: fused_objects.clone(),
                ledger: fused_ledger.clone(),
                jobs: fused_jobs.clone(),
                topic: fused_topic.clone(),
                config: SubmitConfig {
                    work_bucket: WORK.into(),
                    fetch_buckets: Vec::new(),
                    queue: QUEUE.into(),
                    stack: "rowmill".into(),
                    image: "image".into(),
                },
            },
            cleanup: Cleanup {
                objects: fused_objects,
                ledger: fused_ledger,
                jobs: fused_jobs,
                topic: fused_topic,
                scheduler: fused_scheduler,
                config: CleanupConfig {
                    work_bucket: WORK.into(),
                    queue: QUEUE.into(),
                    stack: "rowmill".into(),
                    stalled_after: STALLED_AFTER,
                    runnable_after: HOUR * 6,
                },
            },
            fuse,
            objects,
            ledger,
            batch,
            batch_config,
            cloud,
            _directory: directory,
        }
    }

    /// Lets Batch give that reason for the state of every job; cleanup asks it from now on.
    pub(crate) fn batch_says(&mut self, why: &str) {
        self.cloud
            .with(|conn| conn.execute("UPDATE job_state SET status_reason = ?1", [why]))
            .unwrap();
        let batch = LocalBatch::open(self.cloud.clone(), self.batch_config.clone()).unwrap();
        self.batch = Arc::new(batch);
        self.cleanup.jobs = self.batch.clone();
    }

    pub(crate) async fn pipeline(&self, name: &str, toml: &str) {
        let key = rowmill_domain::keys::pipeline(name);
        let body = Bytes::from(toml.to_owned());
        self.objects
            .put(WORK, &key, body, Put::default())
            .await
            .unwrap();
    }

    /// Puts a file into the inbox, and gives the event of it.
    pub(crate) async fn upload(
        &self,
        key: &str,
        body: &str,
        metadata: &[(&str, &str)],
    ) -> ObjectCreated {
        let put = Put {
            metadata: metadata
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect(),
            ..Put::default()
        };
        let body = Bytes::from(body.to_owned());
        let info = self.objects.put(INBOX, key, body, put).await.unwrap();
        ObjectCreated {
            bucket: INBOX.into(),
            key: info.key,
            version: info.version.unwrap(),
            versioned: true,
            size: info.size,
            time: info.modified,
        }
    }

    pub(crate) async fn item(&self, run: &RunId) -> RunItem {
        self.ledger.run(run).await.unwrap().unwrap()
    }

    /// Keys and bytes of all objects under a prefix of the work bucket.
    pub(crate) async fn objects_under(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let page = self.objects.list(WORK, prefix, None).await.unwrap();
        assert_eq!(page.next, None);
        let mut all = Vec::new();
        for info in page.objects {
            let object = self
                .objects
                .get(&Location::new(WORK, &info.key))
                .await
                .unwrap();
            all.push((info.key, object.body));
        }
        all
    }

    /// All jobs of the queue, in the order of their names.
    pub(crate) async fn jobs(&self) -> Vec<JobDetail> {
        let mut all = Vec::new();
        for status in [
            JobStatus::Submitted,
            JobStatus::Pending,
            JobStatus::Runnable,
            JobStatus::Succeeded,
            JobStatus::Failed,
        ] {
            let queue = QUEUE.into();
            let filter = JobFilter::Status { queue, status };
            let (page, next) = self.batch.list(&filter, None).await.unwrap();
            assert_eq!(next, None);
            all.extend(page);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// All messages published so far.
    pub(crate) fn published(&self) -> Vec<Message> {
        let payloads: Vec<String> = self
            .cloud
            .with(|conn| {
                let mut select = conn.prepare(
                    "SELECT payload FROM message WHERE target IN ('submit', 'report') ORDER BY id",
                )?;
                let rows = select.query_map([], |row| row.get(0))?;
                rows.collect()
            })
            .unwrap();
        let read = |payload: &String| {
            rowmill_events::sns_messages(&serde_json::from_str(payload).unwrap())
        };
        // Job events lie on the same queue.
        payloads
            .iter()
            .filter_map(|payload| read(payload).ok())
            .flatten()
            .collect()
    }

    /// The runs that will be looked at, and when, to the second.
    pub(crate) fn due(&self) -> Vec<(Message, i64)> {
        let rows: Vec<(String, i64)> = self
            .cloud
            .with(|conn| {
                let mut select =
                    conn.prepare("SELECT message, due / 1000 FROM schedule ORDER BY name")?;
                let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .unwrap();
        rows.into_iter()
            .map(|(message, due)| (serde_json::from_str(&message).unwrap(), due))
            .collect()
    }

    /// Does what report does at the end: says that the mail is sent.
    pub(crate) async fn deliver(&self, run: &RunId, now: DateTime<Utc>) {
        let patch = RunPatch {
            state: Some(RunState::Delivered),
            ..RunPatch::default()
        };
        assert!(
            self.ledger
                .update_run(run, &[RunState::Running], patch, now)
                .await
                .unwrap()
        );
    }
}

/// An invocation so many hours into the test. Starts at the real time, which Batch goes by.
pub(crate) fn at(owner: &str, hours: u32) -> Invocation {
    static START: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);
    Invocation {
        owner: owner.into(),
        now: *START + HOUR * hours,
    }
}
