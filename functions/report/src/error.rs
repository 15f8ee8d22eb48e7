use std::path::PathBuf;

use rowmill_domain::RunId;
use rowmill_events::EventError;
use rowmill_pipeline::EmbeddedPipelineError;
use rowmill_ports::PortError;

/// Why report could not end a run.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What entered the stage is no event of its kind.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A failure is to be told of a run that the ledger does not know.
    #[error("run {0} is not in the ledger, so its failure cannot be reported")]
    UnknownRun(RunId),
    /// Another invocation works on mail of the run that came back.
    #[error("run {0}: another invocation is at mail that came back; this one must come again")]
    Busy(RunId),
    /// What an earlier stage wrote does not fit together.
    #[error("run {run}: {what}")]
    Inconsistent {
        /// The run.
        run: RunId,
        /// What does not fit.
        what: String,
    },
    /// The pipeline in the manifest cannot be read.
    #[error(transparent)]
    Pipeline(#[from] EmbeddedPipelineError),
    /// The result workbook could not be written.
    #[error("run {run}: the result workbook could not be written: {message}")]
    Workbook {
        /// The run.
        run: RunId,
        /// Why.
        message: String,
    },
    /// The archived rows of a run cannot be read.
    #[error("{}: {what}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is nobody to mail to.
    #[error(
        "run {run}: no valid recipient: set [notify] to in the pipeline, or the default recipient \
         of the deployment ({tried})"
    )]
    NoRecipient {
        /// The run.
        run: RunId,
        /// The addresses that are none.
        tried: String,
    },
    /// The mail could not be made.
    #[error("run {run}: the mail could not be made: {message}")]
    Mail {
        /// The run.
        run: RunId,
        /// Why.
        message: String,
    },
    /// A temporary file could not be used.
    #[error("a temporary file could not be used: {0}")]
    Io(#[from] std::io::Error),
}

impl ReportError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            ReportError::Port(error) => error.is_retryable(),
            ReportError::Io(_) | ReportError::Busy(_) => true,
            _ => false,
        }
    }
}
