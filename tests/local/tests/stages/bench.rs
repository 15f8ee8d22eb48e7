//! All stages on local adapters in a temporary directory. Tests inject faults into every port.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::job::{Capacity, JobDetail, JobStatus};
use rowmill_domain::message::RunMessage;
use rowmill_domain::{RunId, RunItem};
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::{Bucket, Cloud, DirObjects, LocalScheduler, LocalTopic, SqliteLedger};
use rowmill_planning::Quotas;
use rowmill_ports::faulty::{Faults, Faulty};
use rowmill_ports::{
    Envelope, ErrorKind, JobFilter, Jobs, Location, Mailer, Objects, Put, RunPatch, Runs,
    Scheduler, Topic,
};
use rowmill_runs::{Transition, WorkBucket};
use rowmill_split::Split;
use rowmill_submit::{Submit, SubmitConfig};
use rowmill_tiers::CurrentTiers;
use tempfile::TempDir;

pub(crate) const INBOX: &str = "inbox";
pub(crate) const WORK: &str = "work";
pub(crate) const QUEUE: &str = "main";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// A mailer whose sender is not verified.
struct Nobody;

#[async_trait]
impl Mailer for Nobody {
    async fn send(&self, envelope: &Envelope, _mime: &[u8]) -> rowmill_ports::Result<String> {
        Err(envelope.error(ErrorKind::Denied, "not verified"))
    }

    async fn is_verified(&self, _identity: &str) -> rowmill_ports::Result<bool> {
        Ok(false)
    }
}

pub(crate) struct Bench {
    pub(crate) faults: Arc<Faults>,
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

impl Bench {
    /// Empty buckets, ledger and queues. Batch accepts jobs and does not run them.
    pub(crate) fn new() -> Bench {
        Bench::with_clock(1.0)
    }

    /// The same, with a Batch that accepts many jobs per second.
    pub(crate) fn with_fast_batch() -> Bench {
        Bench::with_clock(1e-6)
    }

    fn with_clock(clock_scale: f64) -> Bench {
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
            clock_scale,
        };
        let objects = Arc::new(objects);
        let batch_config = config.clone();
        let ledger = Arc::new(SqliteLedger::open(&at("state")).unwrap());
        let batch = Arc::new(LocalBatch::open(cloud.clone(), config).unwrap());
        let topic = Arc::new(LocalTopic::new(cloud.clone(), None));
        let faults = Faults::never();
        let faulty_objects = Arc::new(Faulty::new(objects.clone(), faults.clone()));
        let work = WorkBucket::new(WORK, faulty_objects.clone());
        let faulty_ledger = Arc::new(Faulty::new(ledger.clone(), faults.clone()));
        let faulty_jobs: Arc<dyn Jobs> = Arc::new(Faulty::new(batch.clone(), faults.clone()));
        let faulty_topic: Arc<dyn Topic> = Arc::new(Faulty::new(topic, faults.clone()));
        let scheduler = Arc::new(LocalScheduler::new(cloud.clone()));
        let faulty_scheduler: Arc<dyn Scheduler> = Arc::new(Faulty::new(scheduler, faults.clone()));
        Bench {
            split: Split {
                inbox: faulty_objects.clone(),
                work: work.clone(),
                submitters: faulty_ledger.clone(),
                tiers: CurrentTiers::new(work.clone()),
                default_submitter: "you@localhost".parse().ok(),
                runs: faulty_ledger.clone(),
                outcomes: faulty_ledger.clone(),
                coordination: faulty_ledger.clone(),
                topic: faulty_topic.clone(),
                scheduler: faulty_scheduler.clone(),
                stalled_after: STALLED_AFTER,
                quotas: Quotas::default(),
                rows_read: Arc::default(),
            },
            submit: Submit {
                runs: faulty_ledger.clone(),
                coordination: faulty_ledger.clone(),
                work: work.clone(),
                jobs: faulty_jobs.clone(),
                topic: faulty_topic.clone(),
                config: SubmitConfig {
                    fetch_buckets: Vec::new(),
                    queue: QUEUE.into(),
                    stack: "rowmill".into(),
                    image: "image".into(),
                    capacity: Capacity::Ec2,
                    topic: None,
                    region: None,
                },
            },
            cleanup: Cleanup {
                runs: faulty_ledger.clone(),
                outcomes: faulty_ledger.clone(),
                coordination: faulty_ledger,
                work,
                inbox: WorkBucket::new(INBOX, faulty_objects),
                jobs: faulty_jobs,
                topic: faulty_topic,
                scheduler: faulty_scheduler,
                mailer: Arc::new(Nobody),
                config: CleanupConfig {
                    queue: QUEUE.into(),
                    stack: "rowmill".into(),
                    stalled_after: STALLED_AFTER,
                    runnable_after: HOUR * 6,
                    identity: Some("rowmill@example.com".into()),
                },
            },
            faults,
            objects,
            ledger,
            batch,
            batch_config,
            cloud,
            _directory: directory,
        }
    }

    /// Makes Batch report this reason for the state of every job.
    pub(crate) fn batch_says(&mut self, why: &str) {
        self.cloud
            .with(|conn| conn.execute("UPDATE job_state SET status_reason = ?1", [why]))
            .unwrap();
        let batch = LocalBatch::open(self.cloud.clone(), self.batch_config.clone()).unwrap();
        self.batch = Arc::new(batch);
        self.cleanup.jobs = self.batch.clone();
    }

    pub(crate) async fn pipeline(&self, name: &str, toml: &str) {
        let key = rowmill_domain::keys::pipeline(&name.parse().unwrap());
        let body = Bytes::from(toml.to_owned());
        self.objects
            .put(WORK, &key, body, Put::default())
            .await
            .unwrap();
    }

    /// Puts a file into the inbox and returns its event.
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
        self.ledger.find_run(run).await.unwrap().unwrap()
    }

    /// Keys and bodies of all objects under a prefix of the work bucket.
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

    /// All jobs of the queue, sorted by name.
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
    pub(crate) fn published(&self) -> Vec<RunMessage> {
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
        // Job events are in the same queue.
        payloads
            .iter()
            .filter_map(|payload| read(payload).ok())
            .flatten()
            .collect()
    }

    /// The scheduled messages and their due times, in seconds.
    pub(crate) fn due(&self) -> Vec<(RunMessage, i64)> {
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

    /// Marks a run as delivered, as report does after it sent the email.
    pub(crate) async fn deliver(&self, run: &RunId, now: DateTime<Utc>) {
        for change in [Transition::StartReport, Transition::Deliver] {
            let changed = change.apply(&*self.ledger, run, RunPatch::default(), now);
            assert!(changed.await.unwrap(), "{change:?}");
        }
    }
}

/// An invocation `hours` after the start of the test, which is the real time because Batch uses it.
pub(crate) fn at(owner: &str, hours: u32) -> Invocation {
    static START: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);
    Invocation {
        owner: owner.into(),
        now: *START + HOUR * hours,
    }
}

/// Splits an upload on a new bench, killed one call later each time, until `reached`. Split reads the
/// input while it creates the run, so the number of the call that does either varies.
pub(crate) async fn split_killed_when(
    input: &str,
    reached: impl AsyncFn(&Bench, &RunId) -> bool,
) -> (Bench, ObjectCreated, RunId) {
    loop {
        for steps in 1.. {
            let bench = Bench::new();
            bench.pipeline("p", "").await;
            let event = bench.upload("p/a.csv", input, &[]).await;
            bench.faults.kill_after(steps);
            if bench.split.handle(&event, &at("split", 0)).await.is_ok() {
                break;
            }
            bench.faults.restart();
            let run = rowmill_split::run_id(&event);
            if reached(&bench, &run).await {
                return (bench, event, run);
            }
        }
    }
}
