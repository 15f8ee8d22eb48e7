//! What stages tell each other over the topic.

use serde::{Deserialize, Serialize};

use crate::run::{Failure, RunId};

/// A message on the topic. Its `kind` is also sent as the message attribute `kind`, so that a
/// subscription takes only its own: submit takes `split`, report takes `failed` and `check`, cleanup
/// takes `due`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RunMessage {
    /// A run's manifest is written: submit its jobs.
    Split {
        /// The run.
        run: RunId,
    },
    /// A run cannot go on, or its input was refused: report says so by mail.
    Failed {
        /// The run.
        run: RunId,
        /// What happened and why.
        failure: Failure,
    },
    /// The time has come to look at a run that has not ended: cleanup asks whether it stands still.
    Due {
        /// The run.
        run: RunId,
    },
    /// The sweep found a run whose jobs seem to have ended without report having heard of it:
    /// report asks Batch, and goes on where all have.
    Check {
        /// The run.
        run: RunId,
    },
}

impl RunMessage {
    /// The kinds there are. Others, from a newer program, are passed over by all stages.
    pub const KINDS: [&'static str; 4] = ["split", "failed", "check", "due"];

    /// The value of the message attribute `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            RunMessage::Split { .. } => "split",
            RunMessage::Failed { .. } => "failed",
            RunMessage::Check { .. } => "check",
            RunMessage::Due { .. } => "due",
        }
    }
}
