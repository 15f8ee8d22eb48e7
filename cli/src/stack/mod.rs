//! The local stack: the local adapters under a state directory, and the stages wired to them. It
//! does on one machine what a stack does on AWS.

mod running;
mod stages;
mod wiring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Utc;
use futures::TryStreamExt;
use rowmill_cleanup::{CleanupError, Mode, Swept};
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::limits::CLAIM_LEASE;
use rowmill_domain::message::{RetryRequest, RunMessage};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_events::{ToSplit, reported_event, schedule_event, sns_messages_event, to_split};
use rowmill_local::batch::LocalBatch;
use rowmill_local::bus::{Chaos, DeadLetter, Target, dead_letters, enqueue, queue, redrive};
use rowmill_local::{
    Bucket, Cloud, DirObjects, Dispatcher, LocalError, RunScope, SmtpMailer, SqliteLedger,
    StateLock, inbox_event,
};
use rowmill_ports::{Location, ObjectInfo, Objects, Optional, PortError};
use rowmill_runs::open_runs;
use rowmill_split::{Processing, Reevaluation, RetryPlan, SplitError};
use serde_json::{Value, json};

pub(crate) use self::running::RunningStack;
use self::stages::Stages;
pub(crate) use self::wiring::databases;
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
    lock: StateLock,
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

    /// Finds the rows that a request retries.
    pub(crate) async fn plan_retry(&self, request: &RetryRequest) -> Result<RetryPlan, SplitError> {
        self.stages.split.plan_retry(request).await
    }

    /// Finds the archived rows of a run that a pipeline can evaluate again.
    pub(crate) async fn plan_reevaluation(
        &self,
        run: &RunId,
        wanted: Processing<'_>,
    ) -> Result<Reevaluation, SplitError> {
        self.stages.split.plan_reevaluation(run, wanted).await
    }

    /// Sends a request for a retry, or sends again what an earlier command could not handle.
    pub(crate) fn request_retry(&self, request: &RetryRequest) -> Result<(), LocalError> {
        let mut given_up = dead_letters(&self.cloud)?.into_iter();
        let is_ours = |payload: &Value| retried_by(payload) == request.id();
        let waiting = queue(&self.cloud)?;
        match given_up.find(|letter| is_ours(&letter.payload)) {
            Some(letter) => redrive(&self.cloud, letter.id),
            None if waiting.iter().any(|(_, payload)| is_ours(payload)) => Ok(()),
            None => {
                let message = RunMessage::Retry(request.clone());
                self.send(Target::Split, &json!(message))
            }
        }
    }

    /// Sends the message that moves a run on from its state, in case it was lost with `cloud.db`. A stage
    /// ignores a message that it has handled.
    pub(crate) async fn nudge(&self, run: &RunItem) -> Result<(), PortError> {
        let source = &run.source;
        let message = match run.state {
            // The message of a retry has the rows that its command asks for.
            RunState::Splitting if run.id.retry_number().is_some() => return Ok(()),
            RunState::Splitting => {
                let at = Location {
                    version: Some(source.version.clone()),
                    ..Location::new(&source.bucket, &source.key)
                };
                let upload = self.objects.head(&at).await?;
                return self.announce(&upload).map_err(queue_error);
            }
            RunState::Running => RunMessage::Split {
                run: run.id.clone(),
            },
            RunState::Reporting => RunMessage::Check {
                run: run.id.clone(),
            },
            RunState::Delivered | RunState::DeliveredWithErrors | RunState::Failed => {
                let answer = json!(Reported {
                    run: run.id.clone()
                });
                let reported = reported_event(&json!({}), &answer, "nudge", Utc::now());
                return self.send(Target::Cleanup, &reported).map_err(queue_error);
            }
        };
        let target = match &message {
            RunMessage::Check { .. } => Target::Report,
            _ => Target::Submit,
        };
        let id = format!("nudge-{}", run.id);
        let event = sns_messages_event(&message, &id, Utc::now());
        self.send(target, &event).map_err(queue_error)
    }

    /// Starts a sweep, as the schedule does in a deployment. It finds what an earlier version left,
    /// and what belongs to no run; runs have their own due time.
    pub(crate) fn sweep(&self) -> Result<(), LocalError> {
        self.send(Target::Cleanup, &schedule_event(Utc::now()))
    }

    /// Sweeps once for what is left of runs that are over. Returns also the runs that were interrupted.
    pub(crate) async fn sweep_leftovers(
        &self,
        mode: Mode,
    ) -> Result<(Swept, Vec<RunId>), CleanupError> {
        // This command holds the directory, so every claim in it is abandoned.
        let cx = Invocation {
            owner: "sweep".to_owned(),
            now: Utc::now() + CLAIM_LEASE,
        };
        let swept = self.stages.cleanup.sweep_leftovers(mode, &cx).await?;
        let open: Vec<RunItem> = open_runs(&*self.ledger).try_collect().await?;
        let interrupted = open.into_iter().filter(|run| !run.state.is_terminal());
        Ok((swept, interrupted.map(|run| run.id).collect()))
    }

    /// Checks a run, as its schedule does: a run that has stalled moves on.
    pub(crate) fn check(&self, run: &RunId) -> Result<(), LocalError> {
        let due = RunMessage::Due { run: run.clone() };
        let id = format!("check-{run}");
        let event = sns_messages_event(&due, &id, Utc::now());
        self.send(Target::Cleanup, &event)
    }

    fn send(&self, target: Target, payload: &Value) -> Result<(), LocalError> {
        self.cloud
            .with(|conn| enqueue(conn, self.chaos.as_ref(), target, payload))
    }

    /// The dead letters of a run: messages that a stage failed to handle too often.
    pub(crate) fn dead_letters(&self, scope: &RunScope) -> Result<Vec<DeadLetter>, LocalError> {
        let mut letters = dead_letters(&self.cloud)?;
        letters.retain(|letter| scope.has_message(letter.target, &letter.payload));
        Ok(letters)
    }

    /// Puts the dead letters of a run back on the queue.
    pub(crate) fn redrive(&self, run: &RunItem) -> Result<(), LocalError> {
        for letter in self.dead_letters(&RunScope::of(run))? {
            redrive(&self.cloud, letter.id)?;
        }
        Ok(())
    }

    /// Puts all dead letters back on the queue.
    pub(crate) fn redrive_all(&self) -> Result<(), LocalError> {
        for letter in dead_letters(&self.cloud)? {
            redrive(&self.cloud, letter.id)?;
        }
        Ok(())
    }

    /// Why children cannot be started at the moment.
    pub(crate) fn cannot_start(&self) -> Option<String> {
        self.batch.cannot_start()
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

    /// Starts the dispatcher and the local Batch, for all runs.
    pub(crate) fn start(&self) -> RunningStack {
        let dispatcher = Dispatcher::new(self.cloud.clone(), self.chaos);
        RunningStack::start(dispatcher, self.stages.clone(), self.batch.clone(), None)
    }

    /// Starts the dispatcher and the local Batch for one run. Other runs stay as they are.
    ///
    /// # Errors
    /// The lock file, which names the run for other commands, cannot be written.
    pub(crate) fn start_run(&self, run: &RunScope) -> std::io::Result<RunningStack> {
        self.lock.works_on(run.id.as_str())?;
        let dispatcher = Dispatcher::new(self.cloud.clone(), self.chaos).limited_to(run.clone());
        let (stages, batch) = (self.stages.clone(), self.batch.clone());
        Ok(RunningStack::start(
            dispatcher,
            stages,
            batch,
            Some(run.clone()),
        ))
    }
}

/// The retry that a message requests.
fn retried_by(payload: &Value) -> Option<RunId> {
    match to_split(payload).ok()?.into_iter().next()? {
        ToSplit::Retry(request) => request.id(),
        ToSplit::Created(_) => None,
    }
}

fn queue_error(error: LocalError) -> PortError {
    error.into_port("queue", "cloud.db")
}
