use rowmill_domain::RunId;
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Trouble of the surroundings. What can never be submitted is no error: it becomes a failure of
/// the run, which report mails.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// What entered the stage is no event of its kind.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The message names a run that the ledger does not know.
    #[error("run {0}: not in the ledger")]
    UnknownRun(RunId),
}

impl SubmitError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SubmitError::Port(error) => error.is_retryable(),
            SubmitError::Event(_) | SubmitError::UnknownRun(_) => false,
        }
    }
}
