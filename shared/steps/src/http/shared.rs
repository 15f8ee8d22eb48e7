//! Responses that the children of a run share, so that only one of them sends the request.

use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::HttpStep;
use serde::{Deserialize, Serialize};
use url::Url;

use super::request::Request;
use super::response::{HttpResponse, PARSE_TIME_MIN, RESPONSE_MAX};
use crate::Answers;

/// Largest packed response that is shared, in bytes. DynamoDB charges a write unit for each KiB;
/// above this size that costs more than fetching the page in each child.
const PACKED_MAX: usize = 16 * 1024;

/// The shared responses of a step.
pub(super) struct SharedResponses {
    pub(super) answers: Arc<dyn Answers>,
    /// The settings that decide which hosts the step can reach, and how. They are part of the
    /// question, so that a step never gets a response from a host that it may not reach itself.
    access: String,
    secrets: Arc<Secrets>,
}

/// A response as it is stored.
#[derive(Serialize, Deserialize)]
struct Packed {
    /// The URL after redirects. `None` if it is the requested one, which may contain a secret.
    url: Option<String>,
    status: u16,
    headers: Vec<(String, String)>,
    /// Deflate, then Base64.
    body: String,
}

impl SharedResponses {
    pub(super) fn new(
        step: &HttpStep,
        answers: Arc<dyn Answers>,
        secrets: Arc<Secrets>,
    ) -> SharedResponses {
        SharedResponses {
            answers,
            access: format!(
                "{:?}\n{:?}\n{:?}\n{}\n{:?}",
                step.allow_hosts, step.proxy, step.ca, step.robots, step.auth
            ),
            secrets,
        }
    }

    /// The key of a shared response.
    pub(super) fn question(&self, request: &Request) -> String {
        format!("http\n{}\n{}", self.access, request.key())
    }

    /// A response as text. `None` if it is too large or contains a secret, which must not be stored.
    pub(super) fn pack(&self, request: &Request, response: &HttpResponse) -> Option<String> {
        let headers = response.headers.iter().map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let mut packed = Packed {
            url: (response.url != request.url).then(|| response.url.to_string()),
            status: response.status.as_u16(),
            headers: headers.collect::<Option<_>>()?,
            body: String::new(),
        };
        let holds_secret = |text: &str| self.secrets.redact(text) != text;
        let secret_in_headers = holds_secret(&serde_json::to_string(&packed).ok()?);
        // Stops as soon as the buffer is full: a body may have 10 MiB.
        let mut room = [0; PACKED_MAX];
        let mut packer = DeflateEncoder::new(&mut room[..], Compression::fast());
        packer.write_all(&response.body).ok()?;
        let left = packer.finish().ok()?.len();
        packed.body = BASE64.encode(&room[..PACKED_MAX - left]);
        let text = serde_json::to_string(&packed).ok()?;
        let can_share = text.len() <= PACKED_MAX
            && !secret_in_headers
            && !holds_secret(&String::from_utf8_lossy(&response.body));
        can_share.then_some(text)
    }

    /// The response to `request` that another child shared. `None` if each child fetches its own.
    pub(super) fn unpack(&self, request: &Request, answer: &str) -> Option<HttpResponse> {
        let packed: Packed = serde_json::from_str(answer).ok()?;
        let mut headers = HeaderMap::new();
        for (name, value) in &packed.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
        let deflated = BASE64.decode(&packed.body).ok()?;
        let mut body = Vec::new();
        let mut limited = DeflateDecoder::new(&deflated[..]).take(RESPONSE_MAX as u64);
        limited.read_to_end(&mut body).ok()?;
        let url = match packed.url {
            Some(url) => Url::parse(&url).ok()?,
            None => request.url.clone(),
        };
        Some(HttpResponse {
            url,
            status: StatusCode::from_u16(packed.status).ok()?,
            headers,
            body: Bytes::from(body),
            parse_time: PARSE_TIME_MIN,
        })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    #[derive(Debug)]
    struct NoAnswers;

    #[async_trait]
    impl Answers for NoAnswers {
        async fn ask(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }

        async fn answer(&self, _: &str, _: Option<&str>) -> Result<(), String> {
            Ok(())
        }
    }

    fn step_with(keys: &str, secrets: Secrets) -> SharedResponses {
        let text = format!(
            "[[step]]\nkind = \"http\"\nurl = \"http://a.example/\"\n{keys}\n\
             outputs = {{ s = {{ status = true }} }}"
        );
        let pipeline = rowmill_pipeline::Pipeline::parse("p.toml", &text).unwrap();
        let step = match pipeline.steps.into_iter().next().unwrap().kind {
            rowmill_pipeline::StepKind::Http(http) => *http,
            other => panic!("{other:?}"),
        };
        SharedResponses::new(&step, Arc::new(NoAnswers), Arc::new(secrets))
    }

    fn request(url: &str) -> Request {
        Request {
            method: reqwest::Method::GET,
            url: Url::parse(url).unwrap(),
            headers: HeaderMap::new(),
            body: None,
            has_secret_body: false,
        }
    }

    fn hunter() -> Secrets {
        let variable = ("ROWMILL_SECRET_KEY".into(), "hunter-2-hunter".into());
        let secrets = Secrets::from_environment([variable]);
        assert!(!secrets.is_empty());
        secrets
    }

    #[test]
    fn a_shared_response_is_unpacked_unchanged() {
        let sharing = step_with("", Secrets::default());
        let request = request("http://a.example/x");
        for body in [
            &b"{\"due\":1}"[..],
            b"",
            b"\xff\x00caf\xe9",
            &[b'x'; 200_000],
        ] {
            let mut fetched = HttpResponse::of(body, "text/html; charset=ISO-8859-1");
            for link in ["<a>; rel=\"prev\"", "<b>; rel=\"next\""] {
                fetched
                    .headers
                    .append("link", HeaderValue::from_static(link));
            }
            for url in ["http://a.example/x", "http://a.example/led/elsewhere"] {
                fetched.url = Url::parse(url).unwrap();
                let packed = sharing.pack(&request, &fetched).unwrap();
                let unpacked = sharing.unpack(&request, &packed).unwrap();
                assert_eq!(unpacked.body, fetched.body);
                assert_eq!(unpacked.headers, fetched.headers);
                assert_eq!(
                    (unpacked.status, unpacked.url),
                    (fetched.status, fetched.url.clone())
                );
            }
        }
    }

    #[test]
    fn steps_share_responses_only_if_they_may_reach_the_same_hosts() {
        let request = request("http://a.example/x");
        let settings = [
            "",
            "allow_hosts = [\"10.0.0.1\"]",
            "robots = false",
            "proxy = \"http://proxy.example:3128\"",
            "ca = \"\"\"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\"\"\"",
        ];
        let questions: std::collections::HashSet<String> = settings
            .iter()
            .map(|keys| step_with(keys, Secrets::default()).question(&request))
            .collect();
        assert_eq!(questions.len(), settings.len());
    }

    #[test]
    fn large_secret_or_non_text_responses_are_not_shared() {
        let sharing = step_with("", hunter());
        let request = request("http://a.example/x");
        let noise: Vec<u8> = std::iter::successors(Some(1_u32), |n| {
            Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        })
        .take(PACKED_MAX)
        .map(|n| (n >> 24) as u8)
        .collect();
        let large = HttpResponse::of(&noise, "text/plain");
        // Fits before Base64, but not after.
        let nearly_large = HttpResponse::of(&noise[..PACKED_MAX * 7 / 8], "text/plain");
        let secret = HttpResponse::of(b"your key: hunter-2-hunter", "text/plain");
        let mut header = HttpResponse::of(b"x", "text/plain");
        header
            .headers
            .insert("x", HeaderValue::from_static("hunter-2-hunter"));
        let mut odd = HttpResponse::of(b"x", "text/plain");
        odd.headers
            .insert("x", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let mut redirected = HttpResponse::of(b"x", "text/plain");
        redirected.url = Url::parse("http://a.example/y?key=hunter-2-hunter").unwrap();
        for fetched in [&large, &nearly_large, &secret, &header, &odd, &redirected] {
            assert_eq!(sharing.pack(&request, fetched), None);
        }
        // The answer for a response that cannot be shared.
        assert!(sharing.unpack(&request, "").is_none());
    }

    #[test]
    fn a_response_is_shared_without_its_url_if_that_contains_a_secret() {
        let sharing = step_with("", hunter());
        let request = request("http://a.example/x?key=hunter-2-hunter");
        let mut fetched = HttpResponse::of(b"{\"due\":1}", "application/json");
        fetched.url = request.url.clone();
        let packed = sharing.pack(&request, &fetched).unwrap();
        assert!(!packed.contains("hunter"), "{packed}");
        let unpacked = sharing.unpack(&request, &packed).unwrap();
        assert_eq!(unpacked.url, request.url);
    }
}
