//! Answers that are not only JSON: with an ETag, and files.

use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rowmill_domain::keys;
use rowmill_domain::link::CLICK_SECONDS;
use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::problem::Problem;
use crate::service::Service;

/// The media type of a workbook.
pub(crate) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The answer as JSON, or 304 if the caller has it.
pub(crate) fn with_etag(headers: &HeaderMap, answer: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(answer)?;
    let etag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|value| value.to_str().ok()).unwrap_or("");
    let unchanged = known.split(',').any(|known| known.trim() == etag);
    let cache = (header::CACHE_CONTROL, "no-cache".to_owned());
    let tag = (header::ETAG, etag);
    if unchanged {
        return Ok((StatusCode::NOT_MODIFIED, [tag, cache]).into_response());
    }
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    Ok(([tag, cache, kind], body).into_response())
}

/// A file as a download. It may be removed as soon as this returns: it stays readable until it is sent.
pub(crate) async fn file(path: &Path, kind: &str, name: &str) -> Result<Response, Problem> {
    let file = tokio::fs::File::open(path).await?;
    let size = file.metadata().await?.len();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, attachment(name)),
        (header::CONTENT_LENGTH, size.to_string()),
    ];
    Ok((headers, Body::from_stream(bytes_of(file))).into_response())
}

/// Sends the caller to S3 for an object of the work bucket. A page, which cannot follow a redirect with its
/// token, asks for JSON and gets the address.
pub(crate) async fn file_in_bucket(
    service: &Service,
    headers: &HeaderMap,
    key: &str,
) -> Result<Response, Problem> {
    let valid = Duration::from_secs(CLICK_SECONDS);
    service.work.head(key).await?;
    let url = service.work.link(key, keys::file_name(key), valid).await?;
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        return Ok(Json(json!({ "url": url })).into_response());
    }
    Ok((StatusCode::FOUND, [(header::LOCATION, url)]).into_response())
}

/// `Content-Disposition` for a download (RFC 6266).
pub(crate) fn attachment(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._-()".contains(c);
    let ascii: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{name}")
}

/// The bytes of a file, in parts.
fn bytes_of(file: tokio::fs::File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file, async |mut file| {
        let mut part = Vec::with_capacity(64 * 1024);
        let read = file.read_buf(&mut part).await?;
        Ok((read > 0).then(|| (Bytes::from(part), file)))
    })
}
