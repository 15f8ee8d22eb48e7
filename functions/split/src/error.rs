use std::io;

use rowmill_domain::run::Failure;
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Trouble of the surroundings. What is wrong with an input is no error: it becomes a
/// [`Failure`] of the run, which report mails.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// What entered the stage is no event of its kind.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The machine's own file system failed.
    #[error("temporary files: {0}")]
    Temporary(#[from] io::Error),
    /// The work was given up because its caller went away.
    #[error("split was stopped before it was done")]
    Stopped,
}

impl SplitError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SplitError::Port(error) => error.is_retryable(),
            SplitError::Temporary(_) | SplitError::Stopped => true,
            SplitError::Event(_) => false,
        }
    }
}

/// Why a workbook was not cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The workbook is the reason; trying again cannot help.
    #[error("{}; {}", .0.what, .0.advice)]
    Refused(Box<Refusal>),
    /// The machine's own file system failed.
    #[error("temporary files: {0}")]
    Temporary(#[from] io::Error),
    /// The progress callback of [`crate::cut`] asked to stop.
    #[error("stopped before it was done")]
    Stopped,
}

/// A value, or the reason why the input is refused.
pub(crate) type OrRefusal<T> = Result<T, Refusal>;

/// Why an input is refused: the run fails with this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it, and where.
    pub what: String,
    /// What to do next.
    pub advice: String,
    /// Rows that were read and rejected, where it came so far.
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

    /// As the run's failure.
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
