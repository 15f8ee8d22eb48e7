//! Event envelopes: what S3, SNS, EventBridge, SES and Lambda send, read into the domain's events,
//! and written for the adapters on one machine, which send the same.
//!
//! One real payload of each lies in `events/`, with the expected reading beside it.

mod batch;
mod bounce;
mod cleanup;
mod error;
mod report;
mod s3;
mod sns;
mod tried;

pub use batch::{job_state_change, job_state_change_event};
pub use cleanup::{ToCleanup, reported, reported_event, schedule_event, to_cleanup};
pub use error::EventError;
pub use report::{ToReport, to_report};
pub use s3::{s3_created, s3_created_event};
pub use sns::{scheduled_message_event, sns_messages, sns_messages_event};
pub use tried::Tried;

/// The account in envelopes written on one machine.
const LOCAL_ACCOUNT: &str = "000000000000";
/// The region in envelopes written on one machine.
const LOCAL_REGION: &str = "local";

/// Times as AWS writes them: UTC, with milliseconds.
fn time_text(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
