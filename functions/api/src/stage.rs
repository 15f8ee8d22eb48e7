//! What the routes use, and the answers that need no file of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowmill_domain::keys;
use rowmill_domain::link::LinkKey;
use rowmill_ports::Mailer;
use rowmill_runs::WorkBucket;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::page::page;

/// What the routes use.
pub struct Api {
    /// The work bucket.
    pub work: WorkBucket,
    /// The key that signs the links in emails.
    pub link_key: LinkKey,
    /// Says whether mail can be sent.
    pub mailer: Arc<dyn Mailer>,
    /// The identity that must be verified before mail can be sent.
    pub identity: String,
    /// Whether it was verified, and when that was asked.
    pub sender: Mutex<Option<(Instant, bool)>>,
}

/// How long an answer about the sender is reused: SES answers one such question per second, and anybody
/// may call the route.
const SENDER_KNOWN: Duration = Duration::from_secs(60);

/// How long the route waits for SES, within the time limit of the function.
const SENDER_WITHIN: Duration = Duration::from_secs(3);

impl Api {
    async fn sender(&self) -> &'static str {
        let mut known = self.sender.lock().await;
        let verified = match *known {
            Some((asked, verified)) if asked.elapsed() < SENDER_KNOWN => verified,
            _ => match timeout(SENDER_WITHIN, self.mailer.is_verified(&self.identity)).await {
                Ok(Ok(verified)) => {
                    *known = Some((Instant::now(), verified));
                    verified
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "SES does not answer");
                    return "unknown";
                }
                Err(_) => return "unknown",
            },
        };
        match verified {
            true => "verified",
            false => "not verified: no mail can be sent",
        }
    }
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
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "work_bucket": work_bucket,
        "sender": api.sender().await,
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(crate) async fn not_found() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "Page not found",
        "If you followed a link in an email, copy the whole link again.",
    )
}
