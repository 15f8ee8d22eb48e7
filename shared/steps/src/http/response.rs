//! A response with its body, up to a limit, and the texts that it holds.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use super::fault::Fault;
use crate::{brief, digits};

/// Largest response, in bytes after decompression: room for any page or JSON that cells are
/// taken from, and 16 of them at once fit a child of 512 MiB.
pub(super) const RESPONSE_MAX: usize = 10 * 1024 * 1024;

/// A response, read whole.
pub(super) struct Fetched {
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl crate::cache::Answer for Fetched {
    fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// Reads a body up to [`RESPONSE_MAX`] bytes, counted after decompression as they come.
pub(super) async fn read(mut response: Response) -> Result<Fetched, Fault> {
    let (status, url) = (response.status(), response.url().clone());
    let too_large = || {
        let mib = RESPONSE_MAX / (1024 * 1024);
        Fault::answered(format!("the response is larger than {mib} MiB"))
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > RESPONSE_MAX as u64 {
        return Err(too_large());
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Fault::of(&e))? {
        match &body {
            // Most bodies come as one chunk, which is then not copied.
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
    let body = if rest.is_empty() {
        body.unwrap_or_default()
    } else {
        rest.freeze()
    };
    Ok(Fetched {
        url,
        status,
        headers,
        body,
    })
}

impl Fetched {
    /// Whether the body holds nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }

    /// JSON is UTF-8 (RFC 8259), and yet some servers declare another charset and send it.
    pub(super) fn json(&self) -> Result<serde_json::Value, String> {
        let bytes = &self.body[..];
        // A reader may pass over a byte order mark; some servers send one.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let parse = |bytes: &[u8]| serde_json::from_slice(&digits::keep(bytes));
        let parsed = match self.declared() {
            Some(encoding) if encoding != encoding_rs::UTF_8 => {
                parse(encoding.decode(bytes).0.as_bytes())
            }
            _ => parse(bytes),
        };
        parsed.map_err(|e| format!("the response is no JSON ({e}): {}", excerpt(bytes)))
    }

    /// The page's text: by byte order mark, else by the charset of Content-Type, else of a `<meta>`
    /// in the first kilobyte, else UTF-8.
    pub(super) fn text(&self) -> Cow<'_, str> {
        let start = &self.body[..self.body.len().min(1024)];
        let encoding = self
            .declared()
            .or_else(|| charset(&String::from_utf8_lossy(start)))
            .unwrap_or(encoding_rs::UTF_8);
        encoding.decode(&self.body).0
    }

    /// The charset of Content-Type.
    fn declared(&self) -> Option<&'static encoding_rs::Encoding> {
        charset(self.headers.get(CONTENT_TYPE)?.to_str().ok()?)
    }
}

/// The start of a body, for reasons.
pub(super) fn excerpt(body: &[u8]) -> String {
    let body = body.trim_ascii_start();
    brief(&String::from_utf8_lossy(&body[..body.len().min(400)]), 80)
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
impl Fetched {
    /// A body with that Content-Type.
    pub(super) fn of(body: &[u8], media: &str) -> Fetched {
        let media = reqwest::header::HeaderValue::from_str(media).unwrap();
        Fetched {
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
    fn texts_are_decoded_by_header_meta_or_mark() {
        let text = |body: &[u8], media: &str| Fetched::of(body, media).text().into_owned();
        let latin = "text/html; charset=ISO-8859-1";
        assert_eq!(text(b"<p>caf\xe9", latin), "<p>café");
        let meta = b"<meta charset='windows-1252'><p>caf\xe9";
        assert!(text(meta, "text/html").ends_with("<p>café"));
        assert_eq!(text("<p>café".as_bytes(), "text/html"), "<p>café");
        assert_eq!(text(b"\xef\xbb\xbf<p>caf\xc3\xa9", latin), "<p>café");
    }

    #[test]
    fn json_is_decoded_as_its_header_says() {
        let json = |body: &[u8], media: &str| Fetched::of(body, media).json();
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
        assert!(wrong.contains("no JSON"), "{wrong}");
    }
}
