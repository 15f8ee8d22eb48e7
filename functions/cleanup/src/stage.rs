//! What is removed of one run.

use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::limits::DESCRIBE_JOBS_MAX;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_ports::{Claim, ErrorKind, Holder, Jobs, Ledger, Objects, RunPatch, Scheduler, Topic};

use crate::error::CleanupError;

/// How long a claim on a run's cleanup is held: as long as a Lambda function can run.
pub const LEASE: Duration = Duration::from_secs(15 * 60);

/// The states of a run whose mail is sent.
const ENDED: [RunState; 3] = [
    RunState::Delivered,
    RunState::DeliveredWithErrors,
    RunState::Failed,
];

/// The stage.
pub struct Cleanup {
    /// The work bucket.
    pub objects: Arc<dyn Objects>,
    /// Runs and their tables.
    pub ledger: Arc<dyn Ledger>,
    /// Jobs and their definitions.
    pub jobs: Arc<dyn Jobs>,
    /// Where other stages are told to go on.
    pub topic: Arc<dyn Topic>,
    /// Where the next look at a run is set.
    pub scheduler: Arc<dyn Scheduler>,
    /// Names and times.
    pub config: CleanupConfig,
}

/// Names and times that cleanup needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupConfig {
    /// The work bucket.
    pub work_bucket: String,
    /// The job queue.
    pub queue: String,
    /// The stack, which starts the names of job definitions.
    pub stack: String,
    /// A run of which nothing was heard for so long is looked at.
    pub stalled_after: Duration,
    /// A job that waits so long for a place, while the queue runs nothing at all, is told of, and
    /// given up where Batch says that it can never run.
    pub runnable_after: Duration,
}

impl Cleanup {
    /// Removes everything temporary of a run whose mail is sent: its table, all under
    /// `runs/<id>/`, job definitions that no live run uses, the next look at it. Results stay. Nothing happens where
    /// that was done before or another invocation is at it.
    ///
    /// # Errors
    /// [`CleanupError::NotEnded`] before the run's mail is sent. Safe to run again after any error.
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
                tracing::info!(%run, %owner, %until, "another invocation is cleaning this run");
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
        // Last: while it is there, a cleanup that dies midway is gone on with.
        self.scheduler.cancel(run.as_str()).await?;
        match self.ledger.complete(run, Work::Cleanup, &cx.owner).await {
            // The lease ran out and another invocation has done the same.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            other => Ok(other?),
        }
    }

    /// Ends what is still at work: a run that failed midway may have left jobs.
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

    /// Deletes all objects of the work bucket whose keys start so.
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
        /// Runs asked for at once.
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
