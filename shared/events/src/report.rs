//! The events that start report.

use rowmill_domain::event::Bounce;
use rowmill_domain::job::JobStateChange;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, RunId};
use serde_json::Value;

use crate::{EventError, batch, bounce, job_state_change, sns};

/// An event that starts report.
#[derive(Clone, Debug, PartialEq)]
pub enum ToReport {
    /// A job ended.
    Job(JobStateChange),
    /// A stage failed the run.
    Failed {
        /// The run.
        run: RunId,
        /// The reason.
        failure: Failure,
    },
    /// Jobs of a run may have ended without an event: query Batch.
    Check {
        /// The run.
        run: RunId,
    },
    /// An email of a run bounced.
    Bounced(Bounce),
}

/// Parses the events that start report: an event of Batch, or SNS messages of the topic or of SES.
/// Everything that is not for report is ignored.
///
/// # Errors
/// The payload is none of these.
pub fn to_report(payload: &Value) -> Result<Vec<ToReport>, EventError> {
    if batch::is_batch(payload) {
        if !batch::is_job_state_change(payload) {
            return Ok(Vec::new());
        }
        return Ok(vec![ToReport::Job(job_state_change(payload)?)]);
    }
    let mut events = Vec::new();
    for text in sns::texts(payload)? {
        let json = serde_json::from_str(&text).map_err(EventError::malformed(sns::MESSAGE))?;
        events.extend(match bounce::is_ses(&json) {
            true => bounce::bounce(&json)?.map(ToReport::Bounced),
            false => sns::message(json)?.and_then(from_topic),
        });
    }
    Ok(events)
}

fn from_topic(message: RunMessage) -> Option<ToReport> {
    match message {
        RunMessage::Failed { run, failure } => Some(ToReport::Failed { run, failure }),
        RunMessage::Check { run } => Some(ToReport::Check { run }),
        RunMessage::Split { .. }
        | RunMessage::Stop { .. }
        | RunMessage::Due { .. }
        | RunMessage::Retry(_)
        | RunMessage::Upload(_)
        | RunMessage::Restore { .. }
        | RunMessage::Retain { .. }
        | RunMessage::TierChanged { .. } => None,
    }
}
