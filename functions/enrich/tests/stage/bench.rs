//! A run of one chunk, on local adapters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rowmill_domain::cost::Cost;
use rowmill_domain::manifest::{ChunkPlan, ColumnProfile, MANIFEST_VERSION};
use rowmill_domain::run::{Stop, StopReason, UploadSource};
use rowmill_domain::tally::CostRates;
use rowmill_domain::{Columns, Manifest, Outcome, Record, RunId, RunItem, keys};
use rowmill_enrich::{Child, ChildReport, Enrich, EnrichError, HostResources, ProgramFetcher};
use rowmill_local::{Bucket, Cloud, DirObjects, LocalTopic, SqliteLedger};
use rowmill_pipeline::Pipeline;
use rowmill_ports::{Objects, Outcomes, Put, RunPatch, Runs, TablePlan};
use rowmill_runs::{Transition, WorkBucket};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) const WORK: &str = "work";
/// Longer than any single wait of a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A run of one chunk. Rows 2, 3, ... have `n` = 2, 3, ...
pub(crate) struct Bench {
    pub(crate) enrich: Arc<Enrich>,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) cloud: Cloud,
    pub(crate) objects: Arc<DirObjects>,
    pub(crate) run: RunId,
    records: u32,
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) async fn new(pipeline: &str, records: u32, children: u32) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let objects = Arc::new(
            DirObjects::open(vec![Bucket {
                name: WORK.into(),
                path: directory.path().join(WORK),
                versioned: false,
            }])
            .unwrap(),
        );
        let ledger = Arc::new(SqliteLedger::open(directory.path()).unwrap());
        let run: RunId = "20261121-numbers-0123456789ab".parse().unwrap();
        let columns = Columns::new(["n", "text"]);
        let mut chunk = Vec::new();
        for row in 2..2 + records {
            let record = Record {
                row,
                values: vec![Some(f64::from(row).into()), Some("good".into())],
            };
            record.write_json(&columns, &mut chunk).unwrap();
            chunk.push(b'\n');
        }
        let parsed = Pipeline::parse("numbers.toml", pipeline).unwrap();
        let manifest = manifest(&run, pipeline, parsed.phase_count(), records, children);
        for (key, body) in [
            (keys::chunk(&run, 0), Bytes::from(chunk)),
            (
                keys::manifest(&run),
                serde_json::to_vec(&manifest).unwrap().into(),
            ),
        ] {
            objects.put(WORK, &key, body, Put::default()).await.unwrap();
        }
        let plan = TablePlan {
            writes_per_second: 1000,
            records: records.into(),
        };
        ledger.create_table(&run, plan).await.unwrap();
        let cloud = Cloud::open(directory.path()).unwrap();
        let work = WorkBucket::new(WORK, objects.clone());
        let enrich = Arc::new(Enrich {
            work: work.clone(),
            runs: ledger.clone(),
            topic: Arc::new(LocalTopic::new(cloud.clone(), None)),
            outcomes: ledger.clone(),
            coordination: ledger.clone(),
            host: HostResources {
                program_directory: directory.path().to_owned(),
                fetcher: ProgramFetcher {
                    work: Some(work),
                    buckets: vec!["arn:aws:s3:::shared".into()],
                    scratch: Some(directory.path().join("scratch")),
                },
                ..HostResources::default()
            },
        });
        Bench {
            enrich,
            ledger,
            cloud,
            objects,
            run,
            records,
            directory,
        }
    }

    /// Creates the run's item, which most tests do not need. A run costs 1 USD, and each child at least 3
    /// USD.
    pub(crate) async fn create_run(&self) {
        let source = UploadSource {
            bucket: "inbox".into(),
            key: "numbers/a.csv".into(),
            version: "v".into(),
            size: 1,
            uploaded: chrono::DateTime::UNIX_EPOCH,
        };
        let usd = |vcpu| Cost {
            vcpu,
            ..Cost::default()
        };
        let item = RunItem {
            cost_rates: Some(CostRates {
                base: usd(1.0),
                seconds: vec![usd(0.05)],
                ..CostRates::default()
            }),
            ..RunItem::new(self.run.clone(), source, chrono::DateTime::UNIX_EPOCH)
        };
        assert!(self.ledger.create_run(&item).await.unwrap());
    }

    /// Stops the run as a user does.
    pub(crate) async fn cancel(&self) {
        let now = chrono::DateTime::UNIX_EPOCH;
        let fields = RunPatch {
            stop: Some(Stop {
                reason: StopReason::Cancelled { by: "ana".into() },
                at: now,
            }),
            ..RunPatch::default()
        };
        let stopped = Transition::Stop.apply(&*self.ledger, &self.run, fields, now);
        assert!(stopped.await.unwrap());
    }

    pub(crate) fn child(&self, phase: u16, index: Option<u32>) -> Child {
        Child {
            run: self.run.clone(),
            chunk: 0,
            phase,
            second_round: false,
            index,
        }
    }

    pub(crate) async fn work(
        &self,
        phase: u16,
        index: Option<u32>,
    ) -> Result<ChildReport, EnrichError> {
        let (_stop, stopped) = watch::channel(false);
        self.enrich.run(&self.child(phase, index), stopped).await
    }

    pub(crate) async fn outcomes(&self) -> Vec<Outcome> {
        let rows = 2..=1 + self.records;
        self.ledger.read_outcomes(&self.run, 0, rows).await.unwrap()
    }

    /// Waits until a program has created the file.
    pub(crate) async fn appeared(&self, name: &str) {
        let path = self.directory.path().join(name);
        tokio::time::timeout(PATIENCE, async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the program creates the file");
    }
}

fn manifest(run: &RunId, toml: &str, phases: u16, records: u32, children: u32) -> Manifest {
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let column = |name: &str| ColumnProfile {
        name: name.into(),
        kind: None,
        format: None,
        filled: records.into(),
        distinct: 0,
        min: None,
        max: None,
        width: 0,
    };
    Manifest {
        version: MANIFEST_VERSION,
        run: run.clone(),
        source: UploadSource {
            bucket: "inbox".into(),
            key: "numbers/n.xlsx".into(),
            version: "v".into(),
            size: 1,
            uploaded: now,
        },
        created: now,
        pipeline: "numbers".parse().unwrap(),
        pipeline_toml: toml.into(),
        sheet: "S".into(),
        columns: vec![column("n"), column("text")],
        chunks: vec![ChunkPlan {
            chunk: 0,
            first_row: 2,
            last_row: 1 + records,
            records,
            children,
        }],
        phases,
        rows_in: records.into(),
        records: records.into(),
        rejected: BTreeMap::new(),
        notes: Vec::new(),
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    }
}
