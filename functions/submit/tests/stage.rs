//! Submit on local adapters: what happens when Batch refuses a run, when an answer is lost, and when a
//! definition disappears.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail a test as tests do"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{
    Capacity, JobDefinition, JobDetail, JobId, JobName, JobStatus, SubmitJob,
};
use rowmill_domain::manifest::{ChunkPlan, ColumnProfile, MANIFEST_VERSION};
use rowmill_domain::message::RunMessage;

use rowmill_domain::run::{Stop, StopReason, UploadSource};
use rowmill_domain::{Manifest, RunId, RunItem, keys};
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::{Bucket, Cloud, DirObjects, SqliteLedger};
use rowmill_ports::faulty::{Faults, Faulty, Moment};
use rowmill_ports::{JobFilter, Jobs, Objects, Put, Result, RunPatch, Runs, Topic};
use rowmill_runs::{Transition, WorkBucket};
use rowmill_submit::{Submit, SubmitConfig};
use tempfile::TempDir;

const WORK: &str = "work";
const QUEUE: &str = "main";

/// Records the published messages.
#[derive(Default)]
struct Published(Mutex<Vec<RunMessage>>);

#[async_trait]
impl Topic for Published {
    async fn publish(&self, message: &RunMessage) -> Result<()> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

/// A run of one chunk that split has finished, and a Batch that accepts jobs and does not run them.
struct Bench {
    submit: Submit,
    ledger: Arc<SqliteLedger>,
    batch: Arc<LocalBatch>,
    topic: Arc<Published>,
    run: RunId,
    _directory: TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let directory = TempDir::new().unwrap();
        let work = Bucket {
            name: WORK.into(),
            path: directory.path().join(WORK),
            versioned: false,
        };
        let objects = Arc::new(DirObjects::open(vec![work]).unwrap());
        let ledger = Arc::new(SqliteLedger::open(directory.path()).unwrap());
        let config = BatchConfig {
            queue: QUEUE.into(),
            slots: 1,
            program: vec!["false".into()],
            environment: BTreeMap::new(),
            logs: directory.path().join("logs"),
            chaos: None,
            clock_scale: 1.0,
        };
        let cloud = Cloud::open(directory.path()).unwrap();
        let batch = Arc::new(LocalBatch::open(cloud, config).unwrap());
        let topic = Arc::<Published>::default();

        let manifest = manifest();
        let run = manifest.run.clone();
        let body = serde_json::to_vec(&manifest).unwrap().into();
        objects
            .put(WORK, &keys::manifest(&run), body, Put::default())
            .await
            .unwrap();
        let item = RunItem::new(run.clone(), manifest.source.clone(), manifest.created);
        assert!(ledger.create_run(&item).await.unwrap());
        let split = RunPatch {
            jobs: Some(manifest.jobs()),
            ..RunPatch::default()
        };
        let split = Transition::FinishSplit.apply(&*ledger, &run, split, manifest.created);
        assert!(split.await.unwrap());
        Bench {
            submit: Submit {
                runs: ledger.clone(),
                coordination: ledger.clone(),
                work: WorkBucket::new(WORK, objects),
                jobs: batch.clone(),
                topic: topic.clone(),
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
            ledger,
            batch,
            topic,
            run,
            _directory: directory,
        }
    }

    async fn submit(&self) {
        let cx = Invocation {
            owner: "submit".into(),
            now: Utc::now(),
        };
        self.submit.handle(&self.run, &cx).await.unwrap();
    }

    async fn cancel(&self) {
        let stop = RunPatch {
            stop: Some(Stop {
                reason: StopReason::Cancelled { by: "ana".into() },
                at: Utc::now(),
            }),
            ..RunPatch::default()
        };
        let stopped = Transition::Stop.apply(&*self.ledger, &self.run, stop, Utc::now());
        assert!(stopped.await.unwrap());
    }

    async fn item(&self) -> RunItem {
        self.ledger.find_run(&self.run).await.unwrap().unwrap()
    }

    /// The run's jobs in Batch.
    async fn jobs(&self) -> Vec<JobDetail> {
        let filter = JobFilter::Name {
            queue: QUEUE.into(),
            name: JobName::new(&self.run, 0, 0),
        };
        let (jobs, next) = self.batch.list(&filter, None).await.unwrap();
        assert_eq!(next, None);
        jobs
    }
}

fn manifest() -> Manifest {
    let now = Utc::now();
    Manifest {
        version: MANIFEST_VERSION,
        run: "20261121-p-0123456789ab".parse().unwrap(),
        source: UploadSource {
            bucket: "inbox".into(),
            key: "p/a.csv".into(),
            version: "v".into(),
            size: 1,
            uploaded: now,
        },
        created: now,
        pipeline: "p".parse().unwrap(),
        pipeline_toml: String::new(),
        sheet: "a".into(),
        columns: vec![ColumnProfile {
            name: "id".into(),
            kind: None,
            format: None,
            filled: 2,
            distinct: 2,
            min: None,
            max: None,
            width: 1,
        }],
        chunks: vec![ChunkPlan {
            chunk: 0,
            first_row: 2,
            last_row: 3,
            records: 2,
            children: 1,
        }],
        phases: 1,
        rows_in: 2,
        records: 2,
        rejected: BTreeMap::new(),
        notes: Vec::new(),
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    }
}

#[tokio::test]
async fn a_job_is_looked_up_before_it_is_submitted_again_when_the_answer_is_lost() {
    for moment in [Moment::Before, Moment::After] {
        let mut bench = Bench::new().await;
        // Call 0 registers the definition, call 1 submits the job.
        let faulty = Faulty::new(bench.batch.clone(), Faults::nth(1, moment));
        bench.submit.jobs = Arc::new(faulty);
        bench.submit().await;
        assert_eq!(bench.jobs().await.len(), 1, "{moment:?}");
    }
}

#[tokio::test]
async fn a_run_that_batch_refuses_fails_and_leaves_no_live_job() {
    let mut bench = Bench::new().await;
    bench.submit.config.queue = "no such queue".into();
    bench.submit().await;
    let failure = bench.item().await.failure.unwrap();
    for part in ["AWS Batch refused", "no such queue"] {
        assert!(failure.what.contains(part), "{part:?} not in {failure:?}");
    }
    assert!(failure.advice.contains("upload"), "{failure:?}");
    let run = bench.run.clone();
    let expected = RunMessage::Failed { run, failure };
    assert_eq!(bench.topic.0.lock().unwrap().last(), Some(&expected));
    let jobs = bench.jobs().await;
    assert!(jobs.iter().all(|job| job.status == JobStatus::Failed));
}

#[tokio::test]
async fn a_run_that_is_stopped_before_submit_gets_no_job_and_ends() {
    let bench = Bench::new().await;
    bench.cancel().await;
    bench.submit().await;
    assert_eq!(bench.jobs().await.len(), 0);
    let run = bench.run.clone();
    let check = RunMessage::Check { run };
    assert_eq!(bench.topic.0.lock().unwrap().last(), Some(&check));
}

#[tokio::test]
async fn jobs_of_a_stopped_run_that_wait_end_with_the_reason() {
    let bench = Bench::new().await;
    bench.submit().await;
    bench.submit.end_waiting(&bench.run).await.unwrap();
    let waits = |job: &JobDetail| job.status == JobStatus::Runnable;
    assert!(bench.jobs().await.iter().all(waits), "not stopped");
    bench.cancel().await;
    // More than once, as events are delivered.
    for _ in 0..2 {
        bench.submit.end_waiting(&bench.run).await.unwrap();
        let [job] = &bench.jobs().await[..] else {
            panic!("one job")
        };
        assert_eq!(job.status, JobStatus::Failed);
        let why = job.status_reason.as_deref();
        assert_eq!(why, Some("Stopped: the run was cancelled by ana"));
    }
    // The end of its jobs ends the run.
    assert_eq!(*bench.topic.0.lock().unwrap(), []);
}

#[tokio::test]
async fn a_child_can_stop_its_run_by_a_message() {
    let bench = Bench::new().await;
    bench.submit().await;
    let reason = StopReason::MaxCost { limit: 5.0 };
    let stop = RunMessage::Stop {
        run: bench.run.clone(),
        reason: Some(reason.clone()),
    };
    let event = rowmill_events::sns_messages_event(&stop, "1", Utc::now());
    let cx = Invocation {
        owner: "submit".into(),
        now: Utc::now(),
    };
    // More than once, as events are delivered.
    for _ in 0..2 {
        bench.submit.invoke(&event, &cx).await.unwrap();
        let stop = bench.item().await.stop.unwrap();
        assert_eq!(stop.reason, reason);
        let jobs = bench.jobs().await;
        assert!(jobs.iter().all(|job| job.status == JobStatus::Failed));
    }
}

/// A Batch where another run's cleanup deregisters the definition just before the first job is
/// submitted with it.
struct Deregistered(Arc<LocalBatch>, Mutex<bool>);

#[async_trait]
impl Jobs for Deregistered {
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        self.0.register(definition).await
    }
    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        self.0.definitions(name_prefix).await
    }
    async fn deregister(&self, arn: &str) -> Result<()> {
        self.0.deregister(arn).await
    }
    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        let before = std::mem::replace(&mut *self.1.lock().unwrap(), true);
        if !before {
            self.0.deregister(&job.definition).await?;
        }
        self.0.submit(job).await
    }
    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        self.0.describe(ids).await
    }
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        self.0.list(filter, after).await
    }
    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        self.0.terminate(id, reason).await
    }
    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        self.0.cancel(id, reason).await
    }
}

#[tokio::test]
async fn a_definition_that_is_registered_again_is_recorded_as_in_use() {
    let mut bench = Bench::new().await;
    let jobs = Deregistered(bench.batch.clone(), Mutex::new(false));
    bench.submit.jobs = Arc::new(jobs);
    bench.submit().await;
    assert_eq!(bench.jobs().await.len(), 1);
    let active = bench.batch.definitions("rowmill-").await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(bench.item().await.definitions, active);
}
