//! A response that the children of a run share, so that one of them asks the source for it.

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
use super::response::{Fetched, RESPONSE_MAX};
use crate::Answers;

/// Bytes of a response that others are told, packed. Each KiB of an answer is a write unit of
/// DynamoDB, and for a page above this those cost more than to fetch it in each child.
const SHARED_MAX: usize = 16 * 1024;

/// Responses by what was asked.
pub(super) struct Shared {
    pub(super) answers: Arc<dyn Answers>,
    /// Whom a step may ask, and how: a step that may not ask a host is not told what it answered
    /// to another step.
    ways: String,
    secrets: Arc<Secrets>,
}

#[derive(Serialize, Deserialize)]
struct Packed {
    /// Where redirects led; not the one that was asked for, which may hold a secret.
    url: Option<String>,
    status: u16,
    headers: Vec<(String, String)>,
    /// Deflate, then Base64.
    body: String,
}

impl Shared {
    pub(super) fn new(step: &HttpStep, answers: Arc<dyn Answers>, secrets: Arc<Secrets>) -> Shared {
        Shared {
            answers,
            ways: format!(
                "{:?}\n{:?}\n{:?}\n{}",
                step.allow_hosts, step.proxy, step.ca, step.robots
            ),
            secrets,
        }
    }

    /// What the children ask each other: a step that may go another way asks another question.
    pub(super) fn question(&self, request: &Request) -> String {
        format!("http\n{}\n{}", self.ways, request.key())
    }

    /// A response as text; `None` for one that is too large, or holds a secret that the source sent
    /// back, which is not to be stored.
    pub(super) fn pack(&self, request: &Request, fetched: &Fetched) -> Option<String> {
        let headers = fetched.headers.iter().map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let mut packed = Packed {
            url: (fetched.url != request.url).then(|| fetched.url.to_string()),
            status: fetched.status.as_u16(),
            headers: headers.collect::<Option<_>>()?,
            body: String::new(),
        };
        let holds_secret = |text: &str| self.secrets.redact(text) != text;
        let secret_in_front = holds_secret(&serde_json::to_string(&packed).ok()?);
        // Ends as soon as there is no more room: a body may have 10 MiB.
        let mut room = [0; SHARED_MAX];
        let mut packer = DeflateEncoder::new(&mut room[..], Compression::fast());
        packer.write_all(&fetched.body).ok()?;
        let left = packer.finish().ok()?.len();
        packed.body = BASE64.encode(&room[..SHARED_MAX - left]);
        let text = serde_json::to_string(&packed).ok()?;
        let shared = text.len() <= SHARED_MAX
            && !secret_in_front
            && !holds_secret(&String::from_utf8_lossy(&fetched.body));
        shared.then_some(text)
    }

    /// The response to `request` that another child told of; `None` where each is to fetch it for
    /// itself.
    pub(super) fn unpack(&self, request: &Request, answer: &str) -> Option<Fetched> {
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
        Some(Fetched {
            url,
            status: StatusCode::from_u16(packed.status).ok()?,
            headers,
            body: Bytes::from(body),
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

    fn shared(keys: &str, secrets: Secrets) -> Shared {
        let text = format!(
            "[[step]]\nkind = \"http\"\nurl = \"http://a.example/\"\n{keys}\n\
             outputs = {{ s = {{ status = true }} }}"
        );
        let pipeline = rowmill_pipeline::Pipeline::parse("p.toml", &text).unwrap();
        let step = match pipeline.steps.into_iter().next().unwrap().kind {
            rowmill_pipeline::StepKind::Http(http) => *http,
            other => panic!("{other:?}"),
        };
        Shared::new(&step, Arc::new(NoAnswers), Arc::new(secrets))
    }

    fn request(url: &str) -> Request {
        Request {
            method: reqwest::Method::GET,
            url: Url::parse(url).unwrap(),
            headers: HeaderMap::new(),
            body: None,
            confides: false,
        }
    }

    fn hunter() -> Secrets {
        let variable = ("ROWMILL_SECRET_KEY".into(), "hunter-2-hunter".into());
        let secrets = Secrets::of_environment([variable]);
        assert!(!secrets.is_empty());
        secrets
    }

    #[test]
    fn a_response_comes_back_as_it_was() {
        let sharing = shared("", Secrets::default());
        let request = request("http://a.example/x");
        for body in [
            &b"{\"due\":1}"[..],
            b"",
            b"\xff\x00caf\xe9",
            &[b'x'; 200_000],
        ] {
            let mut fetched = Fetched::of(body, "text/html; charset=ISO-8859-1");
            for link in ["<a>; rel=\"prev\"", "<b>; rel=\"next\""] {
                fetched
                    .headers
                    .append("link", HeaderValue::from_static(link));
            }
            for url in ["http://a.example/x", "http://a.example/led/elsewhere"] {
                fetched.url = Url::parse(url).unwrap();
                let packed = sharing.pack(&request, &fetched).unwrap();
                let told = sharing.unpack(&request, &packed).unwrap();
                assert_eq!(told.body, fetched.body);
                assert_eq!(told.headers, fetched.headers);
                assert_eq!(
                    (told.status, told.url),
                    (fetched.status, fetched.url.clone())
                );
            }
        }
    }

    #[test]
    fn a_step_is_told_only_what_one_with_the_same_leave_asked() {
        let request = request("http://a.example/x");
        let ways = [
            "",
            "allow_hosts = [\"10.0.0.1\"]",
            "robots = false",
            "proxy = \"http://proxy.example:3128\"",
            "ca = \"\"\"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\"\"\"",
        ];
        let questions: std::collections::HashSet<String> = ways
            .iter()
            .map(|keys| shared(keys, Secrets::default()).question(&request))
            .collect();
        assert_eq!(questions.len(), ways.len());
    }

    #[test]
    fn what_cannot_be_shared_is_fetched_by_each() {
        let sharing = shared("", hunter());
        let request = request("http://a.example/x");
        let noise: Vec<u8> = std::iter::successors(Some(1_u32), |n| {
            Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        })
        .take(SHARED_MAX)
        .map(|n| (n >> 24) as u8)
        .collect();
        let large = Fetched::of(&noise, "text/plain");
        // Fits until it is Base64.
        let largish = Fetched::of(&noise[..SHARED_MAX * 7 / 8], "text/plain");
        let secret = Fetched::of(b"your key: hunter-2-hunter", "text/plain");
        let mut header = Fetched::of(b"x", "text/plain");
        header
            .headers
            .insert("x", HeaderValue::from_static("hunter-2-hunter"));
        let mut odd = Fetched::of(b"x", "text/plain");
        odd.headers
            .insert("x", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let mut led = Fetched::of(b"x", "text/plain");
        led.url = Url::parse("http://a.example/y?key=hunter-2-hunter").unwrap();
        for fetched in [&large, &largish, &secret, &header, &odd, &led] {
            assert_eq!(sharing.pack(&request, fetched), None);
        }
        // What stands for a response that cannot be shared.
        assert!(sharing.unpack(&request, "").is_none());
    }

    #[test]
    fn an_answer_to_an_address_with_a_secret_is_shared_without_the_address() {
        let sharing = shared("", hunter());
        let request = request("http://a.example/x?key=hunter-2-hunter");
        let mut fetched = Fetched::of(b"{\"due\":1}", "application/json");
        fetched.url = request.url.clone();
        let packed = sharing.pack(&request, &fetched).unwrap();
        assert!(!packed.contains("hunter"), "{packed}");
        let told = sharing.unpack(&request, &packed).unwrap();
        assert_eq!(told.url, request.url);
    }
}
