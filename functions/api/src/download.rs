//! `GET /d/{token}`: the result that a mail's link names.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use rowmill_domain::keys;
use rowmill_domain::link::{CLICK_SECONDS, Link, LinkError};
use rowmill_ports::Location;
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
                "The result may still be there: ask whoever runs Rowmill for you for a new link, \
                 or upload the workbook again.",
            );
        }
        Err(LinkError::Forged) => {
            tracing::warn!("a link whose signature is wrong");
            return page(
                StatusCode::FORBIDDEN,
                "This link is not valid",
                "It was changed on its way, or was made with a key that no longer holds. Copy it \
                 from the mail again as a whole.",
            );
        }
        Err(LinkError::Malformed) => return unknown(),
    };
    let span = tracing::info_span!("download", run = %link.run, object = link.object);
    let at = Location::new(&api.work_bucket, &link.object);
    lead(&api, &at).instrument(span).await
}

/// Leads on to the object, where it is.
async fn lead(api: &Api, at: &Location) -> Response {
    let file = keys::file_name(&at.key);
    let valid = Duration::from_secs(CLICK_SECONDS);
    let found = match api.objects.head(at).await {
        Ok(_) => api.objects.link(at, file, valid).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(url) => {
            tracing::info!("a result is downloaded");
            (StatusCode::FOUND, PRIVATE, [(header::LOCATION, url)]).into_response()
        }
        Err(error) if error.is_not_found() => page(
            StatusCode::NOT_FOUND,
            "This result is no longer there",
            "It was removed. Upload the workbook again to have it made anew.",
        ),
        Err(error) => {
            tracing::error!(%error, "the result cannot be linked");
            page(
                StatusCode::SERVICE_UNAVAILABLE,
                "That did not work",
                "The store of the results does not answer at the moment. Try again in a few \
                 minutes.",
            )
        }
    }
}

fn unknown() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "This is not a link of Rowmill",
        "Part of it may be missing. Copy it from the mail again as a whole.",
    )
}
