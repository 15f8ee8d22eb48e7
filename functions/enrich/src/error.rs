use rowmill_domain::config::child_exit;
use rowmill_ports::PortError;

/// Why a child failed. Never because of a record.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    /// The job is set up wrongly; trying again cannot help.
    #[error("{0}")]
    Misconfigured(String),
    /// A step's program could not be fetched; it may be there later.
    #[error("the program cannot be fetched: {0}")]
    NotFetched(String),
    /// A service failed; where that may pass, also after it was tried again.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Stopped before every record was done; all that were done are stored, unless storing them
    /// took too long.
    #[error("stopped with {} undone; what was done is stored", left_text(*.left))]
    Interrupted {
        /// Records left undone; `None` where the time ran out before that was known.
        left: Option<u64>,
    },
}

fn left_text(left: Option<u64>) -> String {
    match left {
        Some(1) => "1 record".to_owned(),
        Some(left) => format!("{left} records"),
        None => "some records".to_owned(),
    }
}

impl EnrichError {
    /// The exit code of the child, one of [`child_exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            EnrichError::NotFetched(_) => child_exit::NOT_FETCHED,
            EnrichError::Misconfigured(_) => child_exit::MISCONFIGURED,
            EnrichError::Port(error) if error.is_retryable() => child_exit::UNAVAILABLE,
            EnrichError::Port(_) => child_exit::MISCONFIGURED,
            EnrichError::Interrupted { .. } => child_exit::INTERRUPTED,
        }
    }
}

/// Why a preview was not made.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The request, or the pipeline that it names, is wrong.
    #[error("{0}")]
    Request(String),
    /// A service failed.
    #[error(transparent)]
    Port(#[from] PortError),
}
