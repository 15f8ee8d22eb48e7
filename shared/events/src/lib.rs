//! The events that start the stages, in the formats of S3, SNS, EventBridge, SES and Lambda. They
//! are parsed into the types of the domain, and written for the local adapters, which send the same
//! formats as AWS.
//!
//! | module | event | stage |
//! |---|---|---|
//! | `s3` | an upload, directly from S3 or through SNS | split |
//! | `sns` | a message of the topic | all |
//! | `batch` | a job changed its state (EventBridge) | report |
//! | `bounce` | an email bounced (SES through SNS) | report |
//! | `cleanup` | report finished (Lambda destination), or a sweep is due | cleanup |
//!
//! `split`, `report`, `cleanup` and `retention` combine everything that starts their stage. `events/` contains a real
//! payload of each format, with the expected result next to it.
//!
//! The terms are defined in `docs/glossary.md`.

mod batch;
mod bounce;
mod cleanup;
mod error;
mod event_errors;
mod report;
mod retention;
mod s3;
mod sns;
mod split;

pub use batch::{job_state_change, job_state_change_event};
pub use cleanup::{ToCleanup, reported, reported_event, schedule_event, to_cleanup};
pub use error::EventError;
pub use event_errors::EventErrors;
pub use report::{ToReport, to_report};
pub use retention::{ToRetention, to_retention};
pub use s3::{restore_completed_event, s3_created, s3_created_event, s3_restored};
pub use sns::{scheduled_message_event, sns_messages, sns_messages_event};
pub use split::{ToSplit, to_split};

/// The account id in events that are written locally.
const LOCAL_ACCOUNT: &str = "000000000000";
/// The region in events that are written locally.
const LOCAL_REGION: &str = "local";

/// Formats a time like AWS: UTC, with milliseconds.
fn time_text(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
