//! Stalled runs. Each run has a scheduled check, and the sweep checks all runs that are not cleaned up.
//!
//! If nothing changed in a run for a while, the stage that can move it on gets the message that
//! usually invokes it, after Batch was asked about its jobs. If no stage can move the run on, it
//! fails, so that an email is sent in any case.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::job::JobId;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_ports::JobRecord;
use rowmill_runs::describe_jobs;

use crate::error::CleanupError;
use crate::finding::Finding;
use crate::stage::Cleanup;
use crate::sweep::log;

impl Cleanup {
    /// Checks a run at its scheduled time, and moves it on if nothing changed for
    /// [`crate::CleanupConfig::stalled_after`]. Schedules the next check, until the run is cleaned
    /// up. Safe to repeat and to run in parallel with all other stages.
    ///
    /// # Errors
    /// The run could not be resumed. The next check tries again.
    pub async fn due(&self, run: &RunId, cx: &Invocation) -> Result<Vec<Finding>, CleanupError> {
        let Some(item) = self.runs.find_run(run).await? else {
            // The check is scheduled before the run is created, so split was interrupted in between. The
            // sweep finds the upload.
            tracing::warn!(%run, "unknown run: its upload was never split");
            return Ok(Vec::new());
        };
        self.check_run(&item, cx).await
    }

    /// Checks a run, and schedules the next check.
    async fn check_run(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<Finding>, CleanupError> {
        if item.cleaned.is_some() {
            return Ok(Vec::new());
        }
        // Before anything else: whatever happens to this check, there is another one.
        self.schedule_check(item, cx).await?;
        if self.stalls_at(item) > cx.now {
            return Ok(Vec::new());
        }
        let found = self.stalled(item, cx).await?;
        for finding in &found {
            log(finding);
            self.repair(finding, cx).await?;
        }
        Ok(found)
    }

    fn stalls_at(&self, item: &RunItem) -> DateTime<Utc> {
        item.updated + self.config.stalled_after
    }

    /// Schedules the next check of a run.
    pub(crate) async fn schedule_check(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<(), CleanupError> {
        let stalls_at = self.stalls_at(item);
        let next = match stalls_at <= cx.now {
            true => cx.now + self.config.stalled_after,
            false => stalls_at,
        };
        let run = item.id.clone();
        let message = RunMessage::Due { run };
        Ok(self.scheduler.at(item.id.as_str(), next, &message).await?)
    }

    /// What keeps a stalled run from moving on.
    pub(crate) async fn stalled(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<Finding>, CleanupError> {
        let run = item.id.clone();
        let (work, finding) = if item.state.is_terminal() {
            (Work::Cleanup, Finding::NotCleaned { run })
        } else if let Some(failure) = &item.failure {
            let failure = failure.clone();
            (Work::Report, Finding::FailureUnreported { run, failure })
        } else {
            match item.state {
                // All attempts at its event are used up.
                RunState::Splitting => {
                    let file = keys::file_name(&item.source.key).to_owned();
                    (Work::Split, Finding::SplitAbandoned { run, file })
                }
                RunState::Running => return self.running_on(item, cx).await,
                _ if item
                    .report
                    .as_ref()
                    .is_some_and(|starts| starts.wait(cx.now)) =>
                {
                    return Ok(Vec::new());
                }
                _ => (Work::Report, Finding::NotReported { run }),
            }
        };
        self.unless_held(item, work, finding, cx).await
    }

    /// The finding, unless an invocation is doing the work that it is about.
    async fn unless_held(
        &self,
        item: &RunItem,
        work: Work,
        finding: Finding,
        cx: &Invocation,
    ) -> Result<Vec<Finding>, CleanupError> {
        Ok(match self.is_held(&item.id, work, cx).await? {
            true => Vec::new(),
            false => vec![finding],
        })
    }

    async fn running_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<Finding>, CleanupError> {
        let run = item.id.clone();
        let not_reported = Finding::NotReported { run: run.clone() };
        let jobs = self.runs.jobs(&run).await?;
        let second_round = jobs.iter().filter(|job| job.name.is_second_round()).count();
        if item
            .jobs
            .is_none_or(|all| jobs.len() - second_round < all as usize)
        {
            let finding = Finding::NotSubmitted { run: run.clone() };
            return self.unless_held(item, Work::Submit, finding, cx).await;
        }
        if second_round < item.second_round.unwrap_or(0) as usize {
            // Report was interrupted while it submitted the second round.
            return self
                .unless_held(item, Work::SecondRound, not_reported, cx)
                .await;
        }
        let open: Vec<JobRecord> = jobs.into_iter().filter(|job| !job.ended).collect();
        let ids: Vec<JobId> = open.iter().map(|job| job.id.clone()).collect();
        let mut alive = describe_jobs(&*self.jobs, &ids).await?;
        // Submit is long done, so Batch would know them. It forgets jobs 7 days after they end, and then
        // only their events are lost.
        let known: HashSet<JobId> = alive.iter().map(|job| job.id.clone()).collect();
        let lost = open.into_iter().filter(|job| !known.contains(&job.id));
        let lost: Vec<Finding> = lost
            .map(|job| Finding::JobLost {
                run: run.clone(),
                job: job.name,
                id: job.id,
            })
            .collect();
        if !lost.is_empty() {
            return Ok(lost);
        }
        alive.retain(|job| !job.status.is_terminal());
        if alive.is_empty() {
            return self.unless_held(item, Work::Report, not_reported, cx).await;
        }
        if item.stop.is_some() {
            return Ok(vec![Finding::NotStopped { run: run.clone() }]);
        }
        self.waiting(&run, alive, cx.now).await
    }

    /// Whether an invocation holds the claim on a piece of work now.
    pub(crate) async fn is_held(
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
