use async_trait::async_trait;
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, JobName, JobStatus, SubmitJob};

use crate::Result;

/// Which jobs [`Jobs::list`] returns. Batch takes exactly one of the three.
#[derive(Clone, Debug, PartialEq)]
pub enum JobFilter {
    /// Jobs of the queue with this name, in any state, newest first.
    Name {
        /// The queue.
        queue: String,
        /// The name.
        name: JobName,
    },
    /// Jobs of the queue in this state. Children are not included.
    Status {
        /// The queue.
        queue: String,
        /// The state.
        status: JobStatus,
    },
    /// Children of an array job in this state.
    Children {
        /// The array.
        parent: JobId,
        /// The state.
        status: JobStatus,
    },
}

/// Container jobs: AWS Batch, or the local Batch.
///
/// Both reject what AWS Batch rejects ([`Invalid`](crate::ErrorKind::Invalid)), at the limits in
/// [`rowmill_domain::limits`].
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Registers a definition and returns its ARN. The same content under the same name always
    /// returns the same ARN.
    async fn register(&self, definition: &JobDefinition) -> Result<String>;
    /// Returns the ARNs of the active definitions whose names start with `name_prefix`.
    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>>;
    /// Deregisters a definition. Does nothing if it does not exist.
    async fn deregister(&self, arn: &str) -> Result<()>;
    /// Submits a job. Not idempotent: every call creates a job, and a call that fails with
    /// [`Unavailable`](crate::ErrorKind::Unavailable) may have created one.
    async fn submit(&self, job: &SubmitJob) -> Result<JobId>;
    /// Returns the details of jobs, in any order. Unknown jobs are left out. An array's parent has the
    /// number of its children in each state.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for more than
    /// [`DESCRIBE_JOBS_MAX`](rowmill_domain::limits::DESCRIBE_JOBS_MAX) ids.
    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>>;
    /// Returns up to 100 jobs, and the `after` of the next page, which is `None` at the end. A page
    /// can be empty without being the last. Details that only DescribeJobs has are absent.
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)>;
    /// Ends a job: running children get SIGTERM, then SIGKILL, and the job becomes FAILED with
    /// `reason`. Does nothing if the job has ended.
    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()>;
    /// Ends a job that is SUBMITTED, PENDING or RUNNABLE. Does nothing if it has started.
    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()>;
}
