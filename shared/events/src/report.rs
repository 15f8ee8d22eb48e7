use rowmill_domain::event::Bounce;
use rowmill_domain::job::JobStateChange;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, RunId};
use serde_json::Value;

use crate::{EventError, batch, bounce, job_state_change, sns};

/// What enters report.
#[derive(Clone, Debug, PartialEq)]
pub enum ToReport {
    /// A job ended.
    Job(JobStateChange),
    /// A stage gave up.
    Failed {
        /// The run.
        run: RunId,
        /// What happened and why.
        failure: Failure,
    },
    /// Jobs of a run seem to have ended unheard: ask Batch.
    Check {
        /// The run.
        run: RunId,
    },
    /// A run's mail came back.
    Bounced(Bounce),
}

/// What enters report by that payload: EventBridge's event, or what SNS hands on of the topic and of
/// SES. What is not for report is passed over.
///
/// # Errors
/// It is none of these.
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
            false => sns::message(json)?.and_then(of_topic),
        });
    }
    Ok(events)
}

fn of_topic(message: RunMessage) -> Option<ToReport> {
    match message {
        RunMessage::Failed { run, failure } => Some(ToReport::Failed { run, failure }),
        RunMessage::Check { run } => Some(ToReport::Check { run }),
        RunMessage::Split { .. } | RunMessage::Due { .. } => None,
    }
}
