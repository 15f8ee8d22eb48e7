//! A response with its whole body, and the body as JSON and as text.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use super::attempt_error::AttemptError;
use super::content_encoding::BodyDecoder;
use crate::{digits, truncate};

/// Largest response, in bytes after decompression. Pages and JSON documents are far smaller, and 16
/// responses of this size fit a child with 512 MiB.
pub(super) const RESPONSE_MAX: usize = 10 * 1024 * 1024;

/// A response with its whole body.
pub(super) struct HttpResponse {
    /// The URL after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
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

/// Reads and decodes a body of up to [`RESPONSE_MAX`] bytes, counted after decompression.
pub(super) async fn read(mut response: Response) -> Result<HttpResponse, AttemptError> {
    let (status, url) = (response.status(), response.url().clone());
    if response.content_length().unwrap_or(0) > RESPONSE_MAX as u64 {
        return Err(too_large());
    }
    let mut headers = std::mem::take(response.headers_mut());
    let decoder = BodyDecoder::new(&headers)?;
    let body = if decoder.is_identity() {
        read_plain(&mut response).await?
    } else {
        // They describe the encoded body.
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        read_encoded(&mut response, decoder).await?
    };
    Ok(HttpResponse {
        url,
        status,
        headers,
        body,
    })
}

async fn read_plain(response: &mut Response) -> Result<Bytes, AttemptError> {
    let mut body: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| AttemptError::of(&e))? {
        match &body {
            // Most bodies arrive as one chunk, which then needs no copy.
            None => body = Some(chunk),
            Some(first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                rest.extend_from_slice(&chunk);
            }
        }
        if rest.len().max(body.as_ref().map_or(0, Bytes::len)) > RESPONSE_MAX {
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
) -> Result<Bytes, AttemptError> {
    let (mut body, mut received) = (Vec::new(), 0);
    while let Some(chunk) = response.chunk().await.map_err(|e| AttemptError::of(&e))? {
        received += chunk.len();
        // Empty gzip members, or padding, decode to nothing.
        if received > RESPONSE_MAX {
            return Err(too_large());
        }
        decoder.decode(&chunk, &mut body)?;
    }
    decoder.finish(&mut body)?;
    Ok(body.into())
}

impl HttpResponse {
    /// Whether the body is blank.
    pub(super) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// The body as JSON. JSON is UTF-8 (RFC 8259), but some servers declare another charset and use
    /// it.
    pub(super) fn json(&self) -> Result<serde_json::Value, String> {
        let bytes = &self.body[..];
        // Parsers may ignore a byte order mark, and some servers send one.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let parse = |bytes: &[u8]| serde_json::from_slice(&digits::quote_large_integers(bytes));
        let parsed = match self.declared_charset() {
            Some(encoding) if encoding != encoding_rs::UTF_8 => {
                parse(encoding.decode(bytes).0.as_bytes())
            }
            _ => parse(bytes),
        };
        parsed.map_err(|e| format!("the response is not JSON ({e}): {}", excerpt(bytes)))
    }

    /// The body as text. The charset comes from the byte order mark, else from Content-Type, else
    /// from a `<meta>` in the first kilobyte, else it is UTF-8.
    pub(super) fn text(&self) -> Cow<'_, str> {
        let start = &self.body[..self.body.len().min(1024)];
        let encoding = self
            .declared_charset()
            .or_else(|| charset(&String::from_utf8_lossy(start)))
            .unwrap_or(encoding_rs::UTF_8);
        encoding.decode(&self.body).0
    }

    /// The charset that Content-Type declares.
    fn declared_charset(&self) -> Option<&'static encoding_rs::Encoding> {
        charset(self.headers.get(CONTENT_TYPE)?.to_str().ok()?)
    }
}

/// The start of a body, for error messages.
pub(super) fn excerpt(body: &[u8]) -> String {
    let body = body.trim_ascii_start();
    truncate(&String::from_utf8_lossy(&body[..body.len().min(400)]), 80)
}

/// The encoding after the first `charset=`.
fn charset(text: &str) -> Option<&'static encoding_rs::Encoding> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("charset=")?;
    let rest = rest.trim_start_matches(['"', '\'']);
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c)));
    encoding_rs::Encoding::for_label(&rest.as_bytes()[..end.unwrap_or(rest.len())])
}

#[cfg(test)]
impl HttpResponse {
    /// A response with this body and Content-Type.
    pub(super) fn of(body: &[u8], media: &str) -> HttpResponse {
        let media = reqwest::header::HeaderValue::from_str(media).unwrap();
        HttpResponse {
            url: Url::parse("http://a.example/").unwrap(),
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media)]),
            body: Bytes::copy_from_slice(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_by_byte_order_mark_header_or_meta() {
        let text = |body: &[u8], media: &str| HttpResponse::of(body, media).text().into_owned();
        let latin = "text/html; charset=ISO-8859-1";
        assert_eq!(text(b"<p>caf\xe9", latin), "<p>café");
        let meta = b"<meta charset='windows-1252'><p>caf\xe9";
        assert!(text(meta, "text/html").ends_with("<p>café"));
        assert_eq!(text("<p>café".as_bytes(), "text/html"), "<p>café");
        assert_eq!(text(b"\xef\xbb\xbf<p>caf\xc3\xa9", latin), "<p>café");
    }

    #[test]
    fn json_is_decoded_with_the_declared_charset() {
        let json = |body: &[u8], media: &str| HttpResponse::of(body, media).json();
        let expected = serde_json::json!({"x": "café"});
        let latin = b"{\"x\":\"caf\xe9\"}";
        let utf8 = "{\"x\":\"café\"}".as_bytes();
        for (body, media) in [
            (&latin[..], "application/json; charset=iso-8859-1"),
            (utf8, "application/json; charset=utf-8"),
            (utf8, "application/json"),
        ] {
            assert_eq!(json(body, media).as_ref(), Ok(&expected), "{media}");
        }
        let wrong = json(latin, "application/json").unwrap_err();
        assert!(wrong.contains("not JSON"), "{wrong}");
    }
}
