use rowmill_domain::RunId;
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Why a run was not handled. A run that can never be submitted is not an error: it fails, and
/// report emails the reason.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The payload is not an event of submit.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The message names a run that the ledger does not have.
    #[error("run {0} is not in the ledger")]
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
