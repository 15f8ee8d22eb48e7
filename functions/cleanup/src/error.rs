use rowmill_domain::{RunId, RunState};
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The payload is not an event of cleanup.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The event names a run that the ledger does not have.
    #[error("run {0} is not in the ledger")]
    UnknownRun(RunId),
    /// The run's mail is not sent yet, so its data is still needed.
    #[error("run {run} is {}; it can be cleaned up only after its email is sent", state.name())]
    NotEnded {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
    },
}

impl CleanupError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            CleanupError::Port(error) => error.is_retryable(),
            CleanupError::Event(_)
            | CleanupError::UnknownRun(_)
            | CleanupError::NotEnded { .. } => false,
        }
    }
}
