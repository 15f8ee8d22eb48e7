//! Every limit of AWS and of Excel that the project meets, each with its source. The adapters on
//! one machine enforce the same numbers, so that a local run meets them too.

use std::time::Duration;

/// Smallest array job. Source: AWS Batch user guide, "Array jobs".
pub const ARRAY_MIN: u32 = 2;
/// Largest array job. Source: AWS Batch user guide, "Array jobs" and "Service quotas".
pub const ARRAY_MAX: u32 = 10_000;
/// Most `dependsOn` of a job. Source: AWS Batch API, SubmitJob.
pub const DEPENDS_ON_MAX: usize = 20;
/// Largest SubmitJob payload, in bytes. Source: AWS Batch "Service quotas" (30 KiB).
pub const SUBMIT_PAYLOAD_MAX: usize = 30 * 1024;
/// Most characters in a job's container overrides. Source: ECS RunTask, `overrides` (8,192).
pub const OVERRIDES_MAX: usize = 8192;
/// SubmitJob calls a second. Source: AWS Batch "Service quotas".
pub const SUBMIT_PER_SECOND: u32 = 50;
/// Most attempts of a job. Source: AWS Batch API, RetryStrategy (1 to 10).
pub const ATTEMPTS_MAX: u32 = 10;
/// Most `evaluateOnExit` rules. Source: AWS Batch API, RetryStrategy.
pub const EVALUATE_ON_EXIT_MAX: usize = 5;
/// Longest glob of an `evaluateOnExit` rule. Source: AWS Batch API, EvaluateOnExit.
pub const EVALUATE_ON_EXIT_PATTERN_MAX: usize = 512;
/// Shortest time limit of an attempt, in seconds. Source: AWS Batch API, JobTimeout.
pub const ATTEMPT_SECONDS_MIN: u32 = 60;
/// Longest job or job definition name. Source: AWS Batch API, SubmitJob.
pub const JOB_NAME_MAX: usize = 128;
/// Most tags of a job. Source: AWS Batch user guide, "Tag your AWS Batch resources".
pub const TAGS_MAX: usize = 50;
/// Longest key of a tag, in characters. Source: AWS Batch API, SubmitJob.
pub const TAG_KEY_MAX: usize = 128;
/// Longest value of a tag, in characters. Source: AWS Batch API, SubmitJob.
pub const TAG_VALUE_MAX: usize = 256;
/// Most job ids in one DescribeJobs. Source: AWS Batch API, DescribeJobs.
pub const DESCRIBE_JOBS_MAX: usize = 100;
/// What Fargate offers: vCPUs, then least, most and step of the memory in MiB. Source: AWS Batch API,
/// ResourceRequirement, "MEMORY".
pub const FARGATE_SIZES: [(f64, u32, u32, u32); 7] = [
    (0.25, 512, 2048, 512),
    (0.5, 1024, 4096, 1024),
    (1.0, 2048, 8192, 1024),
    (2.0, 4096, 16_384, 1024),
    (4.0, 8192, 30_720, 1024),
    (8.0, 16_384, 61_440, 4096),
    (16.0, 32_768, 122_880, 8192),
];
/// Seconds between SIGTERM and SIGKILL. Source: ECS agent, `stopTimeout` default.
pub const STOP_TIMEOUT_SECONDS: u32 = 30;
/// Seconds a child gives itself after SIGTERM to store what it finished, within
/// [`STOP_TIMEOUT_SECONDS`].
pub const DRAIN_SECONDS: u32 = 25;

/// Most records in a chunk: with one record a child at the most, an array fits.
pub const CHUNK_RECORDS: u32 = 10_000;

/// Longest key of an object, in UTF-8 bytes. Source: S3 user guide, "Naming Amazon S3 objects".
pub const OBJECT_KEY_MAX: usize = 1024;
/// Most user metadata of an object, names and values, in bytes. Source: S3 user guide, "Working
/// with object metadata" (2 KB).
pub const OBJECT_METADATA_MAX: usize = 2048;
/// Most keys of one DeleteObjects. Source: S3 API.
pub const DELETE_OBJECTS_MAX: usize = 1000;
/// Most parts of an upload. Source: S3 user guide, "Amazon S3 multipart upload limits".
pub const UPLOAD_PARTS_MAX: u64 = 10_000;

/// Largest raw mail, in bytes, after base64. Source: SES v2 quotas (40 MB).
pub const MAIL_MAX: usize = 40 * 1024 * 1024;
/// Above this, in bytes, the workbook is linked and not attached: many mailboxes refuse more.
pub const ATTACH_DEFAULT: u64 = 7 * 1024 * 1024;
/// Most recipients of one mail. Source: SES v2 quotas.
pub const RECIPIENTS_MAX: usize = 50;

/// Most items of a BatchWriteItem. Source: DynamoDB API.
pub const BATCH_WRITE_ITEMS: usize = 25;
/// Largest BatchWriteItem, in bytes. Source: DynamoDB API (16 MB).
pub const BATCH_WRITE_BYTES: usize = 16 * 1024 * 1024;
/// Largest item, in bytes. Source: DynamoDB "Limits" (400 KB).
pub const ITEM_BYTES: usize = 400 * 1024;
/// Largest outcome as JSON, in bytes: the rest of [`ITEM_BYTES`] is for the item's key and names.
pub const OUTCOME_BYTES: usize = ITEM_BYTES - 4 * 1024;
/// Writes a second that a new table on demand takes at once. Source: DynamoDB developer guide,
/// "On-demand capacity mode".
pub const NEW_TABLE_WRITES: u32 = 4000;
/// Writes a second that a table on demand takes at most, unless the account's quota was raised.
/// Source: DynamoDB "Service quotas", per-table.
pub const TABLE_WRITES_MAX: u32 = 40_000;

/// Largest SNS message, in bytes, with names, types and values of its attributes. Source: SNS API,
/// Publish and MessageAttributeValue (256 KB).
pub const TOPIC_MESSAGE_MAX: usize = 256 * 1024;
/// Largest synchronous Lambda response, in bytes. Source: Lambda quotas (6 MB).
pub const LAMBDA_RESPONSE_MAX: usize = 6 * 1024 * 1024;
/// Most rows of a preview by a Lambda function: it is for looking, and is not paid by the record.
pub const PREVIEW_ROWS: usize = 20;
/// Longest run of a Lambda function, in seconds. Source: Lambda quotas (15 minutes).
pub const LAMBDA_SECONDS_MAX: u32 = 900;
/// How long an invocation holds a claim on a piece of a run's work: as long as it may run.
pub const CLAIM_LEASE: Duration = Duration::from_secs(LAMBDA_SECONDS_MAX as u64);
/// Tries of an asynchronous invocation after the first one. Source: Lambda developer guide, "How
/// Lambda handles errors and retries with asynchronous invocation".
pub const INVOCATION_RETRIES: u32 = 2;
/// Longest EventBridge Scheduler name. Source: EventBridge Scheduler API.
pub const SCHEDULE_NAME_MAX: usize = 64;
/// Longest pipeline name: with the stack's and the run's parts, schedule names must fit
/// [`SCHEDULE_NAME_MAX`].
pub const PIPELINE_NAME_MAX: usize = 32;

/// Longest text of one TranslateText, in bytes of UTF-8. Source: Amazon Translate API,
/// TranslateText.
pub const TRANSLATE_TEXT_BYTES: usize = 10_000;

/// Longest text of a cell, in UTF-16 code units. Source: Excel "Specifications and limits".
pub const CELL_TEXT_MAX: usize = 32_767;
/// Rows of a sheet. Source: Excel "Specifications and limits".
pub const SHEET_ROWS: u32 = 1_048_576;
/// Columns of a sheet. Source: Excel "Specifications and limits".
pub const SHEET_COLUMNS: u32 = 16_384;
/// Links of a sheet. Source: Excel "Specifications and limits".
pub const SHEET_LINKS: u32 = 65_530;
