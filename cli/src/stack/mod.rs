//! The local stack: the local adapters under a state directory, and the stages wired to them. It
//! does on one machine what a stack does on AWS.

mod running;
mod stages;
mod wiring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_events::schedule_event;
use rowmill_local::batch::LocalBatch;
use rowmill_local::bus::{Chaos, DeadLetter, Target, dead_letters, enqueue, redrive};
use rowmill_local::{
    Bucket, Cloud, DirObjects, Dispatcher, LocalError, SmtpMailer, SqliteLedger, StateLock,
    inbox_event,
};
use rowmill_ports::{ObjectInfo, Optional, PortError};

pub(crate) use self::running::RunningStack;
use self::stages::Stages;
use crate::run::progress::RunProgress;

/// The bucket for uploads; versioned.
pub(crate) const INBOX: &str = "inbox";
/// The bucket for everything else.
pub(crate) const WORK: &str = "work";

/// The state directory in the `--out` directory.
pub(crate) const STATE: &str = ".rowmill";

/// The logs of jobs, in the state directory.
pub(crate) const LOGS: &str = "logs";

/// Temporary files, in the state directory.
pub(crate) const TEMPORARY: &str = "tmp";

/// Opens the buckets under a state directory.
pub(crate) fn buckets(state: &Path) -> Result<DirObjects, LocalError> {
    let bucket = |name: &str, versioned| Bucket {
        name: name.to_owned(),
        path: state.join(name),
        versioned,
    };
    DirObjects::open(vec![bucket(INBOX, true), bucket(WORK, false)])
}

/// The adapters and stages under one state directory, which this command holds exclusively.
pub(crate) struct LocalStack {
    /// The state directory.
    pub(crate) state: PathBuf,
    /// The queue of messages, and the jobs.
    pub(crate) cloud: Cloud,
    /// Both buckets.
    pub(crate) objects: Arc<DirObjects>,
    /// Runs and outcomes.
    pub(crate) ledger: Arc<SqliteLedger>,
    batch: LocalBatch,
    stages: Arc<Stages>,
    chaos: Option<Chaos>,
    _lock: StateLock,
}

/// How to set up a local stack.
pub(crate) struct StackOptions {
    /// How many children run at once; by default one per core.
    pub(crate) slots: Option<u16>,
    /// The seed with which to deliver every event twice and in random order.
    pub(crate) chaos: Option<u64>,
    /// The relay that sends mail. Without one an email is only written to a file.
    pub(crate) relay: Option<SmtpMailer>,
}

impl LocalStack {
    /// Sends the event of an object that was put into the inbox.
    pub(crate) fn announce(&self, object: &ObjectInfo) -> Result<(), LocalError> {
        self.send(Target::Split, &inbox_event(INBOX, object))
    }

    /// Starts a sweep, as the schedule does in a deployment. It finds what an earlier version left,
    /// and what belongs to no run; runs have their own due time.
    pub(crate) fn sweep(&self) -> Result<(), LocalError> {
        self.send(Target::Cleanup, &schedule_event(Utc::now()))
    }

    fn send(&self, target: Target, payload: &serde_json::Value) -> Result<(), LocalError> {
        self.cloud
            .with(|conn| enqueue(conn, self.chaos.as_ref(), target, payload))
    }

    /// The dead letters of a run, whose upload has this version: messages that a stage failed to
    /// handle too often.
    pub(crate) fn dead_letters(
        &self,
        run: &RunId,
        version: &str,
    ) -> Result<Vec<DeadLetter>, LocalError> {
        let mut letters = dead_letters(&self.cloud)?;
        letters.retain(|letter| concerns(&letter.payload, run, version));
        Ok(letters)
    }

    /// Puts the dead letters of a run back on the queue.
    pub(crate) fn redrive(&self, run: &RunItem) -> Result<(), LocalError> {
        for letter in self.dead_letters(&run.id, &run.source.version)? {
            redrive(&self.cloud, letter.id)?;
        }
        Ok(())
    }

    /// The progress of a run whose pipeline has that many `phases`.
    pub(crate) async fn progress(
        &self,
        run: &RunItem,
        phases: u16,
    ) -> Result<RunProgress, PortError> {
        let records = run.counts.records;
        Ok(match run.state {
            RunState::Splitting => {
                RunProgress::Split(self.stages.split.rows_read.load(Ordering::Relaxed))
            }
            RunState::Running => {
                let mut done = 0;
                for phase in 0..phases {
                    done += self.stored(&run.id, phase).await?;
                }
                RunProgress::Enrich {
                    done,
                    of: records * u64::from(phases),
                    phases,
                }
            }
            RunState::Reporting => {
                // A retried report counts its rows again.
                let written = self.stages.report.rows_written.load(Ordering::Relaxed);
                RunProgress::Report(written.min(records), records)
            }
            RunState::Delivered | RunState::DeliveredWithErrors | RunState::Failed => {
                RunProgress::Cleanup
            }
        })
    }

    async fn stored(&self, run: &RunId, phase: u16) -> Result<u64, PortError> {
        // The state changes before the table exists.
        let stored = self.ledger.progress_at(run, phase).await.optional()?;
        Ok(stored.unwrap_or_default())
    }

    /// Starts the dispatcher and the local Batch.
    pub(crate) fn start(&self) -> RunningStack {
        let dispatcher = Dispatcher::new(self.cloud.clone(), self.chaos);
        RunningStack::start(dispatcher, self.stages.clone(), self.batch.clone())
    }
}

/// Whether an event is about a run: it names the run, one of its jobs, or its upload.
fn concerns(payload: &serde_json::Value, run: &RunId, version: &str) -> bool {
    let text = payload.to_string();
    text.contains(run.as_str()) || text.contains(version)
}
