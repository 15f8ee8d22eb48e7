//! One machine for AWS: the local adapters under a state directory, and the stages wired to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::limits::ATTACH_DEFAULT;
use rowmill_domain::{RunId, RunItem, RunState, config};
use rowmill_events::schedule_event;
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::bus::{Chaos, DeadLetter, Target, dead_letters, enqueue, redrive};
use rowmill_local::{
    Bucket, Cloud, DirObjects, Dispatcher, EmlOutbox, LocalError, LocalScheduler, LocalTopic,
    SmtpMailer, SqliteLedger, StateLock, inbox_event,
};
use rowmill_ports::{Mailer, ObjectInfo, Optional, PortError};
use rowmill_report::{Report, ReportConfig};
use rowmill_split::Split;
use rowmill_submit::{Submit, SubmitConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::progress::At;
use crate::stages::Stages;

/// The bucket that workbooks are put into; versioned.
pub(crate) const INBOX: &str = "inbox";
/// The bucket of everything else.
pub(crate) const WORK: &str = "work";

/// The state directory in the `--out` directory.
pub(crate) const STATE: &str = ".rowmill";

/// Temporary files, in the state directory.
pub(crate) const TEMPORARY: &str = "tmp";

/// What stands for the deployment's, the queue's and the image's name on one machine.
const STACK: &str = "rowmill";
/// Whom mail is from.
const FROM: &str = "rowmill@localhost";
/// Whom mail is to where a pipeline names nobody.
const TO: &str = "you@localhost";

/// A run of which nothing was heard for so long is looked at: long against the time between two
/// stages on one machine, short for a person who waits.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(60);
/// A job that waits so long while nothing runs will never run.
const RUNNABLE_AFTER: Duration = Duration::from_secs(600);

/// The buckets under a state directory.
pub(crate) fn buckets(state: &Path) -> Result<DirObjects, LocalError> {
    let bucket = |name: &str, versioned| Bucket {
        name: name.to_owned(),
        path: state.join(name),
        versioned,
    };
    DirObjects::open(vec![bucket(INBOX, true), bucket(WORK, false)])
}

/// The adapters under one state directory, held by this command alone.
pub(crate) struct Machine {
    /// The state directory.
    pub(crate) state: PathBuf,
    /// Messages under way and jobs.
    pub(crate) cloud: Cloud,
    /// Both buckets.
    pub(crate) objects: Arc<DirObjects>,
    /// Runs and outcomes.
    pub(crate) ledger: Arc<SqliteLedger>,
    /// Where stages tell each other.
    pub(crate) topic: Arc<LocalTopic>,
    batch: LocalBatch,
    stages: Arc<Stages>,
    chaos: Option<Chaos>,
    _lock: StateLock,
}

/// How a machine is set up.
pub(crate) struct Setup {
    /// Children at work at once; default: as many as cores.
    pub(crate) slots: Option<u16>,
    /// Delivers every event twice and out of order.
    pub(crate) chaos: Option<u64>,
    /// The relay that mail goes through; without one it stays a file.
    pub(crate) relay: Option<SmtpMailer>,
}

/// Keeps the stages' temporary files in the state directory, and removes those that a killed
/// command left there.
fn temporary_files(directory: &Path) -> Result<(), LocalError> {
    let file = |source| LocalError::File {
        path: directory.to_owned(),
        source,
    };
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file(e)),
        _ => {}
    }
    std::fs::create_dir_all(directory).map_err(file)?;
    // Set already where a process opens a second machine, as a test may; then it is as good.
    let _ = tempfile::env::override_temp_dir(directory);
    Ok(())
}

impl Machine {
    /// Opens `<out>/.rowmill`, creating it where it is absent. Refused while another command has
    /// it.
    pub(crate) fn open(out: &Path, setup: Setup) -> Result<Machine, LocalError> {
        let state = std::path::absolute(out.join(STATE)).map_err(|source| LocalError::File {
            path: out.to_owned(),
            source,
        })?;
        let lock = StateLock::take(&state)?;
        temporary_files(&state.join(TEMPORARY))?;
        let chaos = setup.chaos.map(|seed| Chaos { seed });
        let cloud = Cloud::open(&state)?;
        let objects = Arc::new(buckets(&state)?);
        let ledger = Arc::new(SqliteLedger::open(&state)?);
        let topic = Arc::new(LocalTopic::new(cloud.clone(), chaos));
        let scheduler = Arc::new(LocalScheduler::new(cloud.clone()));
        let program = std::env::current_exe().map_err(|source| LocalError::File {
            path: "rowmill".into(),
            source,
        })?;
        let batch = LocalBatch::open(
            cloud.clone(),
            BatchConfig {
                queue: STACK.to_owned(),
                slots: setup.slots.map_or_else(cores, usize::from),
                program: vec![program.display().to_string(), "enrich".to_owned()],
                environment: BTreeMap::from([(
                    config::ROWMILL_STATE.to_owned(),
                    state.display().to_string(),
                )]),
                logs: state.join("logs"),
                chaos,
                clock_scale: 1.0,
            },
        )?;
        let mailer: Arc<dyn Mailer> = match setup.relay {
            Some(relay) => Arc::new(relay),
            None => Arc::new(EmlOutbox::open(&state.join("outbox"))?),
        };
        let jobs = Arc::new(batch.clone());
        let stages = Stages {
            split: Split {
                objects: objects.clone(),
                ledger: ledger.clone(),
                topic: topic.clone(),
                scheduler: scheduler.clone(),
                work_bucket: WORK.to_owned(),
                stalled_after: STALLED_AFTER,
                rows_read: Arc::default(),
            },
            submit: Submit {
                objects: objects.clone(),
                ledger: ledger.clone(),
                jobs: jobs.clone(),
                topic: topic.clone(),
                config: SubmitConfig {
                    work_bucket: WORK.to_owned(),
                    fetch_buckets: Vec::new(),
                    queue: STACK.to_owned(),
                    stack: STACK.to_owned(),
                    image: STACK.to_owned(),
                },
            },
            report: Report {
                objects: objects.clone(),
                ledger: ledger.clone(),
                jobs: jobs.clone(),
                mailer,
                config: ReportConfig {
                    work_bucket: WORK.to_owned(),
                    queue: STACK.to_owned(),
                    from: FROM.to_owned(),
                    default_to: vec![TO.to_owned()],
                    allowed_domains: Vec::new(),
                    attach_limit: ATTACH_DEFAULT,
                    links: None,
                },
                rows_written: Arc::default(),
            },
            cleanup: Cleanup {
                objects: objects.clone(),
                ledger: ledger.clone(),
                jobs,
                topic: topic.clone(),
                scheduler,
                config: CleanupConfig {
                    work_bucket: WORK.to_owned(),
                    queue: STACK.to_owned(),
                    stack: STACK.to_owned(),
                    stalled_after: STALLED_AFTER,
                    runnable_after: RUNNABLE_AFTER,
                },
            },
        };
        Ok(Machine {
            state,
            cloud,
            objects,
            ledger,
            topic,
            batch,
            stages: Arc::new(stages),
            chaos,
            _lock: lock,
        })
    }

    /// Sends the event of an object that was put into the inbox.
    pub(crate) fn announce(&self, object: &ObjectInfo) -> Result<(), LocalError> {
        self.send(Target::Split, &inbox_event(INBOX, object))
    }

    /// Calls for a sweep, as the schedule does in a deployment: for what an earlier version left,
    /// and what belongs to no run. Runs have a time of their own.
    pub(crate) fn sweep(&self) -> Result<(), LocalError> {
        self.send(Target::Cleanup, &schedule_event(Utc::now()))
    }

    fn send(&self, target: Target, payload: &serde_json::Value) -> Result<(), LocalError> {
        self.cloud
            .with(|conn| enqueue(conn, self.chaos.as_ref(), target, payload))
    }

    /// The messages of a run that a stage gave up.
    pub(crate) fn given_up(&self, run: &RunItem) -> Result<Vec<DeadLetter>, LocalError> {
        let mut letters = dead_letters(&self.cloud)?;
        letters.retain(|letter| names(&letter.payload, run));
        Ok(letters)
    }

    /// Puts them on the queue again.
    pub(crate) fn redrive(&self, run: &RunItem) -> Result<(), LocalError> {
        for letter in self.given_up(run)? {
            redrive(&self.cloud, letter.id)?;
        }
        Ok(())
    }

    /// The number of rows that split has read so far.
    pub(crate) fn rows_read(&self) -> &Arc<AtomicU64> {
        &self.stages.split.rows_read
    }

    /// How far a run is, whose pipeline has so many stages.
    pub(crate) async fn at(&self, run: &RunItem, stages: u16) -> Result<At, PortError> {
        let records = run.counts.records;
        Ok(match run.state {
            RunState::Splitting => At::Split(self.rows_read().load(Ordering::Relaxed)),
            RunState::Running => {
                let mut done = 0;
                for stage in 0..stages {
                    done += self.stored(&run.id, stage).await?;
                }
                At::Enrich {
                    done,
                    of: records * u64::from(stages),
                    stages,
                }
            }
            RunState::Reporting => {
                // A try that begins again counts its rows again.
                let written = self.stages.report.rows_written.load(Ordering::Relaxed);
                At::Report(written.min(records), records)
            }
            RunState::Delivered | RunState::DeliveredWithErrors | RunState::Failed => At::Cleanup,
        })
    }

    async fn stored(&self, run: &RunId, stage: u16) -> Result<u64, PortError> {
        // No table: between the state and the table.
        let stored = self.ledger.progress_at(run, stage).await.optional()?;
        Ok(stored.unwrap_or_default())
    }

    /// Sets the dispatcher and the Batch to work.
    pub(crate) fn start(&self) -> AtWork {
        let (halt, halted) = watch::channel(false);
        let dispatcher = Dispatcher::new(self.cloud.clone(), self.chaos);
        let (stages, batch) = (self.stages.clone(), self.batch.clone());
        let stop = halted.clone();
        let tasks = vec![
            tokio::spawn(async move { dispatcher.run(stages, stop).await }),
            tokio::spawn(async move { batch.work(halted).await }),
        ];
        AtWork { halt, tasks }
    }
}

/// The dispatcher and the Batch at work.
pub(crate) struct AtWork {
    halt: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), LocalError>>>,
}

impl AtWork {
    /// Whether one of them ended by itself, which it does only where the state directory fails.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Ends them: stages finish the event they are at, children the records. Tells what failed.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.halt.send_replace(true);
        let mut result = Ok(());
        for task in self.tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => result = Err(e.to_string()),
                Err(e) => result = Err(e.to_string()),
            }
        }
        result
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether an event is about a run: names it, one of its jobs, or its upload.
fn names(payload: &serde_json::Value, run: &RunItem) -> bool {
    let text = payload.to_string();
    text.contains(run.id.as_str()) || text.contains(&run.source.version)
}
