use rowmill_domain::{RunId, RunState};
use rowmill_events::EventError;
use rowmill_ports::PortError;

/// Why an event was not handled, or a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The payload is not an event of retention.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A call to a service failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The event names a run that the ledger does not have.
    #[error("run {0} is not in the ledger")]
    UnknownRun(RunId),
    /// The run has no complete result yet.
    #[error("run {run} is {}; its result can be archived or deleted only after its email is sent", state.name())]
    NotEnded {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
    },
    /// A retry reads the archived rows of the run.
    #[error("the result of run {run} is in use by its retry {retry}, which has not ended")]
    InUse {
        /// The run.
        run: RunId,
        /// Its retry.
        retry: RunId,
    },
    /// The result is deleted.
    #[error("the result of run {0} is deleted and cannot be restored; upload the workbook again")]
    Deleted(RunId),
    /// The state of the result changed several times while this invocation worked on it.
    #[error("the result of run {0} is being changed by others; try again")]
    Contended(RunId),
}

impl RetentionError {
    /// Whether the same event may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            RetentionError::Port(error) => error.is_retryable(),
            RetentionError::Contended(_) => true,
            RetentionError::Event(_)
            | RetentionError::UnknownRun(_)
            | RetentionError::NotEnded { .. }
            | RetentionError::InUse { .. }
            | RetentionError::Deleted(_) => false,
        }
    }
}
