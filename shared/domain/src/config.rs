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
/// enrich: the phase, from 0; set by submit on the job.
pub const ROWMILL_PHASE: &str = "ROWMILL_PHASE";
/// All: the work bucket.
pub const ROWMILL_WORK_BUCKET: &str = "ROWMILL_WORK_BUCKET";
/// All: the stack's name, which the names of tables, job definitions and schedules begin with.
pub const ROWMILL_STACK: &str = "ROWMILL_STACK";
/// All: what is logged, as a filter of the crate `tracing-subscriber` (`info`,
/// `rowmill_split=debug,warn`). Default: [`ROWMILL_LOG_DEFAULT`].
pub const ROWMILL_LOG: &str = "ROWMILL_LOG";
/// Where [`ROWMILL_LOG`] is absent.
pub const ROWMILL_LOG_DEFAULT: &str = "info";
/// split, submit, cleanup: the ARN of the topic that stages tell each other on.
pub const ROWMILL_TOPIC: &str = "ROWMILL_TOPIC";
/// submit, report, cleanup: the job queue, by name or ARN.
pub const ROWMILL_QUEUE: &str = "ROWMILL_QUEUE";
/// submit: the name of the function whose image jobs run, the enrich function's.
pub const ROWMILL_IMAGE_FUNCTION: &str = "ROWMILL_IMAGE_FUNCTION";
/// submit: the ARN of the role of the jobs' containers.
pub const ROWMILL_JOB_ROLE: &str = "ROWMILL_JOB_ROLE";
/// submit: the ARN of the role that starts the containers (pulls the image, writes logs).
pub const ROWMILL_EXECUTION_ROLE: &str = "ROWMILL_EXECUTION_ROLE";
/// submit: the log group of the jobs.
pub const ROWMILL_LOG_GROUP: &str = "ROWMILL_LOG_GROUP";
/// submit: the processors of the jobs: `arm64` or `x86_64`.
pub const ROWMILL_ARCHITECTURE: &str = "ROWMILL_ARCHITECTURE";
/// submit: what the queue runs jobs on: `fargate` or `ec2`.
pub const ROWMILL_CAPACITY: &str = "ROWMILL_CAPACITY";
/// submit: whether a container has a public address: `true` or `false`. It needs one
/// where the subnets have no NAT. Default: `false`.
pub const ROWMILL_ASSIGN_PUBLIC_IP: &str = "ROWMILL_ASSIGN_PUBLIC_IP";
/// report: whom mail is from: `rowmill@example.com` or `Rowmill <rowmill@example.com>`.
pub const ROWMILL_FROM: &str = "ROWMILL_FROM";
/// report: whom mail is to where neither the upload nor the pipeline names a recipient; with
/// commas between. Default: nobody, and then a pipeline must name one.
pub const ROWMILL_TO: &str = "ROWMILL_TO";
/// report: the domains that mail may go to, with commas between. Default: all.
pub const ROWMILL_ALLOWED_DOMAINS: &str = "ROWMILL_ALLOWED_DOMAINS";
/// report: the largest workbook that is attached to a mail and not linked, in bytes. Default:
/// [`crate::limits::ATTACH_DEFAULT`].
pub const ROWMILL_ATTACH_LIMIT: &str = "ROWMILL_ATTACH_LIMIT";
/// report: the SES configuration set that mail is sent with. Default: none.
pub const ROWMILL_CONFIGURATION_SET: &str = "ROWMILL_CONFIGURATION_SET";
/// report: the base URL of the API, which links in mail lead to. Default: none, and then a link
/// leads to the object itself and works only for as long as the credentials that signed it.
pub const ROWMILL_LINK_URL: &str = "ROWMILL_LINK_URL";
/// report, api: the ARN of the secret that signs links in mail.
pub const ROWMILL_LINK_KEY: &str = "ROWMILL_LINK_KEY";
/// split, cleanup: the group of the schedules.
pub const ROWMILL_SCHEDULE_GROUP: &str = "ROWMILL_SCHEDULE_GROUP";
/// split, cleanup: the ARN of the role that schedules publish with.
pub const ROWMILL_SCHEDULE_ROLE: &str = "ROWMILL_SCHEDULE_ROLE";
/// Lambda: the address of the runtime's API. Only in a function, so that it tells a function from
/// a Batch child.
pub const AWS_LAMBDA_RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Lambda: how the container was begun. AWS alone sets it, so where it is set nobody else uses the
/// directory for temporary files.
pub const AWS_LAMBDA_INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";
/// enrich, on one machine: the state directory that stands for AWS.
pub const ROWMILL_STATE: &str = "ROWMILL_STATE";
/// `rowmill run`: the relay that mail goes through, `smtps://user:password@host` or
/// `smtp://user:password@host:587`. Without it mail stays a file.
pub const ROWMILL_SMTP: &str = "ROWMILL_SMTP";

/// enrich: what starts the name of a variable that holds a secret's value; the secret's name
/// follows. Set by Batch from the job definition, locally by whoever starts `rowmill`.
pub const SECRET_PREFIX: &str = "ROWMILL_SECRET_";

/// submit, enrich: further buckets that programs may be fetched from, by name or ARN, with commas
/// between; submit tells its jobs, whose role must be allowed to read them. Default: only the work
/// bucket.
pub const ROWMILL_FETCH_BUCKETS: &str = "ROWMILL_FETCH_BUCKETS";
/// A program of a `command` step that was fetched: `script` or `zip`. Set for it, by the name that
/// AWS's "fetch and run" gave it.
pub const BATCH_FILE_TYPE: &str = "BATCH_FILE_TYPE";
/// The same program's address, as in the pipeline.
pub const BATCH_FILE_S3_URL: &str = "BATCH_FILE_S3_URL";

/// A mark of its own for each program of a `command` step, set for it. What it starts inherits
/// the mark, and is found by it when the program has ended.
pub const ROWMILL_PROGRAM: &str = "ROWMILL_PROGRAM";

/// Exit codes of an enrich child, which `evaluateOnExit` tells apart.
pub mod child_exit {
    /// Every record of the slice has an outcome.
    pub const DONE: u8 = 0;
    /// A program could not be fetched: try again. Starts with a 1, as AWS's "fetch and run" gives
    /// for a failed download and as the rule for [`UNAVAILABLE`] wants it.
    pub const NOT_FETCHED: u8 = 1;
    /// The job is set up wrongly (no such run, chunk or phase; an unreadable manifest): trying
    /// again cannot help.
    pub const MISCONFIGURED: u8 = 2;
    /// The machine or a service failed: try again. Starts with a 1, as 137 (killed) and
    /// [`INTERRUPTED`] do, so that one rule of a retry strategy covers all three.
    pub const UNAVAILABLE: u8 = 175;
    /// Ended by SIGTERM with all finished records stored: try again for the rest.
    pub const INTERRUPTED: u8 = 143;
}
