//! The routes, and the events of API Gateway that reach them.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::download::download;
use crate::stage::{Api, health, not_found};

/// The routes.
///
/// | route | answer |
/// |---|---|
/// | `GET /health` | 200 with the version, whether the work bucket answers, and whether the sender of mail is verified |
/// | `GET /d/{token}` | 302 to the result that the link in an email names. The signed token replaces a sign-in |
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/d/{token}", get(download))
        .fallback(not_found)
        .with_state(api)
}

/// Answers a request from API Gateway (HTTP API, payload version 2.0) through the routes.
///
/// # Errors
/// The payload is not such a request.
#[cfg(feature = "lambda")]
pub async fn invoke(
    router: &Router,
    payload: &serde_json::Value,
    cx: &rowmill_domain::event::Invocation,
) -> Result<Option<serde_json::Value>, crate::ApiError> {
    use lambda_http::lambda_runtime::{Context, LambdaEvent};
    use lambda_http::request::LambdaRequest;
    use lambda_http::{Adapter, Service as _};

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
