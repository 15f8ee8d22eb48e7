//! Every environment variable, declared once. Only a `main.rs` reads the environment and passes the
//! values on. A docstring starts with the stages that read the variable, which CI checks against the
//! template.

/// Batch: the child's index in its array. Absent in a plain job.
pub const AWS_BATCH_JOB_ARRAY_INDEX: &str = "AWS_BATCH_JOB_ARRAY_INDEX";
/// Batch: the number of children in the array. Absent in a plain job.
pub const AWS_BATCH_JOB_ARRAY_SIZE: &str = "AWS_BATCH_JOB_ARRAY_SIZE";
/// Batch: the id of the job. For a child it is `<parent>:<index>`.
pub const AWS_BATCH_JOB_ID: &str = "AWS_BATCH_JOB_ID";
/// Batch: the attempt, from 1.
pub const AWS_BATCH_JOB_ATTEMPT: &str = "AWS_BATCH_JOB_ATTEMPT";
/// Batch: the name of the queue.
pub const AWS_BATCH_JQ_NAME: &str = "AWS_BATCH_JQ_NAME";
/// Batch: the name of the compute environment.
pub const AWS_BATCH_CE_NAME: &str = "AWS_BATCH_CE_NAME";

/// enrich: the run; set by submit on the job.
pub const ROWMILL_RUN: &str = "ROWMILL_RUN";
/// enrich: the chunk, from 0; set by submit on the job.
pub const ROWMILL_CHUNK: &str = "ROWMILL_CHUNK";
/// enrich: the phase, from 0; set by submit on the job.
pub const ROWMILL_PHASE: &str = "ROWMILL_PHASE";
/// enrich: `2` in the second round of a run; set by report on the job.
pub const ROWMILL_ROUND: &str = "ROWMILL_ROUND";
/// All: the work bucket.
pub const ROWMILL_WORK_BUCKET: &str = "ROWMILL_WORK_BUCKET";
/// All: the name of the stack, the prefix of tables, job definitions and schedules.
pub const ROWMILL_STACK: &str = "ROWMILL_STACK";
/// All: the log filter, in the syntax of the crate `tracing-subscriber` (`info`,
/// `rowmill_split=debug,warn`). Default: [`ROWMILL_LOG_DEFAULT`].
pub const ROWMILL_LOG: &str = "ROWMILL_LOG";
/// The default of [`ROWMILL_LOG`].
pub const ROWMILL_LOG_DEFAULT: &str = "info";
/// split, submit, cleanup, api: the ARN of the topic for messages between stages.
pub const ROWMILL_TOPIC: &str = "ROWMILL_TOPIC";
/// submit, report, cleanup: the job queue, by name or ARN.
pub const ROWMILL_QUEUE: &str = "ROWMILL_QUEUE";
/// submit, api: the name of the enrich function, whose image the jobs run, and which previews.
pub const ROWMILL_IMAGE_FUNCTION: &str = "ROWMILL_IMAGE_FUNCTION";
/// submit: the ARN of the role of the jobs' containers.
pub const ROWMILL_JOB_ROLE: &str = "ROWMILL_JOB_ROLE";
/// submit: the ARN of the role that starts the containers (pulls the image, writes logs).
pub const ROWMILL_EXECUTION_ROLE: &str = "ROWMILL_EXECUTION_ROLE";
/// submit: the log group of the jobs.
pub const ROWMILL_LOG_GROUP: &str = "ROWMILL_LOG_GROUP";
/// split: the most vCPUs that the jobs use at the same time, for the plan of a run.
pub const ROWMILL_MAX_VCPUS: &str = "ROWMILL_MAX_VCPUS";
/// split, submit: the processor architecture of the jobs: `arm64` or `x86_64`.
pub const ROWMILL_ARCHITECTURE: &str = "ROWMILL_ARCHITECTURE";
/// submit, report: the compute of the queue: `fargate` or `ec2`.
pub const ROWMILL_CAPACITY: &str = "ROWMILL_CAPACITY";
/// submit: whether containers get a public address: `true` or `false`. They need one if the subnets
/// have no NAT. Default: `false`.
pub const ROWMILL_ASSIGN_PUBLIC_IP: &str = "ROWMILL_ASSIGN_PUBLIC_IP";
/// report: the sender of mail: `rowmill@example.com` or `Rowmill <rowmill@example.com>`.
pub const ROWMILL_FROM: &str = "ROWMILL_FROM";
/// split, report: the default recipients, separated by commas, if neither the upload nor the pipeline names
/// any. Default: none, so every pipeline must name one. The first is the submitter of uploads that name
/// none.
pub const ROWMILL_TO: &str = "ROWMILL_TO";
/// report: the domains that email can be sent to, separated by commas. Default: all.
pub const ROWMILL_ALLOWED_DOMAINS: &str = "ROWMILL_ALLOWED_DOMAINS";
/// report: the largest workbook, in bytes, that is attached to the email instead of linked. Default:
/// [`crate::limits::ATTACH_DEFAULT`].
pub const ROWMILL_ATTACH_LIMIT: &str = "ROWMILL_ATTACH_LIMIT";
/// report: the SES configuration set for sending mail. Default: none.
pub const ROWMILL_CONFIGURATION_SET: &str = "ROWMILL_CONFIGURATION_SET";
/// report: the base URL of the API, for links in mail. Default: none; links then point to the object
/// itself and expire with the credentials that sign them.
pub const ROWMILL_LINK_URL: &str = "ROWMILL_LINK_URL";
/// report, api: the ARN of the secret that signs links in mail.
pub const ROWMILL_LINK_KEY: &str = "ROWMILL_LINK_KEY";
/// api, cleanup: the inbox bucket.
pub const ROWMILL_INBOX_BUCKET: &str = "ROWMILL_INBOX_BUCKET";
/// api: the claim of a token with the role of a person.
pub const ROWMILL_ROLE_CLAIM: &str = "ROWMILL_ROLE_CLAIM";
/// api: the claim of a token with the email address of a person.
pub const ROWMILL_NAME_CLAIM: &str = "ROWMILL_NAME_CLAIM";
/// api: the issuer of the tokens, with which the page signs people in.
pub const ROWMILL_ISSUER: &str = "ROWMILL_ISSUER";
/// api: the id of the page as a client of the issuer.
pub const ROWMILL_CLIENT: &str = "ROWMILL_CLIENT";
/// api: the sites that the page calls to sign people in, separated by commas.
pub const ROWMILL_SIGN_IN_SITES: &str = "ROWMILL_SIGN_IN_SITES";
/// cleanup, api: the SES identity that covers the sender of mail: an address or a domain.
pub const ROWMILL_IDENTITY: &str = "ROWMILL_IDENTITY";
/// split: the ARN of the KMS key for the tables of runs. Default: DynamoDB's own key.
pub const ROWMILL_TABLE_KEY: &str = "ROWMILL_TABLE_KEY";
/// split, cleanup: the schedule group.
pub const ROWMILL_SCHEDULE_GROUP: &str = "ROWMILL_SCHEDULE_GROUP";
/// split, cleanup: the ARN of the role with which schedules publish.
pub const ROWMILL_SCHEDULE_ROLE: &str = "ROWMILL_SCHEDULE_ROLE";
/// Lambda: the name of the function.
pub const AWS_LAMBDA_FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";
/// Lambda: the address of the runtime API. It is set only in a function, which distinguishes a
/// function from a Batch child.
pub const AWS_LAMBDA_RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Lambda: how the container was started. Only AWS sets it, so if it is set, no other process uses the
/// directory for temporary files.
pub const AWS_LAMBDA_INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";
/// enrich, on one machine: the state directory that replaces AWS.
pub const ROWMILL_STATE: &str = "ROWMILL_STATE";
/// `rowmill run`: the SMTP relay for mail, `smtps://user:password@host` or
/// `smtp://user:password@host:587`. Without it, mail is written to a file.
pub const ROWMILL_SMTP: &str = "ROWMILL_SMTP";

/// `rowmill cancel`: the name of the user, who is named as the reason.
pub const USER: &str = "USER";

/// enrich: the prefix of variables that hold the values of secrets; the name of the secret follows.
/// Batch sets them from the job definition. On one machine, the user sets them.
pub const SECRET_PREFIX: &str = "ROWMILL_SECRET_";

/// submit, enrich: additional buckets from which programs can be fetched, by name or ARN, separated by
/// commas. submit passes them to its jobs, whose role needs permission to read them. Default: only
/// the work bucket.
pub const ROWMILL_FETCH_BUCKETS: &str = "ROWMILL_FETCH_BUCKETS";
/// Set for a fetched program of a `command` step: `script` or `zip`. The name is that of AWS's "fetch
/// and run".
pub const BATCH_FILE_TYPE: &str = "BATCH_FILE_TYPE";
/// Set for a fetched program of a `command` step: its address in the pipeline.
pub const BATCH_FILE_S3_URL: &str = "BATCH_FILE_S3_URL";

/// Set for each program of a `command` step, with a unique value. Processes that the program starts
/// inherit it, which identifies them when the program has exited.
pub const ROWMILL_PROGRAM: &str = "ROWMILL_PROGRAM";

/// Exit codes of an enrich child, which `evaluateOnExit` distinguishes.
pub mod child_exit {
    /// Every record of the slice has an outcome.
    pub const DONE: u8 = 0;
    /// A program could not be fetched: retry. AWS's "fetch and run" exits with the same code after a
    /// failed download. It starts with a 1, like [`UNAVAILABLE`].
    pub const NOT_FETCHED: u8 = 1;
    /// The job is misconfigured (unknown run, chunk or phase, or an unreadable manifest): a retry
    /// cannot help.
    pub const MISCONFIGURED: u8 = 2;
    /// The machine or a service failed: retry. Like 137 (killed) and [`INTERRUPTED`] it starts with
    /// a 1, so that one rule of a retry strategy covers all three.
    pub const UNAVAILABLE: u8 = 175;
    /// Interrupted by SIGTERM with all finished records stored: retry for the rest.
    pub const INTERRUPTED: u8 = 143;
}
