//! Every environment variable, declared once. Only a `main.rs` reads the environment; it hands
//! the values on.

/// Batch: the child's index in its array. Absent in a plain job.
pub const AWS_BATCH_JOB_ARRAY_INDEX: &str = "AWS_BATCH_JOB_ARRAY_INDEX";
/// Batch: how many children the array has. Absent in a plain job.
pub const AWS_BATCH_JOB_ARRAY_SIZE: &str = "AWS_BATCH_JOB_ARRAY_SIZE";
/// Batch: the job's id (a child's is `<parent>:<index>`).
pub const AWS_BATCH_JOB_ID: &str = "AWS_BATCH_JOB_ID";
/// Batch: the attempt, from 1.
pub const AWS_BATCH_JOB_ATTEMPT: &str = "AWS_BATCH_JOB_ATTEMPT";
/// Batch: the queue's name.
pub const AWS_BATCH_JQ_NAME: &str = "AWS_BATCH_JQ_NAME";
/// Batch: the compute environment's name.
pub const AWS_BATCH_CE_NAME: &str = "AWS_BATCH_CE_NAME";

/// enrich: the run; set by submit on the job.
pub const ROWMILL_RUN: &str = "ROWMILL_RUN";
/// enrich: the chunk, from 0; set by submit on the job.
pub const ROWMILL_CHUNK: &str = "ROWMILL_CHUNK";
/// enrich: the stage, from 0; set by submit on the job.
pub const ROWMILL_STAGE: &str = "ROWMILL_STAGE";
/// All: the work bucket.
pub const ROWMILL_WORK_BUCKET: &str = "ROWMILL_WORK_BUCKET";
/// enrich, on one machine: the state directory that stands for AWS.
pub const ROWMILL_STATE: &str = "ROWMILL_STATE";
/// `rowmill run`: the relay that mail goes through, `smtps://user:password@host` or
/// `smtp://user:password@host:587`. Without it mail stays a file.
pub const ROWMILL_SMTP: &str = "ROWMILL_SMTP";

/// Exit codes of an enrich child, which `evaluateOnExit` tells apart.
pub mod child_exit {
    /// Every record of the slice has an outcome.
    pub const DONE: u8 = 0;
    /// The job is set up wrongly (no such run, chunk or stage; an unreadable manifest): trying
    /// again cannot help.
    pub const MISCONFIGURED: u8 = 2;
    /// The machine or a service failed: try again. Starts with a 1, as 137 (killed) and
    /// [`INTERRUPTED`] do, so that one of the five rules of a retry strategy covers all three.
    pub const UNAVAILABLE: u8 = 175;
    /// Ended by SIGTERM with all finished records stored: try again for the rest.
    pub const INTERRUPTED: u8 = 143;
}
