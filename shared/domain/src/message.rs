//! Messages between stages, on the topic.

use serde::{Deserialize, Serialize};

use crate::event::ObjectCreated;
use crate::run::{Failure, RunId, StopReason};
use crate::storage::RestoreSpeed;
use crate::submitter::Submitter;

/// A message on the topic. Its `kind` is also the message attribute `kind`, by which subscriptions
/// filter: split receives `retry` and `upload`, submit `split` and `stop`, report `failed` and `check`,
/// cleanup `due` and `tier`, retention `restore` and `retain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RunMessage {
    /// The manifest of a run is written. Submit submits its jobs.
    Split {
        /// The run.
        run: RunId,
    },
    /// A run is stopped early. Submit ends its jobs that have not started.
    Stop {
        /// The run.
        run: RunId,
        /// The reason, if it is not on the run yet: children may not change runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<StopReason>,
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
    /// Rows of a run that has ended are processed again, as another run. Split starts it.
    Retry(RetryRequest),
    /// The event of an upload seems to be lost, because there is no run. Split starts it.
    Upload(ObjectCreated),
    /// The archived result of a run is needed again. Retention restores it.
    Restore {
        /// The run.
        run: RunId,
        /// How fast. By default as fast as its storage class offers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        speed: Option<RestoreSpeed>,
        /// Who requested it.
        by: String,
    },
    /// The time of the result of a run has come. Retention continues what its state requires.
    Retain {
        /// The run.
        run: RunId,
    },
    /// A submitter was given another tier.
    #[serde(rename = "tier")]
    TierChanged {
        /// The submitter.
        submitter: Submitter,
    },
}

/// Asks for a retry: some of the rows of a run that has ended are processed again, as another run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRequest {
    /// The run whose archived rows are retried.
    pub run: RunId,
    /// The id of the retry. By default the one after `run`, so that the same request is the same retry.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RunId>,
    /// Which rows.
    #[serde(default)]
    pub rows: RetryRows,
    /// The text of a corrected pipeline. By default the pipeline of `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
}

/// Which rows are retried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryRows {
    /// Those that are `failed` or `missing`.
    #[default]
    Unfinished,
    /// Those that are `failed`.
    Failed,
    /// Those that are `missing`.
    Missing,
    /// Those for which a CEL expression is true.
    Where(String),
}

impl RetryRequest {
    /// The id of the retry. `None`: the run has as many retries as it can have.
    pub fn id(&self) -> Option<RunId> {
        self.retry.clone().or_else(|| self.run.next_retry())
    }
}

impl RunMessage {
    /// All kinds. Stages ignore other kinds, which a newer program could send.
    pub const KINDS: [&'static str; 10] = [
        "split", "stop", "failed", "check", "due", "retry", "upload", "restore", "retain", "tier",
    ];

    /// Returns the value of the message attribute `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            RunMessage::Split { .. } => "split",
            RunMessage::Stop { .. } => "stop",
            RunMessage::Failed { .. } => "failed",
            RunMessage::Check { .. } => "check",
            RunMessage::Due { .. } => "due",
            RunMessage::Retry(_) => "retry",
            RunMessage::Upload(_) => "upload",
            RunMessage::Restore { .. } => "restore",
            RunMessage::Retain { .. } => "retain",
            RunMessage::TierChanged { .. } => "tier",
        }
    }
}
