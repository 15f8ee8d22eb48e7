/// The event is not a request.
#[derive(Debug, thiserror::Error)]
#[error("this is no request from API Gateway: {0}")]
pub struct ApiError(#[from] serde_json::Error);
