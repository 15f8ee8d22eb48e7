//! A response with its whole body, and the body as JSON and as text.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeSeed;
use serde_json::error::Category;
use url::Url;

use super::attempt_error::AttemptError;
use super::content_encoding::BodyDecoder;
use super::lenient::Json;
use super::{charset, lenient, refusal};
use crate::truncate;

/// Largest response, in bytes after decompression. Pages and JSON documents are far smaller, and 16
/// responses of this size fit a child with 512 MiB.
pub(super) const RESPONSE_MAX: usize = 10 * 1024 * 1024;

/// How long parsing may take even if the response used up the step's timeout.
pub(super) const PARSE_TIME_MIN: Duration = Duration::from_secs(1);

/// A response with its whole body.
pub(super) struct HttpResponse {
    /// The URL after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How long parsing may take.
    pub(super) parse_time: Duration,
}

impl crate::cache::Cached for HttpResponse {
    fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// The error for a body of more than [`RESPONSE_MAX`] bytes.
pub(super) fn too_large() -> AttemptError {
    let mib = RESPONSE_MAX / (1024 * 1024);
    AttemptError::permanent(format!("the response is larger than {mib} MiB"))
}

/// How much of a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it. A body of more than [`RESPONSE_MAX`] bytes is an error.
    Whole,
    /// At least this many bytes, if there are so many.
    Start(usize),
}

impl Part {
    /// Whether a body of this length is enough.
    fn is_enough(self, length: usize) -> bool {
        matches!(self, Part::Start(wanted) if length >= wanted)
    }
}

/// Reads and decodes a body of up to [`RESPONSE_MAX`] bytes, counted after decompression.
pub(super) async fn read(mut response: Response, part: Part) -> Result<HttpResponse, AttemptError> {
    let (status, url) = (response.status(), response.url().clone());
    if part == Part::Whole && response.content_length().unwrap_or(0) > RESPONSE_MAX as u64 {
        return Err(too_large());
    }
    let mut headers = std::mem::take(response.headers_mut());
    let decoder = BodyDecoder::new(&headers)?;
    let body = if decoder.is_identity() {
        read_plain(&mut response, part).await?
    } else {
        // They describe the encoded body.
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        read_encoded(&mut response, decoder, part).await?
    };
    Ok(HttpResponse {
        url,
        status,
        headers,
        body,
        parse_time: PARSE_TIME_MIN,
    })
}

async fn read_plain(response: &mut Response, part: Part) -> Result<Bytes, AttemptError> {
    let mut body: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let length = response
        .content_length()
        .unwrap_or(0)
        .min(RESPONSE_MAX as u64) as usize;
    while let Some(chunk) = response.chunk().await.map_err(|e| AttemptError::of(&e))? {
        match &body {
            // Most bodies arrive as one chunk, which then needs no copy.
            None => body = Some(chunk),
            Some(first) => {
                if rest.is_empty() {
                    // Growing would need twice the memory.
                    rest.reserve(length.max(first.len() + chunk.len()));
                    rest.extend_from_slice(first);
                }
                rest.extend_from_slice(&chunk);
            }
        }
        let length = rest.len().max(body.as_ref().map_or(0, Bytes::len));
        if part.is_enough(length) {
            break;
        }
        if length > RESPONSE_MAX {
            return Err(too_large());
        }
    }
    Ok(if rest.is_empty() {
        body.unwrap_or_default()
    } else {
        rest.freeze()
    })
}

async fn read_encoded(
    response: &mut Response,
    mut decoder: BodyDecoder,
    part: Part,
) -> Result<Bytes, AttemptError> {
    let (mut body, mut received) = (Vec::new(), 0);
    while let Some(chunk) = response.chunk().await.map_err(|e| AttemptError::of(&e))? {
        received += chunk.len();
        // Empty gzip members, or padding, decode to nothing.
        if received > RESPONSE_MAX {
            return Err(too_large());
        }
        let decoded = decoder.decode(&chunk, &mut body);
        if part.is_enough(body.len()) {
            return Ok(body.into());
        }
        decoded?;
    }
    decoder.finish(&mut body)?;
    Ok(body.into())
}

impl HttpResponse {
    /// Whether the body is blank.
    pub(super) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// The body as JSON, of which `seed` keeps a part: see [`lenient::parse`].
    pub(super) fn json<S>(&self, seed: &dyn Fn(Option<usize>) -> S) -> Result<Json, String>
    where
        S: for<'de> DeserializeSeed<'de, Value = Option<serde_json::Value>>,
    {
        let failed = |e: &dyn std::fmt::Display| {
            let start = excerpt(&self.body);
            format!("the response is not JSON ({e}): {start}")
        };
        let text = charset::json(&self.body, self.content_type()).map_err(|e| failed(&e))?;
        let is_lines = self.media_type().is_some_and(is_json_lines);
        let parsed = match is_lines {
            true => lenient::lines(&text, seed),
            false => Ok(None),
        };
        let parsed = match parsed {
            Ok(None) => lenient::parse(&text, seed),
            Ok(Some(lines)) => Ok(lines),
            Err(error) => Err(error),
        };
        parsed.map_err(|e| match e.classify() {
            // Refused. The position says nothing.
            Category::Data => {
                let reason = e.to_string();
                let end = reason.find(" at line").unwrap_or(reason.len());
                reason[..end].to_owned()
            }
            _ => failed(&e),
        })
    }

    /// The body as text: HTML, XML or any other.
    pub(super) fn text(&self) -> Cow<'_, str> {
        charset::text(&self.body, self.content_type())
    }

    /// The status, and the start of the body, which usually says why a request was refused.
    pub(super) fn status_and_start(&self) -> String {
        let start = refusal::start(&self.body, self.content_type());
        match start.is_empty() {
            true => self.status.to_string(),
            false => format!("{}: {start}", self.status),
        }
    }

    /// Whether the body is XML other than XHTML, which is read as HTML.
    pub(super) fn is_xml(&self) -> bool {
        let is_xml = match self.media_type() {
            Some("text/html") => false,
            Some("application/xml" | "text/xml") => true,
            Some(media) if media.ends_with("+xml") => true,
            _ => self.body.trim_ascii_start().starts_with(b"<?xml"),
        };
        let start = &self.body[..self.body.len().min(1024)];
        is_xml && !start.to_ascii_lowercase().windows(5).any(|w| w == b"<html")
    }

    /// Whether the body is a page, which can have a `<base>`.
    pub(super) fn is_html(&self) -> bool {
        matches!(
            self.media_type(),
            Some("text/html" | "application/xhtml+xml")
        )
    }

    /// The media type without parameters, in lower case as almost all servers write it.
    fn media_type(&self) -> Option<&str> {
        Some(self.content_type()?.split(';').next()?.trim())
    }

    fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }
}

/// The media types that are in use for JSON Lines; none is registered.
fn is_json_lines(media: &str) -> bool {
    let name = media.strip_prefix("application/").unwrap_or_default();
    let name = name.strip_prefix("x-").unwrap_or(name);
    matches!(name, "ndjson" | "jsonl" | "jsonlines" | "json-lines")
}

/// The start of a body, for error messages.
pub(super) fn excerpt(body: &[u8]) -> String {
    let body = body.trim_ascii_start();
    truncate(&String::from_utf8_lossy(&body[..body.len().min(400)]), 80)
}

#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::unwrap_used)]
impl HttpResponse {
    /// A response with this body and Content-Type.
    pub(super) fn of(body: &[u8], media: &str) -> HttpResponse {
        let media = reqwest::header::HeaderValue::from_str(media).unwrap();
        HttpResponse {
            url: Url::parse("http://a.example/").unwrap(),
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media)]),
            body: Bytes::copy_from_slice(body),
            parse_time: PARSE_TIME_MIN,
        }
    }
}
