//! `GET /d/{token}`: the result that the link in an email names.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use rowmill_domain::keys;
use rowmill_domain::link::{CLICK_SECONDS, Link, LinkError};
use rowmill_runs::WorkBucket;
use tracing::Instrument as _;

use crate::page::{PRIVATE, page};
use crate::stage::Api;

pub(crate) async fn download(
    State(api): State<Arc<Api>>,
    token: Result<Path<String>, PathRejection>,
) -> Response {
    let Ok(Path(token)) = token else {
        return unknown();
    };
    let link = match Link::verify(&token, &api.link_key, Utc::now()) {
        Ok(link) => link,
        Err(LinkError::Expired) => {
            return page(
                StatusCode::GONE,
                "This link has expired",
                "The result may still exist. Ask the person who operates Rowmill for a new link, or \
                 upload the workbook again.",
            );
        }
        Err(LinkError::Forged) => {
            tracing::warn!("a link has an invalid signature");
            return page(
                StatusCode::FORBIDDEN,
                "This link is not valid",
                "It was changed, or it was signed with a key that is no longer used. Copy the \
                 whole link from the email again.",
            );
        }
        Err(LinkError::Malformed) => return unknown(),
    };
    let span = tracing::info_span!("download", run = %link.run, object = link.object);
    redirect(&api.work, &link.object).instrument(span).await
}

/// Redirects to the object, if it exists.
async fn redirect(work: &WorkBucket, key: &str) -> Response {
    let file = keys::file_name(key);
    let valid = Duration::from_secs(CLICK_SECONDS);
    let found = match work.head(key).await {
        Ok(_) => work.link(key, file, valid).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(url) => {
            tracing::info!("redirected to the result");
            (StatusCode::FOUND, PRIVATE, [(header::LOCATION, url)]).into_response()
        }
        Err(error) if error.is_not_found() => page(
            StatusCode::NOT_FOUND,
            "This result no longer exists",
            "It was deleted. Upload the workbook again to get a new one.",
        ),
        Err(error) => {
            tracing::error!(%error, "cannot create a link to the result");
            page(
                StatusCode::SERVICE_UNAVAILABLE,
                "The result is not available right now",
                "The storage service is not responding. Try again in a few minutes.",
            )
        }
    }
}

fn unknown() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "This is not a Rowmill link",
        "Part of it may be missing. Copy the whole link from the email again.",
    )
}
