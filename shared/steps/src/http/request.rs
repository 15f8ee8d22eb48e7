//! The request of a record, and how redirects change it.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, USER_AGENT};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::truncate;

/// A request. All attempts send the same one.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// Whether the body contains a secret.
    pub(super) has_secret_body: bool,
}

impl Request {
    /// The cache key: two GET requests with the same key are the same request.
    pub(super) fn key(&self) -> String {
        let mut key = self.url.as_str().to_owned();
        for (name, value) in &self.headers {
            key += &format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        key
    }

    /// The request that follows a redirect, as in browsers (WHATWG Fetch, "HTTP-redirect fetch"):
    /// 301 and 302 turn a POST into a GET; 303 turns every method but HEAD into a GET.
    pub(super) fn redirected(
        mut self,
        status: StatusCode,
        location: &str,
    ) -> Result<Request, String> {
        let url = self.url.join(location).map_err(|e| {
            let location = truncate(location, 200);
            format!("{status}: invalid URL `{location}`: {e}")
        })?;
        let becomes_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
        self.with_url(url).map_err(|e| format!("{status}: {e}"))
    }

    /// The same request for another URL. If the origin changes, only a few headers are kept, because
    /// the others may contain credentials for the first origin.
    ///
    /// # Errors
    /// The body contains a secret and the origin changes.
    pub(super) fn with_url(mut self, url: Url) -> Result<Request, String> {
        if url.origin() != self.url.origin() {
            if self.has_secret_body && self.body.is_some() {
                return Err(format!(
                    "leads to another origin, {}; the body contains a secret and is not sent \
                     there; if that is acceptable, use that URL in `url`",
                    redacted_url(&url)
                ));
            }
            let all = std::mem::take(&mut self.headers);
            for name in [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT] {
                if let Some(value) = all.get(&name) {
                    self.headers.insert(name, value.clone());
                }
            }
        }
        Ok(Request { url, ..self })
    }
}

/// `GET https://host/path`, for error messages.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, redacted_url(&self.url))
    }
}

/// A URL for error messages: without user, password, query and fragment, which may contain secrets.
pub(super) fn redacted_url(url: &Url) -> String {
    match url.host_str() {
        Some(host) => {
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            let text = format!("{}://{host}{port}{}", url.scheme(), url.path());
            truncate(&text, 200)
        }
        None => format!("{}:", url.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn redirects_change_the_method_as_in_browsers() {
        for (method, status, expected) in [
            (Method::GET, 301, Method::GET),
            (Method::HEAD, 302, Method::HEAD),
            (Method::HEAD, 303, Method::HEAD),
            (Method::POST, 301, Method::GET),
            (Method::POST, 302, Method::GET),
            (Method::POST, 303, Method::GET),
            (Method::POST, 307, Method::POST),
            (Method::POST, 308, Method::POST),
            (Method::PUT, 302, Method::PUT),
            (Method::PUT, 303, Method::GET),
            (Method::DELETE, 307, Method::DELETE),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            let from = Request {
                method: method.clone(),
                url: Url::parse("https://u:p@a.example/x?k=1").unwrap(),
                headers,
                body: Some(Bytes::from_static(b"x")),
                has_secret_body: true,
            };
            let status = StatusCode::from_u16(status).unwrap();
            let to = from.redirected(status, "/y").unwrap();
            assert_eq!(to.method, expected, "{method} {status}");
            let kept = method == expected;
            assert_eq!(
                (to.body.is_some(), to.headers.len()),
                (kept, usize::from(kept))
            );
        }
    }

    #[test]
    fn error_messages_contain_no_secrets_of_the_url() {
        let url = Url::parse("https://user:secret@a.example:8443/x?key=secret#secret").unwrap();
        assert_eq!(redacted_url(&url), "https://a.example:8443/x");
    }
}
