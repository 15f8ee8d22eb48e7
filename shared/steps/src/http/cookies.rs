//! Cookies: kept while the redirects of a request are followed, or for all requests of a step.

use std::sync::{Mutex, MutexGuard};

use cookie_store::CookieStore;
use reqwest::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// The most cookies that are kept. Browsers keep 180 or so for each host.
const COOKIES_MAX: usize = 3_000;
/// The longest header `Cookie`. Common servers refuse more than 8 KiB.
const HEADER_MAX: usize = 8 * 1024;

/// The cookies that servers have set.
#[derive(Default)]
pub(super) struct Cookies(Mutex<CookieStore>);

impl Cookies {
    fn store(&self) -> MutexGuard<'_, CookieStore> {
        match self.0.lock() {
            Ok(store) => store,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Keeps the cookies of a response from this URL. Invalid ones are ignored, as in browsers.
    pub(super) fn keep(&self, url: &Url, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE) {
            let mut store = self.store();
            if store.iter_any().count() >= COOKIES_MAX {
                return;
            }
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                let _ = store.parse(text, url);
            }
        }
    }

    /// Adds the cookies for this URL to a request, after those that the pipeline sets.
    pub(super) fn add(&self, url: &Url, headers: &mut HeaderMap) {
        let mut text = String::new();
        if let Some(own) = headers.get(COOKIE) {
            text += &String::from_utf8_lossy(own.as_bytes());
        }
        let store = self.store();
        let before = text.len();
        for (name, value) in store.get_request_values(url) {
            let separator = if text.is_empty() { "" } else { "; " };
            if text.len() + separator.len() + name.len() + 1 + value.len() <= HEADER_MAX {
                text += &format!("{separator}{name}={value}");
            }
        }
        if text.len() == before {
            return;
        }
        if let Ok(mut value) = HeaderValue::from_bytes(text.as_bytes()) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &Cookies, url: &str) -> String {
        let mut headers = HeaderMap::new();
        cookies.add(&Url::parse(url).unwrap(), &mut headers);
        let value = headers.get(COOKIE).map(|v| v.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    }

    #[test]
    fn cookies_are_sent_to_the_host_and_path_that_they_are_for() {
        let cookies = Cookies::default();
        let set = |url: &str, text: &'static str| {
            let headers = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static(text))]);
            cookies.keep(&Url::parse(url).unwrap(), &headers);
        };
        set("https://a.example/x", "sid=1; HttpOnly");
        set("https://a.example/x", "admin=1; Path=/admin; Secure");
        set("https://a.example/x", "gone=1; Max-Age=0");
        set("https://a.example/x", "other=1; Domain=b.example");
        set("https://a.example/x", "");
        assert_eq!(sent(&cookies, "https://a.example/y"), "sid=1");
        assert!(sent(&cookies, "https://a.example/admin").contains("admin=1"));
        assert!(!sent(&cookies, "http://a.example/admin").contains("admin=1"));
        assert_eq!(sent(&cookies, "https://b.example/"), "");
        assert_eq!(sent(&cookies, "https://sub.a.example/"), "");
        set("https://a.example/", "sid=2");
        assert_eq!(sent(&cookies, "https://a.example/y"), "sid=2");
        set(
            "https://a.example/",
            "sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        );
        assert_eq!(sent(&cookies, "https://a.example/y"), "");
    }

    #[test]
    fn the_cookies_of_the_pipeline_come_first() {
        let cookies = Cookies::default();
        let url = Url::parse("https://a.example/").unwrap();
        let set = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("sid=1"))]);
        cookies.keep(&url, &set);
        let mut headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("own=2"))]);
        cookies.add(&url, &mut headers);
        assert_eq!(headers[COOKIE], "own=2; sid=1");
    }
}
