use rowmill_domain::{RunId, RunState};
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// What entered the stage is no event of its kind.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The event names a run that the ledger does not know.
    #[error("run {0}: not in the ledger")]
    UnknownRun(RunId),
    /// The run's mail is not sent yet, so what it is made of must stay.
    #[error("run {run}: is {}, and is cleaned only once its mail is sent", state.name())]
    NotEnded {
        /// The run.
        run: RunId,
        /// Where it stands.
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
