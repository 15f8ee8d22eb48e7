use std::path::PathBuf;

use rowmill_domain::RunId;
use rowmill_events::EventError;
use rowmill_pipeline::EmbeddedPipelineError;
use rowmill_ports::{ErrorKind, PortError};
use rowmill_runs::ManifestLoadError;

/// Why report could not handle an event.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The payload is not an event of report.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The event is about a run that the ledger does not have.
    #[error("run {0} is not in the ledger, so it cannot be reported")]
    UnknownRun(RunId),
    /// Another invocation is handling a bounced mail of the run.
    #[error("run {0}: another invocation is already handling a bounced email; retry this event")]
    Busy(RunId),
    /// What earlier stages wrote is inconsistent.
    #[error("run {run}: {what}")]
    Inconsistent {
        /// The run.
        run: RunId,
        /// What is inconsistent.
        what: String,
    },
    /// The manifest of the run is missing or cannot be read.
    #[error(transparent)]
    Manifest(ManifestLoadError),
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
    /// The mail has no recipient.
    #[error(
        "run {run}: the mail has no valid recipient ({tried}); set `to` under [notify] in the \
         pipeline, or the parameter DefaultRecipient of the deployment"
    )]
    NoRecipient {
        /// The run.
        run: RunId,
        /// Why none of the addresses can be used.
        tried: String,
    },
    /// The mail could not be created.
    #[error("run {run}: the mail could not be created: {message}")]
    Mail {
        /// The run.
        run: RunId,
        /// Why.
        message: String,
    },
    /// A temporary file could not be read or written.
    #[error("temporary file: {0}")]
    Io(#[from] std::io::Error),
}

impl From<ManifestLoadError> for ReportError {
    fn from(error: ManifestLoadError) -> ReportError {
        match error {
            ManifestLoadError::Port(error) => error.into(),
            error => ReportError::Manifest(error),
        }
    }
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

    /// Whether no later try can succeed, whatever is repaired in the meantime. A missing permission,
    /// a locked key or a full disk can be repaired.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            ReportError::Port(error) => {
                matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid)
            }
            error => !error.is_retryable(),
        }
    }
}
