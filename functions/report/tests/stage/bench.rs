//! A run whose jobs have ended, on local adapters.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::job::{
    Dependency, JobDefinition, JobId, JobName, JobStateChange, Resources, RetryStrategy, SubmitJob,
    job_graph,
};
use rowmill_domain::manifest::{ChunkPlan, ColumnProfile, MANIFEST_VERSION, RejectReason};
use rowmill_domain::run::{Stop, StopReason, UploadSource};
use rowmill_domain::{
    Columns, Kind, Manifest, Outcome, Record, Rejected, RunId, RunItem, Status, Value, keys,
};
use rowmill_events::ToReport;
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::{Bucket, Cloud, DirObjects, EmlOutbox, SqliteLedger};
use rowmill_ports::faulty::{Faults, Faulty};
use rowmill_ports::{
    Envelope, Jobs, Location, Mailer, Objects, Outcomes, Put, Result, RunPatch, Runs, TablePlan,
};
use rowmill_report::{Given, Report, ReportConfig, ReportError};
use rowmill_runs::{Transition, WorkBucket};
use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) const WORK: &str = "work";
pub(crate) const QUEUE: &str = "rowmill";
/// Longer than any single wait of a test.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const PIPELINE: &str = r#"
[[step]]
kind = "sentiment"
column = "text"

[[column]]
name = "twice"
value = "row['n'] * 2"

[report]
chart = "sa_class"

[notify]
to = ["pipeline@example.com"]
"#;

/// A pipeline with two phases.
pub(crate) const TWO_PHASES: &str = r#"
[[step]]
kind = "sentiment"
column = "text"

[[step]]
kind = "command"
program = ["./later"]
outputs = ["later"]
image = "other"

[notify]
to = ["pipeline@example.com"]
"#;

/// The shape of a run.
pub(crate) struct Spec {
    pub(crate) pipeline: &'static str,
    pub(crate) phases: u16,
    /// The numbers of records and children of each chunk.
    pub(crate) chunks: Vec<(u32, u32)>,
    /// `<chunk>-<phase>-<child>` and exit code of each child that fails.
    pub(crate) exits: Vec<(&'static str, i32)>,
    /// How many of its jobs are submitted.
    pub(crate) submitted: usize,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            pipeline: PIPELINE,
            phases: 1,
            chunks: vec![(4, 2), (3, 1)],
            exits: Vec::new(),
            submitted: usize::MAX,
        }
    }
}

/// The sent mails, in order.
type Sent = Arc<Mutex<Vec<(Envelope, Vec<u8>)>>>;

/// Records mails and writes them to the outbox.
pub(crate) struct Recorder {
    outbox: EmlOutbox,
    sent: Sent,
}

#[async_trait]
impl Mailer for Recorder {
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        let id = self.outbox.send(envelope, mime).await?;
        self.sent
            .lock()
            .unwrap()
            .push((envelope.clone(), mime.to_vec()));
        Ok(id)
    }

    async fn is_verified(&self, identity: &str) -> Result<bool> {
        self.outbox.is_verified(identity).await
    }
}

pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) run: RunId,
    pub(crate) manifest: Manifest,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) objects: Arc<DirObjects>,
    pub(crate) jobs: LocalBatch,
    pub(crate) attach_limit: u64,
    pub(crate) allowed_domains: Vec<String>,
    pub(crate) links: Option<rowmill_report::Links>,
    sent: Sent,
}

impl Bench {
    /// A run whose jobs have ended with the given exit codes, without outcomes.
    pub(crate) async fn new(spec: Spec) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        let manifest = manifest(&run, &spec);
        let bench = Bench {
            ledger: Arc::new(SqliteLedger::open(directory.path()).unwrap()),
            objects: Arc::new(objects(&directory)),
            jobs: batch(&directory),
            directory,
            run,
            manifest,
            attach_limit: 1024 * 1024,
            allowed_domains: Vec::new(),
            links: None,
            sent: Arc::default(),
        };
        bench.store().await;
        bench.end_jobs(&spec).await;
        bench
    }

    /// Stores what split stores.
    async fn store(&self) {
        let item = RunItem::new(
            self.run.clone(),
            self.manifest.source.clone(),
            self.manifest.created,
        );
        assert!(self.ledger.create_run(&item).await.unwrap());
        let columns = self.manifest.columns();
        for plan in &self.manifest.chunks {
            let mut body = Vec::new();
            for row in plan.first_row..=plan.last_row {
                record(row).write_json(&columns, &mut body).unwrap();
                body.push(b'\n');
            }
            self.put(&keys::chunk(&self.run, plan.chunk), body).await;
        }
        let mut body = Vec::new();
        for row in [2, 3] {
            let rejected = Rejected {
                row,
                reason: RejectReason::MissingRequired,
                detail: "`n` is empty".into(),
                values: vec![None, Some(Value::from("x"))],
            };
            serde_json::to_writer(&mut body, &rejected).unwrap();
            body.push(b'\n');
        }
        self.put(&keys::rejected(&self.run), body).await;
        let plan = TablePlan {
            writes_per_second: 1,
            records: self.manifest.records,
        };
        self.ledger.create_table(&self.run, plan).await.unwrap();
        self.store_manifest(&self.manifest).await;
        let split = RunPatch {
            jobs: Some(self.manifest.jobs()),
            ..RunPatch::default()
        };
        let split = Transition::FinishSplit.apply(&*self.ledger, &self.run, split, item.created);
        assert!(split.await.unwrap());
    }

    pub(crate) async fn store_manifest(&self, manifest: &Manifest) {
        let body = serde_json::to_vec(manifest).unwrap();
        self.put(&keys::manifest(&self.run), body).await;
    }

    pub(crate) async fn put(&self, key: &str, body: Vec<u8>) {
        self.objects
            .put(WORK, key, Bytes::from(body), Put::default())
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        let object = self.objects.get(&Location::new(WORK, key)).await;
        object.ok().map(|object| object.body)
    }

    /// Submits the run's jobs as submit does and waits for their end.
    async fn end_jobs(&self, spec: &Spec) {
        for (child, code) in &spec.exits {
            std::fs::write(self.directory.path().join(child), code.to_string()).unwrap();
        }
        let script = "child=$CHUNK-$PHASE-${AWS_BATCH_JOB_ARRAY_INDEX:-0}; \
                      exit $(cat \"$STATE/$child\" 2>/dev/null || echo 0)";
        let definition = JobDefinition {
            name: "test".into(),
            image: "test".into(),
            command: vec![script.into()],
            resources: Resources::SMALLEST,
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            retry: RetryStrategy {
                attempts: 1,
                evaluate_on_exit: Vec::new(),
            },
            timeout_seconds: None,
        };
        let definition = self.jobs.register(&definition).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn({
            let jobs = self.jobs.clone();
            async move { jobs.run(stopped).await }
        });
        let mut ids: BTreeMap<JobName, JobId> = BTreeMap::new();
        for job in job_graph(&self.manifest).into_iter().take(spec.submitted) {
            let after = job.after.map(|(name, kind)| Dependency {
                job_id: Some(ids[&name].clone()),
                kind,
            });
            let id = self
                .jobs
                .submit(&SubmitJob {
                    name: job.name.clone(),
                    queue: QUEUE.into(),
                    definition: definition.clone(),
                    array_size: job.size,
                    priority: 0,
                    resources: None,
                    depends_on: after.into_iter().collect(),
                    environment: BTreeMap::from([
                        ("CHUNK".to_owned(), job.chunk.to_string()),
                        ("PHASE".to_owned(), job.phase.to_string()),
                        (
                            "STATE".to_owned(),
                            self.directory.path().display().to_string(),
                        ),
                    ]),
                    retry: None,
                    timeout_seconds: None,
                    tags: BTreeMap::new(),
                })
                .await
                .unwrap();
            self.ledger
                .record_job(&self.run, &job.name, &id)
                .await
                .unwrap();
            ids.insert(job.name, id);
        }
        for id in ids.values() {
            tokio::time::timeout(PATIENCE, self.jobs.wait_for_end(id))
                .await
                .expect("the job ends")
                .unwrap();
        }
        stop.send_replace(true);
        worker.await.unwrap().unwrap();
    }

    /// All events of the queue: every state of parents and children.
    pub(crate) fn events(&self) -> Vec<JobStateChange> {
        let events = self.jobs.events(0, 10_000).unwrap();
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// Stores an outcome of the last phase for every record, after `change`; `None` stores no outcome.
    pub(crate) async fn outcomes(&self, change: impl Fn(Outcome) -> Option<Outcome>) {
        for plan in &self.manifest.chunks {
            let outcomes: Vec<Outcome> = (plan.first_row..=plan.last_row)
                .filter_map(|row| change(outcome(row, self.manifest.phases - 1)))
                .collect();
            self.ledger
                .put_outcomes(&self.run, plan.chunk, &outcomes)
                .await
                .unwrap();
        }
    }

    pub(crate) fn report(&self, faults: &Arc<Faults>) -> Report {
        let recorder = Recorder {
            outbox: EmlOutbox::open(&self.directory.path().join("outbox")).unwrap(),
            sent: self.sent.clone(),
        };
        let objects = Arc::new(Faulty::new(self.objects.clone(), faults.clone()));
        let ledger = Arc::new(Faulty::new(self.ledger.clone(), faults.clone()));
        Report {
            runs: ledger.clone(),
            outcomes: ledger.clone(),
            coordination: ledger,
            work: WorkBucket::new(WORK, objects),
            jobs: Arc::new(Faulty::new(Arc::new(self.jobs.clone()), faults.clone())),
            mailer: Arc::new(Faulty::new(Arc::new(recorder), faults.clone())),
            config: ReportConfig {
                queue: QUEUE.into(),
                from: "Rowmill <rowmill@example.com>".into(),
                default_to: vec!["default@example.com".into()],
                allowed_domains: self.allowed_domains.clone(),
                attach_limit: self.attach_limit,
                links: self.links.clone(),
                given: Given::Upload,
            },
            rows_written: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Passes an event to report, without faults.
    pub(crate) async fn handle(
        &self,
        event: &ToReport,
        minute: u32,
    ) -> std::result::Result<Option<Reported>, ReportError> {
        self.report(&Faults::never())
            .handle(event, &at(minute))
            .await
    }

    /// Stops the run as a user does.
    pub(crate) async fn cancel(&self) {
        let fields = RunPatch {
            stop: Some(Stop {
                reason: StopReason::Cancelled { by: "ana".into() },
                at: at(2).now,
            }),
            ..RunPatch::default()
        };
        let stopped = Transition::Stop.apply(&*self.ledger, &self.run, fields, at(2).now);
        assert!(stopped.await.unwrap());
    }

    /// Passes all events of the queue to report, in order.
    pub(crate) async fn handle_all(&self) -> Vec<Reported> {
        let mut reported = Vec::new();
        for event in self.events() {
            let event = ToReport::Job(event);
            reported.extend(self.handle(&event, 3).await.unwrap());
        }
        reported
    }

    pub(crate) async fn item(&self) -> RunItem {
        self.ledger.find_run(&self.run).await.unwrap().unwrap()
    }

    /// The mails sent so far.
    pub(crate) fn sent(&self) -> Vec<(Envelope, String)> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .map(|(envelope, mime)| (envelope.clone(), String::from_utf8(mime.clone()).unwrap()))
            .collect()
    }

    /// The cells of a sheet of the result workbook as texts, the header first.
    pub(crate) async fn sheet(&self, name: &str) -> Vec<Vec<String>> {
        let key = keys::result(&self.run, &self.manifest.source.key);
        let path: PathBuf = self.directory.path().join("read.xlsx");
        self.objects
            .download(&Location::new(WORK, &key), &path)
            .await
            .unwrap();
        let options = ReadOptions {
            sheet: Some(rowmill_domain::SheetRef::Name(name.into())),
            ..ReadOptions::default()
        };
        let mut rows = Texts(Vec::new());
        read_rows(&path, &options, &mut rows).unwrap();
        rows.0
    }
}

struct Texts(Vec<Vec<String>>);

impl RowSink for Texts {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.0.push(header.columns.clone());
        ControlFlow::Continue(())
    }
    fn row(&mut self, _: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        let text = |cell: &Cell| match cell {
            Cell::Empty => String::new(),
            Cell::Value(value) => value.to_text(),
            Cell::Error(error) => error.clone(),
        };
        self.0.push(cells.iter().map(text).collect());
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        _: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        assert!(outside.is_empty(), "row {row}: {outside:?}");
        ControlFlow::Continue(())
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        let width = self.0.first().map_or(0, Vec::len);
        for _ in first..=last {
            self.0.push(vec![String::new(); width]);
        }
        ControlFlow::Continue(())
    }
}

/// An invocation `minute` minutes after the start of the run.
pub(crate) fn at(minute: u32) -> Invocation {
    Invocation {
        owner: "message-1".into(),
        now: "2026-11-21T10:00:00Z".parse::<DateTime<Utc>>().unwrap()
            + Duration::from_secs(60 * u64::from(minute)),
    }
}

fn objects(directory: &TempDir) -> DirObjects {
    DirObjects::open(vec![Bucket {
        name: WORK.into(),
        path: directory.path().join(WORK),
        versioned: false,
    }])
    .unwrap()
}

fn batch(directory: &TempDir) -> LocalBatch {
    let config = BatchConfig {
        queue: QUEUE.into(),
        slots: 4,
        program: vec!["/bin/sh".into(), "-c".into()],
        environment: BTreeMap::new(),
        logs: directory.path().join("logs"),
        chaos: None,
        clock_scale: 0.01,
    };
    LocalBatch::open(Cloud::open(directory.path()).unwrap(), config).unwrap()
}

fn record(row: u32) -> Record {
    Record {
        row,
        values: vec![Some(f64::from(row).into()), Some("good".into())],
    }
}

fn outcome(row: u32, phase: u16) -> Outcome {
    Outcome {
        row,
        phase,
        status: Status::Ok,
        outputs: vec![
            ("sa_class".into(), "positive".into()),
            ("sa_score".into(), 0.5.into()),
        ],
        error: None,
        attempts: 1,
        times: Vec::new(),
        steps: 0,
        notes: Vec::new(),
    }
}

/// Rows 2 and 3 are rejected; the records follow.
fn manifest(run: &RunId, spec: &Spec) -> Manifest {
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let column = |name: &str, kind| ColumnProfile {
        name: name.into(),
        kind: Some(kind),
        format: None,
        filled: 1,
        distinct: 1,
        min: None,
        max: None,
        width: 8,
    };
    let mut next = 4;
    let mut chunks = Vec::new();
    for (chunk, (records, children)) in (0..).zip(&spec.chunks) {
        chunks.push(ChunkPlan {
            chunk,
            first_row: next,
            last_row: next + records - 1,
            records: *records,
            children: *children,
        });
        next += records;
    }
    let records = u64::from(next - 4);
    Manifest {
        version: MANIFEST_VERSION,
        run: run.clone(),
        source: UploadSource {
            bucket: "inbox".into(),
            key: "reviews/my file (1)+ü.xlsx".into(),
            version: "v".into(),
            size: 1,
            uploaded: now,
        },
        created: now,
        pipeline: "reviews".parse().unwrap(),
        pipeline_toml: spec.pipeline.into(),
        sheet: "S".into(),
        columns: vec![column("n", Kind::Number), column("text", Kind::Text)],
        chunks,
        phases: spec.phases,
        rows_in: records + 2,
        records,
        rejected: BTreeMap::from([(RejectReason::MissingRequired, 2)]),
        notes: Vec::new(),
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    }
}

/// The archived records of a chunk.
pub(crate) fn kept(gzip: &[u8], columns: &Columns) -> Vec<(Record, Outcome)> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(gzip), &mut text).unwrap();
    text.lines()
        .map(|line| rowmill_domain::archive::read_line(line.as_bytes(), columns).unwrap())
        .collect()
}
