//! What the routes use, and the answers that need no file of their own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowmill_domain::keys;
use rowmill_domain::link::LinkKey;
use rowmill_runs::WorkBucket;
use serde_json::json;

use crate::page::page;

/// What the routes use.
pub struct Api {
    /// The work bucket.
    pub work: WorkBucket,
    /// The key that signs the links in emails.
    pub link_key: LinkKey,
}

pub(crate) async fn health(State(api): State<Arc<Api>>) -> Response {
    let work_bucket = match api.work.list(keys::PIPELINES, None).await {
        Ok(_) => "answers",
        Err(error) => {
            // Log the error but do not return it: this route is public.
            tracing::error!(%error, "the work bucket does not answer");
            "does not answer"
        }
    };
    let body = json!({ "version": env!("CARGO_PKG_VERSION"), "work_bucket": work_bucket });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(crate) async fn not_found() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "Page not found",
        "If you followed a link in an email, copy the whole link again.",
    )
}
