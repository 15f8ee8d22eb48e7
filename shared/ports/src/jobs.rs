use async_trait::async_trait;
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobName, JobStatus, SubmitJob};

use crate::Result;

/// Which jobs [`Jobs::list`] gives. One of the three, as Batch takes it.
#[derive(Clone, Debug, PartialEq)]
pub enum JobFilter {
    /// Jobs of the queue with that name, in any state, newest first.
    Name {
        /// The queue.
        queue: String,
        /// The name.
        name: JobName,
    },
    /// Jobs of the queue in that state.
    Status {
        /// The queue.
        queue: String,
        /// The state.
        status: JobStatus,
    },
    /// Children of an array in that state.
    Children {
        /// The array.
        parent: JobId,
        /// The state.
        status: JobStatus,
    },
}

/// Jobs: AWS Batch, or the local one. Refusals ([`crate::ErrorKind::Invalid`]) are those of AWS,
/// at the limits of [`rowmill_domain::limits`].
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Registers a definition and gives its ARN. The same content under the same name gives the
    /// same ARN again.
    async fn register(&self, definition: &JobDefinition) -> Result<String>;
    /// ARNs of the active definitions whose names start so.
    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>>;
    /// Deregisters; nothing happens where there is none.
    async fn deregister(&self, arn: &str) -> Result<()>;
    /// Submits a job. Not idempotent: each call makes a job, and one that is answered with
    /// [`crate::ErrorKind::Unavailable`] may have made one.
    async fn submit(&self, job: &SubmitJob) -> Result<JobId>;
    /// What is known of these jobs, at most [`rowmill_domain::limits::DESCRIBE_JOBS_MAX`]
    /// (more: [`crate::ErrorKind::Invalid`]); unknown ones are left out.
    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>>;
    /// A page of jobs, at most 100, and what to hand to the next call as `after`.
    /// Details that DescribeJobs gives and ListJobs does not are absent.
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)>;
    /// Ends a job that is not terminal: running children get SIGTERM, then SIGKILL; it becomes
    /// FAILED with `reason`. Nothing happens to a terminal one.
    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()>;
    /// Ends a job that has not started (SUBMITTED, PENDING, RUNNABLE); one that has is left alone.
    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()>;
}
