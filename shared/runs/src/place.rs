//! Submitting jobs so that each name has one job, whatever stops in between.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use rowmill_domain::job::{
    Dependency, JobDetail, JobId, JobName, PlannedJob, Resources, SubmitJob,
};
use rowmill_domain::{PipelineName, RunId, config};
use rowmill_ports::{ErrorKind, JobFilter, Jobs, PortError, Runs};

use crate::{pages, retry_throttled};

/// Attempts to submit a job if the answer is lost, the first included. Lambda retries the event as
/// well.
const SUBMIT_ATTEMPTS: u32 = 3;
/// The pause before looking for a job that Batch may have accepted just now.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// An error of a submission. Errors of ports are distinguished, because Batch may have accepted a job
/// whose answer was lost.
pub trait SubmissionError: From<PortError> {
    /// The error of the port, if it is one.
    fn port(&self) -> Option<&PortError>;
}

/// The submission of one job, which can be tried several times.
#[async_trait]
pub trait Submission: Send {
    /// Why it failed.
    type Error: SubmissionError + Send;
    /// Submits the job.
    async fn submit(&mut self) -> Result<JobId, Self::Error>;
}

impl SubmissionError for PortError {
    fn port(&self) -> Option<&PortError> {
        Some(self)
    }
}

/// What the request for a job of a run consists of, besides its place in the run.
#[derive(Clone, Copy, Debug)]
pub struct JobRequest<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Its pipeline.
    pub pipeline: &'a PipelineName,
    /// The queue, by name or ARN.
    pub queue: &'a str,
    /// The ARN of the definition.
    pub definition: &'a str,
    /// The size of the children, if it is not that of the definition.
    pub resources: Option<Resources>,
    /// The priority.
    pub priority: u32,
}

impl JobRequest<'_> {
    /// Returns the request for a job. `ids` has the id of the job that it depends on.
    pub fn of(&self, job: &PlannedJob, ids: &HashMap<JobName, JobId>) -> SubmitJob {
        let depends_on = job.after.as_ref().map(|(name, kind)| Dependency {
            job_id: ids.get(name).cloned(),
            kind: *kind,
        });
        let mut environment = BTreeMap::from([
            (config::ROWMILL_RUN.to_owned(), self.run.to_string()),
            (config::ROWMILL_CHUNK.to_owned(), job.chunk.to_string()),
            (config::ROWMILL_PHASE.to_owned(), job.phase.to_string()),
        ]);
        if job.name.is_second_round() {
            environment.insert(config::ROWMILL_ROUND.to_owned(), "2".to_owned());
        }
        SubmitJob {
            name: job.name.clone(),
            queue: self.queue.to_owned(),
            definition: self.definition.to_owned(),
            array_size: job.size,
            priority: self.priority,
            resources: self.resources,
            depends_on: depends_on.into_iter().collect(),
            environment,
            retry: None,
            timeout_seconds: None,
            tags: BTreeMap::from([
                ("rowmill:run".to_owned(), self.run.to_string()),
                ("rowmill:pipeline".to_owned(), self.pipeline.to_string()),
            ]),
        }
    }
}

/// Finds or submits the job of a run with this name, and records it. SubmitJob has no idempotency
/// token, so the name of a job is deterministic, its id is recorded as soon as it is known, and the
/// job is looked for before it is submitted if `resumed`, or if an answer was lost. If two invocations
/// submit it at the same time, one of the two jobs is terminated.
///
/// # Errors
/// The error of the submission, or of another call to a service.
pub async fn place_job<S: Submission>(
    (runs, jobs): (&dyn Runs, &dyn Jobs),
    run: &RunId,
    name: &JobName,
    queue: &str,
    resumed: bool,
    submission: &mut S,
) -> Result<JobId, S::Error> {
    let id = find_or_submit(jobs, name, queue, resumed, submission).await?;
    match runs.record_job(run, name, &id).await {
        Ok(()) => Ok(id),
        // Another invocation recorded a job first; that one is used.
        Err(error) if error.kind == ErrorKind::Conflict => {
            let recorded = runs.jobs(run).await?;
            let theirs = recorded.into_iter().find(|job| job.name == *name);
            let theirs = theirs.ok_or(error)?.id;
            if theirs != id {
                jobs.terminate(&id, "duplicate submission").await?;
            }
            Ok(theirs)
        }
        Err(error) => Err(error.into()),
    }
}

async fn find_or_submit<S: Submission>(
    jobs: &dyn Jobs,
    name: &JobName,
    queue: &str,
    resumed: bool,
    submission: &mut S,
) -> Result<JobId, S::Error> {
    let (mut look, mut attempts) = (resumed, 1);
    loop {
        if look && let Some(id) = find(jobs, name, queue).await? {
            return Ok(id);
        }
        match submission.submit().await {
            Err(error)
                if attempts < SUBMIT_ATTEMPTS
                    && error
                        .port()
                        .is_some_and(|e| e.kind == ErrorKind::Unavailable) =>
            {
                let error = error.port().map(ToString::to_string);
                tracing::warn!(job = %name, error, "no answer; looking for the job");
                tokio::time::sleep(LOOK_AFTER).await;
                (look, attempts) = (true, attempts + 1);
            }
            answer => return answer,
        }
    }
}

/// The job of that name in any state. If there are several, the one submitted first, so that all
/// invocations choose the same.
async fn find(jobs: &dyn Jobs, name: &JobName, queue: &str) -> Result<Option<JobId>, PortError> {
    let filter = JobFilter::Name {
        queue: queue.to_owned(),
        name: name.clone(),
    };
    let list = async |after: Option<String>| {
        retry_throttled(|| jobs.list(&filter, after.as_deref())).await
    };
    // Newest first.
    pages(list)
        .try_fold(None, async |oldest, page: Vec<JobDetail>| {
            let last = page.into_iter().next_back();
            Ok(last.map(|job| job.id).or(oldest))
        })
        .await
}
