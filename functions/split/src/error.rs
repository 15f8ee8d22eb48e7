use std::io;

use rowmill_domain::run::Failure;
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Why an upload was not handled. A problem with the upload itself is not an error: it becomes a
/// [`Failure`] of the run, which report emails.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The payload is not an event of split.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The local file system failed.
    #[error("temporary files: {0}")]
    Temporary(#[from] io::Error),
    /// The caller stopped waiting.
    #[error("split was stopped before it finished")]
    Stopped,
    /// A retry is refused. There is no run that could have this failure.
    #[error("{}. {}", .0.what, .0.advice)]
    Refused(Box<Refusal>),
}

impl From<Refusal> for SplitError {
    fn from(refusal: Refusal) -> SplitError {
        SplitError::Refused(Box::new(refusal))
    }
}

impl SplitError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SplitError::Port(error) => error.is_retryable(),
            SplitError::Temporary(_) | SplitError::Stopped => true,
            SplitError::Event(_) | SplitError::Refused(_) => false,
        }
    }
}

/// Why a workbook was not cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The workbook is the reason. Retrying cannot help.
    #[error("{}. {}", .0.what, .0.advice)]
    Refused(Box<Refusal>),
    /// The local file system failed.
    #[error("temporary files: {0}")]
    Temporary(#[from] io::Error),
    /// The progress callback of [`crate::cut`] asked to stop.
    #[error("stopped before it finished")]
    Stopped,
}

/// A value, or the reason why the input is refused.
pub(crate) type OrRefusal<T> = Result<T, Refusal>;

/// Why an input is refused: the run fails with this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and where.
    pub what: String,
    /// What to do next.
    pub advice: String,
    /// How many rows were read and rejected before the refusal.
    pub rejected: u64,
}

impl Refusal {
    /// A refusal before the first row.
    pub fn new(what: impl Into<String>, advice: impl Into<String>) -> Refusal {
        Refusal {
            what: what.into(),
            advice: advice.into(),
            rejected: 0,
        }
    }

    /// The refusal as the failure of a run.
    pub fn failure(&self) -> Failure {
        Failure {
            stage: "split".into(),
            what: self.what.clone(),
            advice: self.advice.clone(),
        }
    }
}

impl From<Refusal> for CutError {
    fn from(refusal: Refusal) -> CutError {
        CutError::Refused(Box::new(refusal))
    }
}
