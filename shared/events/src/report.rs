use rowmill_domain::job::JobStateChange;
use rowmill_domain::message::{Failure, Message};
use rowmill_domain::run::RunId;
use serde_json::Value;

use crate::{EventError, batch, job_state_change, sns_messages};

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
}

/// What enters report by that payload: EventBridge's event, or the topic's. Messages and events of
/// Batch that are not for report are passed over.
///
/// # Errors
/// It is neither.
pub fn to_report(payload: &Value) -> Result<Vec<ToReport>, EventError> {
    if batch::is_batch(payload) {
        if !batch::is_job_state_change(payload) {
            return Ok(Vec::new());
        }
        return Ok(vec![ToReport::Job(job_state_change(payload)?)]);
    }
    let messages = sns_messages(payload)?.into_iter();
    Ok(messages
        .filter_map(|message| match message {
            Message::Failed { run, failure } => Some(ToReport::Failed { run, failure }),
            Message::Check { run } => Some(ToReport::Check { run }),
            Message::Split { .. } | Message::Due { .. } => None,
        })
        .collect())
}
