//! Removes what one run left.

use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::limits::DESCRIBE_JOBS_MAX;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_ports::{Claim, ErrorKind, Holder, Jobs, Ledger, Objects, RunPatch, Scheduler, Topic};

use crate::error::CleanupError;

/// How long a claim on the cleanup of a run lasts: the longest time that a Lambda function can run.
pub const LEASE: Duration = Duration::from_secs(15 * 60);

/// The states of a run whose mail is sent.
const ENDED: [RunState; 3] = [
    RunState::Delivered,
    RunState::DeliveredWithErrors,
    RunState::Failed,
];

/// The stage, with the services it uses.
pub struct Cleanup {
    /// The work bucket.
    pub objects: Arc<dyn Objects>,
    /// Runs and their tables.
    pub ledger: Arc<dyn Ledger>,
    /// Jobs and their definitions.
    pub jobs: Arc<dyn Jobs>,
    /// Receives the messages that move stalled runs on.
    pub topic: Arc<dyn Topic>,
    /// Schedules the next check of a run.
    pub scheduler: Arc<dyn Scheduler>,
    /// The settings of the deployment.
    pub config: CleanupConfig,
}

/// The settings of cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupConfig {
    /// The work bucket.
    pub work_bucket: String,
    /// The job queue.
    pub queue: String,
    /// The name of the stack. Names of job definitions start with it.
    pub stack: String,
    /// A run is checked if nothing changed for this long.
    pub stalled_after: Duration,
    /// A job that has waited this long while the queue runs nothing is logged. It is terminated if
    /// Batch says that it can never start.
    pub runnable_after: Duration,
}

impl Cleanup {
    /// Removes everything temporary of a run whose mail is sent: its table, all objects under
    /// `runs/<id>/`, job definitions that no live run uses, and its scheduled check. Results stay. Does
    /// nothing if this was done before or another invocation is doing it.
    ///
    /// # Errors
    /// [`CleanupError::NotEnded`] if the mail of the run is not sent yet. Safe to repeat after any
    /// error.
    pub async fn handle(&self, event: &Reported, cx: &Invocation) -> Result<(), CleanupError> {
        let run = &event.run;
        let item = self
            .ledger
            .run(run)
            .await?
            .ok_or_else(|| CleanupError::UnknownRun(run.clone()))?;
        if !item.state.is_terminal() {
            return Err(CleanupError::NotEnded {
                run: run.clone(),
                state: item.state,
            });
        }
        let claim = self
            .ledger
            .claim(run, Work::Cleanup, &cx.owner, cx.now, LEASE)
            .await?;
        match claim {
            Claim::Taken { .. } => {}
            Claim::Done => return Ok(()),
            Claim::Held(Holder { owner, until }) => {
                tracing::info!(%run, %owner, %until, "another invocation is cleaning up this run");
                return Ok(());
            }
        }
        self.end_jobs(run).await?;
        self.ledger.drop_table(run).await?;
        self.delete_all(&keys::run_prefix(run)).await?;
        self.deregister_unused(&item.definitions).await?;
        let patch = RunPatch {
            cleaned: Some(cx.now),
            ..RunPatch::default()
        };
        self.ledger.update_run(run, &ENDED, patch, cx.now).await?;
        // Last: until then, the scheduled check resumes a cleanup that died midway.
        self.scheduler.cancel(run.as_str()).await?;
        match self.ledger.complete(run, Work::Cleanup, &cx.owner).await {
            // The lease expired, and another invocation has done the same work.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            other => Ok(other?),
        }
    }

    /// Terminates jobs that have not ended: a run that failed midway may have left some.
    async fn end_jobs(&self, run: &RunId) -> Result<(), CleanupError> {
        let ids: Vec<_> = self
            .ledger
            .jobs(run)
            .await?
            .into_iter()
            .map(|j| j.id)
            .collect();
        for some in ids.chunks(DESCRIBE_JOBS_MAX) {
            for job in self.jobs.describe(some).await? {
                if !job.status.is_terminal() {
                    self.jobs.terminate(&job.id, "the run has ended").await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes all objects of the work bucket whose keys start with `prefix`.
    pub(crate) async fn delete_all(&self, prefix: &str) -> Result<(), CleanupError> {
        let mut after = None;
        loop {
            let bucket = &self.config.work_bucket;
            let page = self.objects.list(bucket, prefix, after.as_deref()).await?;
            let found: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
            if !found.is_empty() {
                self.objects.delete(bucket, &found).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// All runs, in the order of their ids.
    pub(crate) async fn all_runs(&self) -> Result<Vec<RunItem>, CleanupError> {
        /// Runs per request.
        const PAGE: usize = 100;
        let mut all: Vec<RunItem> = Vec::new();
        loop {
            let after = all.last().map(|item| &item.id);
            let page = self.ledger.runs(after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}
