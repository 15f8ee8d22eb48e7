//! Messages between stages, on the topic.

use serde::{Deserialize, Serialize};

use crate::run::{Failure, RunId};

/// A message on the topic. Its `kind` is also the message attribute `kind`, by which subscriptions
/// filter: submit receives `split`, report `failed` and `check`, cleanup `due`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RunMessage {
    /// The manifest of a run is written. Submit submits its jobs.
    Split {
        /// The run.
        run: RunId,
    },
    /// A run cannot continue, or its workbook was refused. Report sends an email about it.
    Failed {
        /// The run.
        run: RunId,
        /// What happened and why.
        failure: Failure,
    },
    /// The due time of an unfinished run has come. Cleanup checks whether it is stalled.
    Due {
        /// The run.
        run: RunId,
    },
    /// The jobs of a run seem to have ended, but report has not received the event. Report asks Batch,
    /// and continues if all have ended.
    Check {
        /// The run.
        run: RunId,
    },
}

impl RunMessage {
    /// All kinds. Stages ignore other kinds, which a newer program could send.
    pub const KINDS: [&'static str; 4] = ["split", "failed", "check", "due"];

    /// Returns the value of the message attribute `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            RunMessage::Split { .. } => "split",
            RunMessage::Failed { .. } => "failed",
            RunMessage::Check { .. } => "check",
            RunMessage::Due { .. } => "due",
        }
    }
}
