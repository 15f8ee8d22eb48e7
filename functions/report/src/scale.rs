//! A benchmark, by hand: a large run through plan, job graph and report's bookkeeping, with a step that
//! does nothing. `cargo test --release -p rowmill-report scale -- --ignored --nocapture`

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobStatus, SubmitJob, job_graph};
use rowmill_domain::manifest::{ChunkPlan, MANIFEST_VERSION};
use rowmill_domain::outcome::StepTime;
use rowmill_domain::run::UploadSource;
use rowmill_domain::{Columns, Manifest, Outcome, Record, RunId, RunItem, Status};
use rowmill_local::SqliteLedger;
use rowmill_pipeline::Pipeline;
use rowmill_planning::{Quotas, plan};
use rowmill_ports::{JobFilter, Jobs, PortError, Result, Runs};

use crate::figures::Figures;
use crate::jobs::EndedJobs;

/// Every job has succeeded.
struct Succeeded;

#[async_trait]
impl Jobs for Succeeded {
    async fn register(&self, _: &JobDefinition) -> Result<String> {
        Err(unused())
    }

    async fn submit(&self, _: &SubmitJob) -> Result<JobId> {
        Err(unused())
    }

    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        let detail = |id: &JobId| JobDetail {
            id: id.clone(),
            name: rowmill_domain::job::JobName(id.0.clone()),
            status: JobStatus::Succeeded,
            status_reason: None,
            array_size: None,
            array_index: None,
            children: Default::default(),
            exit_code: Some(0),
            reason: None,
            attempts: 1,
            created_at: None,
            started_at: None,
            stopped_at: None,
            log: None,
        };
        Ok(ids.iter().map(detail).collect())
    }

    async fn definitions(&self, _: &str) -> Result<Vec<String>> {
        Err(unused())
    }

    async fn deregister(&self, _: &str) -> Result<()> {
        Err(unused())
    }

    async fn list(
        &self,
        _: &JobFilter,
        _: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        Err(unused())
    }

    async fn terminate(&self, _: &JobId, _: &str) -> Result<()> {
        Err(unused())
    }

    async fn cancel(&self, _: &JobId, _: &str) -> Result<()> {
        Err(unused())
    }
}

fn unused() -> PortError {
    PortError::new(
        "",
        "",
        rowmill_ports::ErrorKind::Invalid,
        "not part of the benchmark",
    )
}

/// Memory in use, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

/// Time, and the most memory.
async fn through(records: u64) -> (Duration, f64) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path()).unwrap();
    let pipeline = Pipeline::parse(
        "p.toml",
        "[[step]]\nkind = 'sentiment'\ncolumn = 't'\n[batch]\nseconds_per_record = 2\n",
    )
    .unwrap();
    let begun = Instant::now();
    let now = DateTime::<Utc>::UNIX_EPOCH;
    let source = UploadSource {
        bucket: "inbox".into(),
        key: "p/t.csv".into(),
        version: records.to_string(),
        size: 0,
        uploaded: now,
    };
    let run = RunId::new(&source.bucket, &source.key, &source.version, now, "p");
    let chosen = plan(&pipeline.work(records, None), &Quotas::default());
    let mut row = 0;
    let chunks = (0..)
        .zip(chosen.chunks())
        .map(|(chunk, (records, children))| {
            row += records;
            ChunkPlan {
                chunk,
                first_row: row - records,
                last_row: row - 1,
                records,
                children,
            }
        });
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        run: run.clone(),
        source: source.clone(),
        created: now,
        pipeline: run.pipeline(),
        pipeline_toml: String::new(),
        sheet: String::new(),
        columns: Vec::new(),
        chunks: chunks.collect(),
        phases: 1,
        rows_in: records,
        records,
        rejected: Default::default(),
        notes: Vec::new(),
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    };
    let item = RunItem::new(run.clone(), source, now);
    ledger.create_run(&item).await.unwrap();
    let mut jobs = 0;
    for job in job_graph(&manifest) {
        let id = JobId(job.name.0.clone());
        ledger.record_job(&run, &job.name, &id).await.unwrap();
        ledger.job_ended(&run, &job.name, &id).await.unwrap();
        jobs += 1;
    }
    assert_eq!(jobs, manifest.jobs());
    let ended = EndedJobs::of(&item, manifest.jobs(), &ledger, &Succeeded, now);
    let ended = ended.await.unwrap().unwrap();

    let columns = Columns::new(["t"]);
    let mut figures = Figures::new(&pipeline, 0);
    let mut most = 0.0f64;
    for chunk in &manifest.chunks {
        assert!(ended.job(chunk.chunk, 0).is_some());
        for row in chunk.first_row..=chunk.last_row {
            let failed = row % 1000 == 0;
            let record = Record {
                row,
                values: vec![None],
            };
            let outcome = Outcome {
                row,
                phase: 0,
                status: if failed { Status::Failed } else { Status::Ok },
                outputs: Vec::new(),
                error: failed.then(|| format!("step 1 (sentiment): row {row} has no text")),
                attempts: 1,
                times: vec![StepTime { step: 0, ms: 2.0 }],
                steps: 0,
                notes: Vec::new(),
            };
            figures.add(&columns, &record, &outcome);
        }
        most = most.max(resident());
    }
    assert_eq!(figures.counts().records, records);
    assert_eq!(figures.measured(&pipeline)[0].records, records);
    (begun.elapsed(), most)
}

#[tokio::test]
#[ignore = "a benchmark of some minutes without optimization"]
async fn ten_million_records_need_linear_time_and_flat_memory() {
    let (_, _) = through(100_000).await;
    let (small, before) = through(1_000_000).await;
    let (large, after) = through(10_000_000).await;
    let times = large.as_secs_f64() / small.as_secs_f64();
    println!(
        "1,000,000 records: {:.1} s, {before:.0} MiB; 10,000,000: {:.1} s, {after:.0} MiB; {times:.1} times as long",
        small.as_secs_f64(),
        large.as_secs_f64(),
    );
    assert!(times < 13.0, "{times}");
    assert!(after < before + 16.0, "{before} MiB, then {after} MiB");
}
