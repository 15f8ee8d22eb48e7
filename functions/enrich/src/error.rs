use rowmill_domain::config::child_exit;
use rowmill_ports::PortError;

/// Why a child failed. A record is never the reason.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    /// The job is misconfigured. Retrying cannot help.
    #[error("{0}")]
    Misconfigured(String),
    /// The program of a step could not be fetched. Retrying may help.
    #[error("cannot fetch the program: {0}")]
    NotFetched(String),
    /// A service failed, even after retries if the error is temporary.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The child was stopped before all its records were done. Finished records are stored, unless
    /// storing them took too long.
    #[error("stopped with {} left to do; finished records are stored", left_text(*.left))]
    Interrupted {
        /// Records left to do. `None` if the time ran out before they were counted.
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
