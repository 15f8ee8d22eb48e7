//! Stalled runs. Each run has a scheduled check, and the sweep checks all runs.
//!
//! If nothing changed in a run for a while, the stage that can move it on gets the message that
//! usually invokes it, after Batch was asked about its jobs. If no stage can move the run on, it
//! fails, so that an email is sent in any case.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::job::{JobDetail, JobId, JobStatus};
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, Work};
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_ports::JobFilter;
use rowmill_runs::{Transition, all_jobs, describe_jobs, fail, publish_failure};

use crate::action::SweepAction;
use crate::error::CleanupError;
use crate::stage::Cleanup;

/// The prefix of Batch's reason if a job can never start. Other waits end on their own: if another
/// stack uses the account's vCPUs or AWS has no capacity, the job starts later, and terminating it
/// would lose its results. Source: AWS Batch user guide, "Jobs stuck in a RUNNABLE status".
const MISCONFIGURED: &str = "MISCONFIGURATION";

impl Cleanup {
    /// Checks a run at its scheduled time, and moves it on if nothing changed for
    /// [`crate::CleanupConfig::stalled_after`]. Schedules the next check, until the run is cleaned
    /// up. Safe to repeat and to run in parallel with all other stages.
    ///
    /// # Errors
    /// The run could not be resumed. The next check tries again.
    pub async fn due(
        &self,
        run: &RunId,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let Some(item) = self.runs.find_run(run).await? else {
            // The check is scheduled before the run is created, so split was interrupted in between.
            tracing::warn!(%run, "unknown run: its upload was never split");
            return Ok(Vec::new());
        };
        self.check_run(&item, cx).await
    }

    /// Checks a run, and schedules the next check.
    pub(crate) async fn check_run(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        if item.cleaned.is_some() {
            return Ok(Vec::new());
        }
        let stalled_after = self.config.stalled_after;
        let stalls_at = item.updated + stalled_after;
        let stalled = stalls_at <= cx.now;
        let next = if stalled {
            cx.now + stalled_after
        } else {
            stalls_at
        };
        let message = RunMessage::Due {
            run: item.id.clone(),
        };
        // Before anything else: whatever happens to this check, there is another one.
        self.scheduler.at(item.id.as_str(), next, &message).await?;
        if !stalled {
            return Ok(Vec::new());
        }
        let actions = self.move_on(item, cx).await?;
        for action in &actions {
            tracing::info!(?action, "the run was stalled");
        }
        Ok(actions)
    }

    /// Notifies the stage that can move a stalled run on.
    async fn move_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        if item.state.is_terminal() {
            if item.cleaned.is_some() {
                return Ok(Vec::new());
            }
            let reported = Reported { run: run.clone() };
            self.handle(&reported, cx).await?;
            let run_now = self.runs.find_run(&run).await?;
            let cleaned = run_now.is_some_and(|run| run.cleaned.is_some());
            return Ok(cleaned
                .then_some(SweepAction::Cleaned { run })
                .into_iter()
                .collect());
        }
        if let Some(failure) = &item.failure {
            if self.is_held(&run, Work::Report, cx).await? {
                return Ok(Vec::new());
            }
            publish_failure(&*self.topic, &run, failure.clone()).await?;
            return Ok(vec![SweepAction::FailureRepeated { run }]);
        }
        match item.state {
            RunState::Splitting => self.splitting_on(item, cx).await,
            RunState::Running => self.running_on(item, cx).await,
            _ if self.is_held(&run, Work::Report, cx).await? => Ok(Vec::new()),
            _ => self.check(run).await,
        }
    }

    /// Fails a run whose split is no longer in progress: all attempts at its event are used up.
    async fn splitting_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        if self.is_held(&run, Work::Split, cx).await? {
            return Ok(Vec::new());
        }
        let failure = Failure {
            stage: "split".into(),
            what: format!(
                "{}: reading the file did not finish (timeout, out of memory, or a service failed)",
                keys::file_name(&item.source.key)
            ),
            advice:
                "Upload the file again. If that fails too, divide it into several workbooks, or \
                     increase the memory of the split function."
                    .into(),
        };
        let (runs, topic, change) = (&*self.runs, &*self.topic, Transition::FailSplit);
        let failed = fail(runs, topic, &run, change, failure, None, cx.now).await?;
        Ok(failed
            .then_some(SweepAction::SplitFailed { run })
            .into_iter()
            .collect())
    }

    async fn running_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        let jobs = self.runs.jobs(&run).await?;
        if item.jobs.is_none_or(|all| jobs.len() < all as usize) {
            if self.is_held(&run, Work::Submit, cx).await? {
                return Ok(Vec::new());
            }
            self.topic
                .publish(&RunMessage::Split { run: run.clone() })
                .await?;
            return Ok(vec![SweepAction::Resubmitted { run }]);
        }
        // Batch forgets jobs about 7 days after they end, so a job that it does not know has ended.
        let ids: Vec<JobId> = jobs
            .into_iter()
            .filter(|j| !j.ended)
            .map(|j| j.id)
            .collect();
        let mut alive = describe_jobs(&*self.jobs, &ids).await?;
        alive.retain(|job| !job.status.is_terminal());
        if alive.is_empty() {
            if self.is_held(&run, Work::Report, cx).await? {
                return Ok(Vec::new());
            }
            return self.check(run).await;
        }
        let mut actions = Vec::new();
        for job in alive {
            let (run, id) = (run.clone(), job.id.clone());
            match self.waits(&job, cx.now).await? {
                None => {}
                Some(why) if why.starts_with(MISCONFIGURED) => {
                    let reason = format!("the job can never start: {why}");
                    self.jobs.terminate(&id, &reason).await?;
                    actions.push(SweepAction::JobGivenUp { run, job: job.name });
                }
                Some(why) => actions.push(SweepAction::JobWaits {
                    run,
                    job: job.name,
                    why,
                }),
            }
        }
        Ok(actions)
    }

    async fn check(&self, run: RunId) -> Result<Vec<SweepAction>, CleanupError> {
        self.topic
            .publish(&RunMessage::Check { run: run.clone() })
            .await?;
        Ok(vec![SweepAction::JobsEnded { run }])
    }

    /// Why a job that was submitted long ago, or a child of it, waits although the queue runs
    /// nothing. This is the reason that Batch gives, or empty if it gives none. `None` if the queue
    /// runs other jobs: this one will be scheduled later.
    async fn waits(
        &self,
        job: &JobDetail,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, CleanupError> {
        let since = before(now, self.config.runnable_after).timestamp_millis();
        if job.created_at.is_none_or(|created| created > since) {
            return Ok(None);
        }
        for status in [JobStatus::Starting, JobStatus::Running] {
            let queue = self.config.queue.clone();
            if self.has_jobs(&JobFilter::Status { queue, status }).await? {
                return Ok(None);
            }
            // The list does not show running children as jobs of the queue; their parents are
            // PENDING.
        }
        if !self.no_running_children().await? {
            return Ok(None);
        }
        if job.array_size.is_none() {
            let waits = job.status == JobStatus::Runnable;
            return Ok(waits.then(|| job.status_reason.clone().unwrap_or_default()));
        }
        let filter = JobFilter::Children {
            parent: job.id.clone(),
            status: JobStatus::Runnable,
        };
        let (mut why, mut children) = (None::<String>, pin!(all_jobs(&*self.jobs, &filter)));
        while let Some(child) = children.try_next().await? {
            let reason = child.status_reason.unwrap_or_default();
            // Batch says this only about the child that is first in the queue.
            if reason.starts_with(MISCONFIGURED) {
                return Ok(Some(reason));
            }
            if why.as_ref().is_none_or(String::is_empty) {
                why = Some(reason);
            }
        }
        Ok(why)
    }

    async fn no_running_children(&self) -> Result<bool, CleanupError> {
        let filter = JobFilter::Status {
            queue: self.config.queue.clone(),
            status: JobStatus::Pending,
        };
        let mut pending = pin!(all_jobs(&*self.jobs, &filter));
        while let Some(job) = pending.try_next().await? {
            if job.array_size.is_none() {
                continue;
            }
            for status in [JobStatus::Starting, JobStatus::Running] {
                let parent = job.id.clone();
                let children = JobFilter::Children { parent, status };
                if self.has_jobs(&children).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn has_jobs(&self, filter: &JobFilter) -> Result<bool, CleanupError> {
        let first = pin!(all_jobs(&*self.jobs, filter)).try_next().await?;
        Ok(first.is_some())
    }

    /// Whether an invocation holds the claim on a piece of work now.
    async fn is_held(
        &self,
        run: &RunId,
        work: Work,
        cx: &Invocation,
    ) -> Result<bool, CleanupError> {
        let holder = self.coordination.holder(run, work, cx.now).await?;
        Ok(holder.is_some())
    }
}

/// The time `age` before `now`.
pub(crate) fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(age)
        .ok()
        .and_then(|age| now.checked_sub_signed(age))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}
