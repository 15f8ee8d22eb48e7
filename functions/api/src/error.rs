/// The payload is not a request from API Gateway.
#[derive(Debug, thiserror::Error)]
#[error("invalid request from API Gateway: {0}")]
pub struct ApiError(#[from] serde_json::Error);
