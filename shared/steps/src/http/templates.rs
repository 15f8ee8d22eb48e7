//! The templates of a step from which the request of each record is rendered.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rowmill_domain::Row;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::{HttpMethod, HttpStep, Template};
use url::Url;

use super::request::{Request, redacted_url};
use crate::guard::Guard;
use crate::{SetupError, truncate};

/// The templates of a step's request.
pub(super) struct Templates {
    method: Method,
    url: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    form: Vec<(String, Template)>,
    /// Whether the body or form contains a secret.
    has_secret_body: bool,
}

/// Parses a URL. One without a scheme, as people write it, is `https`.
fn parse(text: &str) -> Result<Url, url::ParseError> {
    let (host, after) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
    if host.is_empty() && after.starts_with("//") {
        return Url::parse(&format!("https:{text}"));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_port = port.bytes().all(|b| b.is_ascii_digit());
    // Not a number such as 12.5, which would be an IPv4 address.
    let last = name.trim_end_matches('.').rsplit('.').next();
    let has_letter = last.is_some_and(|label| label.chars().any(char::is_alphabetic));
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok();
    let is_name = name.contains('.') && !name.contains(['@', '\\', ' ']);
    let is_name = is_name && (has_letter || is_address);
    match is_name && is_port {
        true => Url::parse(&format!("https://{text}")),
        false => Url::parse(text),
    }
}

impl Templates {
    pub(super) fn new(step: &HttpStep) -> Result<Templates, SetupError> {
        let headers = step.headers.iter().map(|(name, value)| {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let name = parsed.map_err(|_| SetupError::Header(name.clone()))?;
            Ok((name, value.clone()))
        });
        Ok(Templates {
            method: match step.method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Post => Method::POST,
                HttpMethod::Put => Method::PUT,
                HttpMethod::Patch => Method::PATCH,
                HttpMethod::Delete => Method::DELETE,
                HttpMethod::Head => Method::HEAD,
            },
            url: step.url.clone(),
            query: step.query.clone(),
            headers: headers.collect::<Result<_, SetupError>>()?,
            body: step.body.clone(),
            form: step.form.clone(),
            has_secret_body: (step.body.iter())
                .chain(step.form.iter().map(|(_, value)| value))
                .any(|template| !template.secrets().is_empty()),
        })
    }

    /// Renders the request for a record.
    ///
    /// # Errors
    /// A template fails, or the URL is invalid or refused.
    pub(super) fn request(
        &self,
        row: Row<'_>,
        guard: &Guard,
        secrets: &Secrets,
    ) -> Result<Request, String> {
        let text = self
            .url
            .render_with(row, secrets)
            .map_err(|e| format!("url: {e}"))?;
        let mut url = parse(text.trim())
            .map_err(|e| format!("invalid URL `{}`: {e}", truncate(&text, 200)))?;
        guard
            .check_url(&url)
            .map_err(|e| format!("{}: {e}", redacted_url(&url)))?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let text = template
                .render_with(row, secrets)
                .map_err(|e| format!("header {name}: {e}"))?;
            let mut value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| format!("header {name}: the value contains control characters"))?;
            value.set_sensitive(!template.secrets().is_empty());
            headers.append(name, value);
        }
        for (name, template) in &self.query {
            let value = template
                .render_with(row, secrets)
                .map_err(|e| format!("query {name}: {e}"))?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        let (body, media) = self.body(row, secrets)?;
        if body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        Ok(Request {
            method: self.method.clone(),
            url,
            headers,
            body: body.map(Bytes::from),
            has_secret_body: self.has_secret_body,
        })
    }

    /// Renders the body for a record. Returns it with its default media type.
    fn body(
        &self,
        row: Row<'_>,
        secrets: &Secrets,
    ) -> Result<(Option<String>, &'static str), String> {
        if !self.form.is_empty() {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, template) in &self.form {
                let value = template
                    .render_with(row, secrets)
                    .map_err(|e| format!("form {name}: {e}"))?;
                form.append_pair(name, &value);
            }
            return Ok((Some(form.finish()), "application/x-www-form-urlencoded"));
        }
        let Some(template) = &self.body else {
            return Ok((None, ""));
        };
        let body = template
            .render_with(row, secrets)
            .map_err(|e| format!("body: {e}"))?;
        let media = if body.trim_start().starts_with(['{', '[']) {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        Ok((Some(body), media))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_https() {
        for (text, expected) in [
            ("example.com", "https://example.com/"),
            ("example.com/a?b#c", "https://example.com/a?b#c"),
            (
                "example.com?q=http://b.example",
                "https://example.com/?q=http://b.example",
            ),
            ("www.example.com:8080/a", "https://www.example.com:8080/a"),
            ("//example.com/a", "https://example.com/a"),
            ("10.0.0.1/a", "https://10.0.0.1/a"),
            ("m\u{fc}ller.example", "https://xn--mller-kva.example/"),
            ("http://example.com:80/a", "http://example.com/a"),
            ("HTTPS://example.com", "https://example.com/"),
            ("mailto:a@example.com", "mailto:a@example.com"),
        ] {
            let url = parse(text).map(String::from);
            assert_eq!(url.as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "example",
            "/a",
            "a@example.com",
            "12.5 EUR",
            "12.5",
            "1.2.3/4",
            "n/a",
            "...",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
