//! What is sent for a record, and where redirects lead it.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, USER_AGENT};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::brief;

/// A request; the same on each attempt.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// Whether a secret is in the body.
    pub(super) confides: bool,
}

impl Request {
    /// What makes two GETs the same.
    pub(super) fn key(&self) -> String {
        let mut key = self.url.as_str().to_owned();
        for (name, value) in &self.headers {
            key += &format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        key
    }

    /// The hop that a redirect leads to, as browsers do it (WHATWG Fetch, "HTTP-redirect fetch"):
    /// a POST becomes a GET by 301 and 302, and all but a HEAD by 303.
    pub(super) fn redirected(
        mut self,
        status: StatusCode,
        location: &str,
    ) -> Result<Request, String> {
        let url = self.url.join(location).map_err(|e| {
            let location = brief(location, 200);
            format!("{status}: `{location}` is no valid URL: {e}")
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
        self.towards(url).map_err(|e| format!("{status}: {e}"))
    }

    /// The same for another URL. To another origin go no headers of the pipeline but these few,
    /// for the others may hold what is meant for the first, and no body that holds a secret.
    pub(super) fn towards(mut self, url: Url) -> Result<Request, String> {
        if url.origin() != self.url.origin() {
            if self.confides && self.body.is_some() {
                return Err(format!(
                    "it leads to {}, another origin, where the body is not sent, for it holds a \
                     secret; where it may go there, ask that address in `url`",
                    shown(&url)
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

/// `GET https://host/path`, for reasons.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))
    }
}

/// A URL for reasons: without user, password, query and fragment, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    match url.host_str() {
        Some(host) => {
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            let text = format!("{}://{host}{port}{}", url.scheme(), url.path());
            brief(&text, 200)
        }
        None => format!("{}:", url.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn methods_after_a_redirect() {
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
                confides: true,
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
    fn reasons_show_no_secrets() {
        let url = Url::parse("https://user:secret@a.example:8443/x?key=secret#secret").unwrap();
        assert_eq!(shown(&url), "https://a.example:8443/x");
    }
}
