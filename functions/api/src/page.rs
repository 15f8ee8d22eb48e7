//! The short HTML pages that people see.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// The headers of every answer to a link: it is not cached, and its address is not sent to other
/// sites.
pub(crate) const PRIVATE: [(header::HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

/// A page with a heading and a sentence. Both are constants of this program, so nothing is escaped.
pub(crate) fn page(status: StatusCode, heading: &'static str, text: &'static str) -> Response {
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{heading}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 36em; margin: 15vh auto 0; padding: 0 24px; }}
h1 {{ font-size: 22px; }}
</style>
</head>
<body>
<h1>{heading}</h1>
<p>{text}</p>
</body>
</html>
"#
    );
    let policy = (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'",
    );
    (status, PRIVATE, [policy], Html(html)).into_response()
}
