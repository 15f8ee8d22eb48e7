//! Removes what one run left.

use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, keys};
use rowmill_ports::{Coordination, Jobs, Mailer, Outcomes, RunPatch, Runs, Scheduler, Topic};
use rowmill_runs::{Transition, WorkBucket, describe_jobs, with_claim};

use crate::error::CleanupError;

/// The stage, with the services it uses.
pub struct Cleanup {
    /// Runs and the ids of their jobs.
    pub runs: Arc<dyn Runs>,
    /// The tables of runs.
    pub outcomes: Arc<dyn Outcomes>,
    /// Claims.
    pub coordination: Arc<dyn Coordination>,
    /// The work bucket.
    pub work: WorkBucket,
    /// The inbox.
    pub inbox: WorkBucket,
    /// Jobs and their definitions.
    pub jobs: Arc<dyn Jobs>,
    /// Receives the messages that move stalled runs on, and uploads without a run.
    pub topic: Arc<dyn Topic>,
    /// Schedules the next check of a run.
    pub scheduler: Arc<dyn Scheduler>,
    /// Says whether mail can be sent.
    pub mailer: Arc<dyn Mailer>,
    /// The settings of the deployment.
    pub config: CleanupConfig,
}

/// The settings of cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupConfig {
    /// The job queue.
    pub queue: String,
    /// The name of the stack. Names of job definitions start with it.
    pub stack: String,
    /// A run is checked if nothing changed for this long.
    pub stalled_after: Duration,
    /// A job that has waited this long while the queue runs nothing is logged. It is terminated if
    /// Batch says that it can never start.
    pub runnable_after: Duration,
    /// The identity that must be verified before mail can be sent. `None`: any sender can.
    pub identity: Option<String>,
}

impl Cleanup {
    /// Removes everything temporary of a run whose email is sent: its table, all objects under
    /// `runs/<id>/`, job definitions that no live run uses, and its scheduled check. Results stay.
    /// Does nothing if this was done before or another invocation is doing it.
    ///
    /// # Errors
    /// [`CleanupError::NotEnded`] if the email of the run is not sent yet. Safe to repeat after any
    /// error.
    pub async fn handle(&self, event: &Reported, cx: &Invocation) -> Result<(), CleanupError> {
        let run = &event.run;
        let item = self
            .runs
            .find_run(run)
            .await?
            .ok_or_else(|| CleanupError::UnknownRun(run.clone()))?;
        if !item.state.is_terminal() {
            return Err(CleanupError::NotEnded {
                run: run.clone(),
                state: item.state,
            });
        }
        let clean = async |_resumed| {
            self.end_jobs(run).await?;
            self.outcomes.drop_table(run).await?;
            self.work.delete_all(&keys::run_prefix(run)).await?;
            self.deregister_unused(&item.definitions).await?;
            let cleaned = RunPatch {
                cleaned: Some(cx.now),
                ..RunPatch::default()
            };
            Transition::Clean
                .apply(&*self.runs, run, cleaned, cx.now)
                .await?;
            // Last: until then, the scheduled check resumes a cleanup that died midway.
            self.scheduler.cancel(run.as_str()).await?;
            Ok::<_, CleanupError>(())
        };
        with_claim(&*self.coordination, run, Work::Cleanup, cx, clean).await?;
        Ok(())
    }

    /// Terminates jobs that have not ended: a run that failed midway may have left some.
    async fn end_jobs(&self, run: &RunId) -> Result<(), CleanupError> {
        let recorded = self.runs.jobs(run).await?;
        let ids: Vec<_> = recorded.into_iter().map(|job| job.id).collect();
        for job in describe_jobs(&*self.jobs, &ids).await? {
            if !job.status.is_terminal() {
                self.jobs.terminate(&job.id, "the run has ended").await?;
            }
        }
        Ok(())
    }
}
