use crate::problem::Problem;

/// Why an event has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The payload is not a request from API Gateway.
    #[error("invalid request from API Gateway: {0}")]
    Request(#[from] serde_json::Error),
    /// An export could not be built.
    #[error("{}", .0.detail())]
    Export(Problem),
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> ApiError {
        ApiError::Export(problem)
    }
}
