//! The routes behind API Gateway's events.

use axum::Router;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Service as _};
use rowmill_domain::event::Invocation;
use serde_json::Value;

/// An event that is no request.
#[derive(Debug, thiserror::Error)]
#[error("this is no request from API Gateway: {0}")]
pub struct ApiError(#[from] serde_json::Error);

/// Answers a request that API Gateway hands on (HTTP API, payload version 2.0) by the routes.
///
/// # Errors
/// It is no such request.
pub async fn invoke(
    router: &Router,
    payload: &Value,
    cx: &Invocation,
) -> Result<Option<Value>, ApiError> {
    let payload = serde_json::from_value::<LambdaRequest>(payload.clone())?;
    let mut context = Context::default();
    context.request_id.clone_from(&cx.owner);
    let answered = Adapter::from(router.clone())
        .call(LambdaEvent { payload, context })
        .await;
    // A router's error is `Infallible`.
    let response = match answered {
        Ok(response) => response,
        Err(never) => match never {},
    };
    Ok(Some(serde_json::to_value(response)?))
}
