//! Limits of AWS and Excel, each with its source. The adapters on one machine enforce the same numbers,
//! so that a local run fails where a run on AWS would.

use std::time::Duration;

/// The smallest array job. Source: AWS Batch user guide, "Array jobs".
pub const ARRAY_MIN: u32 = 2;
/// The largest array job. Source: AWS Batch user guide, "Array jobs" and "Service quotas".
pub const ARRAY_MAX: u32 = 10_000;
/// Maximum number of dependencies of a job. Source: AWS Batch API, SubmitJob.
pub const DEPENDS_ON_MAX: usize = 20;
/// Maximum size of a SubmitJob request, in bytes. Source: AWS Batch "Service quotas" (30 KiB).
pub const SUBMIT_PAYLOAD_MAX: usize = 30 * 1024;
/// Maximum number of characters in the container overrides of a job. Source: ECS RunTask, `overrides` (8,192).
pub const OVERRIDES_MAX: usize = 8192;
/// Maximum SubmitJob calls per second. Source: AWS Batch "Service quotas".
pub const SUBMIT_PER_SECOND: u32 = 50;
/// Maximum number of attempts of a job. Source: AWS Batch API, RetryStrategy (1 to 10).
pub const ATTEMPTS_MAX: u32 = 10;
/// Maximum number of `evaluateOnExit` rules. Source: AWS Batch API, RetryStrategy.
pub const EVALUATE_ON_EXIT_MAX: usize = 5;
/// Maximum length of a pattern in an `evaluateOnExit` rule. Source: AWS Batch API, EvaluateOnExit.
pub const EVALUATE_ON_EXIT_PATTERN_MAX: usize = 512;
/// The shortest time limit for an attempt, in seconds. Source: AWS Batch API, JobTimeout.
pub const ATTEMPT_SECONDS_MIN: u32 = 60;
/// Maximum length of the name of a job or job definition. Source: AWS Batch API, SubmitJob.
pub const JOB_NAME_MAX: usize = 128;
/// The highest priority of a job. Source: AWS Batch API, SubmitJob, `schedulingPriorityOverride` (0 to
/// 9999).
pub const PRIORITY_MAX: u32 = 9999;
/// Maximum number of tags of a job. Source: AWS Batch user guide, "Tag your AWS Batch resources".
pub const TAGS_MAX: usize = 50;
/// Maximum length of the key of a tag, in characters. Source: AWS Batch API, SubmitJob.
pub const TAG_KEY_MAX: usize = 128;
/// Maximum length of the value of a tag, in characters. Source: AWS Batch API, SubmitJob.
pub const TAG_VALUE_MAX: usize = 256;
/// Maximum number of job ids in one DescribeJobs request. Source: AWS Batch API, DescribeJobs.
pub const DESCRIBE_JOBS_MAX: usize = 100;
/// The sizes that Fargate offers: vCPUs, and the memory that it offers with them. Source: AWS Batch API,
/// ResourceRequirement, "VCPU" and "MEMORY"; CI compares this table with that text.
pub const FARGATE_SIZES: [(f64, FargateMemory); 8] = [
    (0.25, FargateMemory::OneOf(&[512, 1024, 2048])),
    (0.5, FargateMemory::steps(1024, 4096, 1024)),
    (1.0, FargateMemory::steps(2048, 8192, 1024)),
    (2.0, FargateMemory::steps(4096, 16_384, 1024)),
    (4.0, FargateMemory::steps(8192, 30_720, 1024)),
    (8.0, FargateMemory::steps(16_384, 61_440, 4096)),
    (16.0, FargateMemory::steps(32_768, 122_880, 8192)),
    (32.0, FargateMemory::OneOf(&[61_440, 122_880, 249_856])),
];

/// The memory sizes that Fargate offers with a number of vCPUs, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FargateMemory {
    /// Only these.
    OneOf(&'static [u32]),
    /// From the first to the last, in steps.
    Steps {
        /// The smallest.
        least: u32,
        /// The largest.
        most: u32,
        /// The difference between two sizes.
        step: u32,
    },
}

impl FargateMemory {
    const fn steps(least: u32, most: u32, step: u32) -> FargateMemory {
        FargateMemory::Steps { least, most, step }
    }

    /// The smallest memory that Fargate offers and that is at least `mib`.
    pub fn at_least(self, mib: u32) -> Option<u32> {
        match self {
            FargateMemory::OneOf(sizes) => sizes.iter().copied().find(|size| *size >= mib),
            FargateMemory::Steps { least, most, step } => {
                let steps = mib.saturating_sub(least).div_ceil(step);
                Some(least + steps * step).filter(|size| *size <= most)
            }
        }
    }

    /// Whether Fargate offers this memory.
    pub fn contains(self, mib: u32) -> bool {
        match self {
            FargateMemory::OneOf(sizes) => sizes.contains(&mib),
            FargateMemory::Steps { least, most, step } => {
                (least..=most).contains(&mib) && (mib - least).is_multiple_of(step)
            }
        }
    }
}

impl std::fmt::Display for FargateMemory {
    /// `512, 1024 or 2048 MiB`, or `1024 to 4096 MiB, in steps of 1024`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FargateMemory::OneOf(sizes) => {
                for (n, size) in sizes.iter().enumerate() {
                    let before = match n {
                        0 => "",
                        n if n + 1 == sizes.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}{size}")?;
                }
                f.write_str(" MiB")
            }
            FargateMemory::Steps { least, most, step } => {
                write!(f, "{least} to {most} MiB, in steps of {step}")
            }
        }
    }
}

/// The memory with these vCPUs, if Fargate offers that many.
pub fn fargate_memory(vcpu: f64) -> Option<FargateMemory> {
    let size = FARGATE_SIZES.iter().find(|(offered, _)| *offered == vcpu);
    size.map(|(_, memory)| *memory)
}

/// Ephemeral storage of a task on Fargate that is included in its price, in GiB. Source: AWS Batch API,
/// EphemeralStorage, and aws.amazon.com/fargate/pricing.
pub const FARGATE_STORAGE_INCLUDED_GIB: u32 = 20;
/// The most ephemeral storage of a task on Fargate, in GiB. Source: AWS Batch API, EphemeralStorage (21 to
/// 200).
pub const FARGATE_STORAGE_MAX_GIB: u32 = 200;

/// The shortest time that a task on Fargate is billed for, in seconds. Source:
/// aws.amazon.com/fargate/pricing.
pub const BILLED_SECONDS_MIN: f64 = 60.0;
/// Records that must be done before a share of failed ones stops a run (`[batch] stop_after`). Of fewer, the
/// share says little: with 100, a run in which 5% fail has 20% among them less than once in a million
/// runs.
pub const STOP_AFTER_SAMPLE: u64 = 100;
/// The least memory of a job on EC2, in MiB. Source: AWS Batch API, ResourceRequirement, "MEMORY".
pub const EC2_MEMORY_MIN: u32 = 4;
/// Fargate tasks that an account can launch at once. Source: ECS developer guide, "AWS Fargate throttling
/// quotas"; Spot and On-Demand have the same, each.
pub const FARGATE_LAUNCH_BURST: u32 = 100;
/// Further launches per second. Source: as [`FARGATE_LAUNCH_BURST`].
pub const FARGATE_LAUNCHES_PER_SECOND: u32 = 20;
/// Seconds between SIGTERM and SIGKILL. Source: ECS agent, `stopTimeout` default.
pub const STOP_TIMEOUT_SECONDS: u32 = 30;
/// Seconds that a child takes after SIGTERM to store finished records, within
/// [`STOP_TIMEOUT_SECONDS`].
pub const DRAIN_SECONDS: u32 = 25;

/// Maximum number of records in a chunk, so that an array with one record per child is possible.
pub const CHUNK_RECORDS: u32 = 10_000;
/// Maximum size of a chunk, in bytes, unless it has a single record. A child and report hold a chunk in
/// memory, and the smallest child has 512 MiB ([`FARGATE_SIZES`]).
pub const CHUNK_BYTES: u64 = 16 * 1024 * 1024;

/// Maximum length of an object key, in UTF-8 bytes. Source: S3 user guide, "Naming Amazon S3 objects".
pub const OBJECT_KEY_MAX: usize = 1024;
/// Maximum size of the user metadata of an object, names and values, in bytes. Source: S3 user guide, "Working
/// with object metadata" (2 KB).
pub const OBJECT_METADATA_MAX: usize = 2048;
/// Maximum number of keys in one DeleteObjects request. Source: S3 API.
pub const DELETE_OBJECTS_MAX: usize = 1000;
/// Maximum size of an object that is copied in one request, in bytes. Source: S3 API, CopyObject (5 GB).
pub const COPY_MAX: u64 = 5 << 30;
/// Maximum number of parts of an upload. Source: S3 user guide, "Amazon S3 multipart upload limits".
pub const UPLOAD_PARTS_MAX: u64 = 10_000;

/// Maximum size of an email including base64, in bytes. Source: SES v2 quotas (40 MB).
pub const MAIL_MAX: usize = 40 * 1024 * 1024;
/// The default size in bytes above which the workbook is linked instead of attached. Many mailboxes
/// refuse larger emails.
pub const ATTACH_DEFAULT: u64 = 7 * 1024 * 1024;
/// Maximum number of recipients of an email. Source: SES v2 quotas.
pub const RECIPIENTS_MAX: usize = 50;

/// Maximum number of items in a BatchWriteItem request. Source: DynamoDB API.
pub const BATCH_WRITE_ITEMS: usize = 25;
/// Maximum size of a BatchWriteItem request, in bytes. Source: DynamoDB API (16 MB).
pub const BATCH_WRITE_BYTES: usize = 16 * 1024 * 1024;
/// Maximum size of an item, in bytes. Source: DynamoDB "Limits" (400 KB).
pub const ITEM_BYTES: usize = 400 * 1024;
/// Maximum size of an outcome as JSON, in bytes. The rest of [`ITEM_BYTES`] is for the key and the names
/// of attributes.
pub const OUTCOME_BYTES: usize = ITEM_BYTES - 4 * 1024;
/// Outcomes are read in pages of about this size, in bytes of JSON. Source: DynamoDB API, Query (1 MB).
pub const OUTCOMES_PAGE_BYTES: usize = 1024 * 1024;
/// Writes per second that a new on-demand table accepts immediately and without charge. Source: DynamoDB
/// developer guide, "On-demand capacity mode" and "DynamoDB warm throughput".
pub const NEW_TABLE_WRITES: u32 = 4000;
/// Maximum writes per second of an on-demand table, unless the quota of the account was raised.
/// Source: DynamoDB "Service quotas", per-table.
pub const TABLE_WRITES_MAX: u32 = 40_000;

/// Maximum size of an SNS message in bytes, including names, types and values of its attributes. Source: SNS API,
/// Publish and MessageAttributeValue (256 KB).
pub const TOPIC_MESSAGE_MAX: usize = 256 * 1024;
/// Maximum size of a synchronous Lambda response, in bytes. Source: Lambda quotas (6 MB).
pub const LAMBDA_RESPONSE_MAX: usize = 6 * 1024 * 1024;
/// Maximum number of rows in a preview by a Lambda function. More rows need a run.
pub const PREVIEW_ROWS: usize = 20;
/// Maximum running time of a Lambda function, in seconds. Source: Lambda quotas (15 minutes).
pub const LAMBDA_SECONDS_MAX: u32 = 900;
/// How long an invocation holds a claim on a piece of a run's work: its maximum running time.
pub const CLAIM_LEASE: Duration = Duration::from_secs(LAMBDA_SECONDS_MAX as u64);
/// How long the ledger of a deployment keeps a run after its temporary data was removed: 13 months, so
/// that a run can be compared with that of a year ago. Much longer than a dead letter is kept, which
/// would start an unknown run again.
pub const RUN_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// Maximum length of an email address, in bytes. Source: RFC 5321, 4.5.3.1.3, without the angle brackets.
pub const ADDRESS_MAX: usize = 254;
/// How long the id of a billing event is kept, so that a repeated one changes nothing. Repetitions of a
/// signed request are refused after five minutes.
pub const BILLING_EVENT_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Retries of an asynchronous invocation. Source: Lambda developer guide, "How
/// Lambda handles errors and retries with asynchronous invocation".
pub const INVOCATION_RETRIES: u32 = 2;
/// Maximum length of the name of a schedule. Source: EventBridge Scheduler API.
pub const SCHEDULE_NAME_MAX: usize = 64;
/// Maximum length of the name of a pipeline, so that names of schedules, which contain the run id, fit
/// into [`SCHEDULE_NAME_MAX`].
pub const PIPELINE_NAME_MAX: usize = 32;
/// Maximum number of retries of a run, so that the ids of retries fit into [`SCHEDULE_NAME_MAX`], too.
pub const RETRIES_MAX: u16 = 9999;

/// The regions that have Amazon Translate and Amazon Comprehend, which detects the language for it. CI
/// compares them with the endpoints of the AWS SDK for Python.
pub const AMAZON_TRANSLATE_REGIONS: [&str; 12] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "us-east-1",
    "us-east-2",
    "us-west-2",
];
/// Maximum length of a text in a TranslateText request, in UTF-8 bytes. Source: Amazon Translate API,
/// TranslateText.
pub const TRANSLATE_TEXT_BYTES: usize = 10_000;

/// Maximum length of the text of a cell, in UTF-16 code units. Source: Excel "Specifications and limits".
pub const CELL_TEXT_MAX: usize = 32_767;
/// Maximum number of rows in a sheet. Source: Excel "Specifications and limits".
pub const SHEET_ROWS: u32 = 1_048_576;
/// Maximum number of columns in a sheet. Source: Excel "Specifications and limits".
pub const SHEET_COLUMNS: u32 = 16_384;
/// Maximum number of links in a sheet. Source: Excel "Specifications and limits".
pub const SHEET_LINKS: u32 = 65_530;
