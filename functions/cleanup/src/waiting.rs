//! Jobs that wait for a long time although the queue runs nothing.
//!
//! The number of calls to Batch does not depend on the number of jobs of the run, apart from
//! DescribeJobs, which takes 100 jobs per call: an account may make few calls per second, and other
//! runs need them too.

use std::pin::pin;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rowmill_domain::RunId;
use rowmill_domain::job::{JobDetail, JobId, JobName, JobStatus, on_demand_queue};
use rowmill_domain::second_round::NO_CAPACITY;
use rowmill_ports::JobFilter;
use rowmill_runs::{all_jobs, pages};

use crate::error::CleanupError;
use crate::finding::Finding;
use crate::stage::Cleanup;
use crate::stalled::before;

/// The prefix of Batch's reason if a job can never start. Otherwise another stack uses the account's
/// vCPUs, or AWS has no capacity, and terminating a job of the first round loses nothing: its records
/// run On-Demand in the second. Source: AWS Batch user guide, "Jobs stuck in a RUNNABLE status".
const MISCONFIGURED: &str = "MISCONFIGURATION";

/// Jobs whose children are listed to find the reason of the wait, the oldest first. Batch gives its
/// reason for the child that is first in the queue.
const ASKED_JOBS: usize = 5;
/// Pages of children that are listed per job.
const ASKED_PAGES: usize = 2;

impl Cleanup {
    /// Finds jobs of a run that were submitted long ago and wait although the queue runs nothing. If Batch
    /// says that one can never start, it is stuck, and so are the others of its phase, which have the
    /// same definition. Otherwise jobs of the first round are, so that their records run On-Demand in the
    /// second round, whose waits are only reported.
    pub(crate) async fn waiting(
        &self,
        run: &RunId,
        alive: Vec<JobDetail>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Finding>, CleanupError> {
        let runs_something = alive.iter().any(runs);
        let since = before(now, self.config.runnable_after).timestamp_millis();
        let mut waiting = alive;
        waiting.retain(|job| job.created_at.is_some_and(|created| created <= since));
        if waiting.is_empty() || runs_something || self.queues_run_something(&waiting).await? {
            return Ok(Vec::new());
        }
        waiting.sort_by_key(|job| job.created_at);
        let mut asked: Vec<(JobName, String)> = Vec::new();
        let mut never: Option<(Option<u16>, String)> = None;
        for job in waiting
            .iter()
            .filter(|job| is_runnable(job))
            .take(ASKED_JOBS)
        {
            match self.reason(job).await? {
                Some(why) if why.starts_with(MISCONFIGURED) => {
                    never = Some((phase(&job.name), why));
                    break;
                }
                Some(why) => asked.push((job.name.clone(), why)),
                None => {}
            }
        }
        let reason = match (&never, asked.first()) {
            (Some((_, why)), _) => format!("the job can never start: {why}"),
            (None, None) => return Ok(Vec::new()),
            (None, Some((_, why))) => {
                let minutes = self.config.runnable_after.as_secs() / 60;
                let separator = if why.is_empty() { "" } else { ": " };
                format!("{NO_CAPACITY} for {minutes} minutes{separator}{why}")
            }
        };
        waiting.retain(|job| match &never {
            Some((refused, _)) => phase(&job.name) == *refused,
            None => is_runnable(job) && !job.name.is_second_round(),
        });
        asked.retain(|(name, _)| waiting.iter().all(|job| job.name != *name));
        let waits = |(job, why)| Finding::JobWaits {
            run: run.clone(),
            job,
            why,
        };
        let stuck = |job: JobDetail| Finding::JobStuck {
            run: run.clone(),
            job: job.name,
            id: job.id,
            why: reason.clone(),
        };
        let waits = asked.into_iter().map(waits);
        Ok(waits.chain(waiting.into_iter().map(stuck)).collect())
    }

    /// Whether a queue in which these jobs may wait runs something.
    async fn queues_run_something(&self, waiting: &[JobDetail]) -> Result<bool, CleanupError> {
        let queue = &self.config.queue;
        if waiting.iter().any(|job| job.name.is_second_round())
            && self.queue_runs_something(&on_demand_queue(queue)).await?
        {
            return Ok(true);
        }
        self.queue_runs_something(queue).await
    }

    /// Whether a job or child of the queue has started. Then the others wait for it to end.
    async fn queue_runs_something(&self, queue: &str) -> Result<bool, CleanupError> {
        let in_state = |status| JobFilter::Status {
            queue: queue.to_owned(),
            status,
        };
        for status in [JobStatus::Starting, JobStatus::Running] {
            if self.has_jobs(&in_state(status)).await? {
                return Ok(true);
            }
        }
        // The list does not show running children as jobs of the queue; their parents are PENDING.
        let pending = in_state(JobStatus::Pending);
        let list = async |after: Option<String>| self.jobs.list(&pending, after.as_deref()).await;
        let mut pages = pin!(pages(list));
        while let Some(page) = pages.try_next().await? {
            let parents = page.into_iter().filter(|job| job.array_size.is_some());
            let parents: Vec<JobId> = parents.map(|job| job.id).collect();
            if self.jobs.describe(&parents).await?.iter().any(runs) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The reason that Batch gives for the wait of a job or its children. Empty if it gives none,
    /// `None` if they no longer wait.
    async fn reason(&self, job: &JobDetail) -> Result<Option<String>, CleanupError> {
        if job.array_size.is_none() {
            return Ok(Some(job.status_reason.clone().unwrap_or_default()));
        }
        let filter = JobFilter::Children {
            parent: job.id.clone(),
            status: JobStatus::Runnable,
        };
        let list = async |after: Option<String>| self.jobs.list(&filter, after.as_deref()).await;
        let mut pages = pin!(pages(list));
        let mut why = None::<String>;
        for _ in 0..ASKED_PAGES {
            let Some(children) = pages.try_next().await? else {
                break;
            };
            for child in children {
                let reason = child.status_reason.unwrap_or_default();
                if reason.starts_with(MISCONFIGURED) {
                    return Ok(Some(reason));
                }
                if why.as_ref().is_none_or(String::is_empty) {
                    why = Some(reason);
                }
            }
        }
        Ok(why)
    }

    async fn has_jobs(&self, filter: &JobFilter) -> Result<bool, CleanupError> {
        let first = pin!(all_jobs(&*self.jobs, filter)).try_next().await?;
        Ok(first.is_some())
    }
}

/// Whether a job, or a child of it, has started and not ended.
fn runs(job: &JobDetail) -> bool {
    let has_started = |status| matches!(status, JobStatus::Starting | JobStatus::Running);
    has_started(job.status) || job.children.keys().any(|status| has_started(*status))
}

/// Whether a job, or a child of it, waits for capacity. A job of a later phase waits for the phase
/// before it.
fn is_runnable(job: &JobDetail) -> bool {
    job.status == JobStatus::Runnable || job.children.contains_key(&JobStatus::Runnable)
}

/// The phase of a job. Its jobs have the same definition.
fn phase(name: &JobName) -> Option<u16> {
    JobName::parse(&name.0).map(|(_, _, phase)| phase)
}
