//! The HTTP interface: health, and links to results.
//!
//! [`router`] is a plain function of its state: the same routes answer on Lambda and on one machine.

mod download;
#[cfg(feature = "lambda")]
mod entry;
mod page;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rowmill_domain::keys;
use rowmill_domain::link::LinkKey;
use rowmill_ports::Objects;
use serde_json::json;

#[cfg(feature = "lambda")]
pub use entry::{ApiError, invoke};

/// What the routes work on.
pub struct Api {
    /// The work bucket's objects.
    pub objects: Arc<dyn Objects>,
    /// The work bucket.
    pub work_bucket: String,
    /// The key that links in mail are signed with.
    pub link_key: LinkKey,
}

/// The routes.
///
/// | route | answer |
/// |---|---|
/// | `GET /health` | 200 with the version, and whether the work bucket answers |
/// | `GET /d/{token}` | 302 to the result that a mail's link names; the one route without a sign-in, as the token is one |
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/d/{token}", get(download::download))
        .fallback(nowhere)
        .with_state(api)
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    let listed = api.objects.list(&api.work_bucket, keys::PIPELINES, None);
    let work_bucket = match listed.await {
        Ok(_) => "answers",
        Err(error) => {
            // What it says is for the log: anybody may ask here.
            tracing::error!(%error, "the work bucket does not answer");
            "does not answer"
        }
    };
    let body = json!({ "version": env!("CARGO_PKG_VERSION"), "work_bucket": work_bucket });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn nowhere() -> Response {
    page::page(
        StatusCode::NOT_FOUND,
        "There is nothing here",
        "If you followed a link in a mail, copy it again as a whole.",
    )
}

#[cfg(test)]
mod tests;
