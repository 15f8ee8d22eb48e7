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
use rowmill_domain::pipeline::HttpStep;
use rowmill_domain::secret::Secrets;
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
    answers: Arc<dyn Answers>,
    /// Whom a step may ask, and how: a step that may not ask a host is not told what it answered
    /// to another step.
    ways: String,
    secrets: Arc<Secrets>,
}

/// What is known of a response before it is asked for.
pub(super) enum Known {
    /// It is there.
    Fetched(Arc<Fetched>),
    /// This child is to fetch it and to tell the others.
    Ours,
    /// Each child fetches it for itself.
    Alone,
}

#[derive(Serialize, Deserialize)]
struct Packed {
    url: String,
    status: u16,
    headers: Vec<(String, String)>,
    /// Deflate, then Base64.
    body: String,
}

impl Shared {
    pub(super) fn new(step: &HttpStep, answers: Arc<dyn Answers>, secrets: Arc<Secrets>) -> Shared {
        Shared {
            answers,
            ways: format!("{:?}\n{:?}\n{}", step.allow_hosts, step.proxy, step.robots),
            secrets,
        }
    }

    fn question(&self, request: &Request) -> String {
        format!("http\n{}\n{}", self.ways, request.key())
    }

    /// Waits where another child is fetching it.
    pub(super) async fn ask(&self, request: &Request) -> Known {
        match self.answers.ask(&self.question(request)).await {
            Ok(Some(answer)) => match unpack(&answer) {
                Some(fetched) => Known::Fetched(Arc::new(fetched)),
                None => Known::Alone,
            },
            Ok(None) => Known::Ours,
            Err(reason) => {
                tracing::warn!(reason, "no other child can be asked for a response");
                Known::Alone
            }
        }
    }

    /// Tells the others what came of it. Without a response, or with one that cannot be shared,
    /// they are told to fetch it for themselves: to wait for each other's failures would take each
    /// the time that the first took.
    pub(super) async fn tell(&self, request: &Request, fetched: Option<&Fetched>) {
        let packed = fetched.and_then(|fetched| self.pack(fetched));
        let answer = packed.unwrap_or_default();
        let question = self.question(request);
        if let Err(reason) = self.answers.answer(&question, Some(&answer)).await {
            tracing::warn!(reason, "other children cannot be told a response");
        }
    }

    /// A response as text; `None` for one that is too large, or holds a secret that the source sent
    /// back, which is not to be stored.
    fn pack(&self, fetched: &Fetched) -> Option<String> {
        let headers = fetched.headers.iter().map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&fetched.body).ok()?;
        let packed = serde_json::to_string(&Packed {
            url: fetched.url.to_string(),
            status: fetched.status.as_u16(),
            headers: headers.collect::<Option<_>>()?,
            body: BASE64.encode(packer.finish().ok()?),
        })
        .ok()?;
        let holds_secret = |text: &str| self.secrets.redact(text) != text;
        let secret = holds_secret(&packed) || holds_secret(&String::from_utf8_lossy(&fetched.body));
        (packed.len() <= SHARED_MAX && !secret).then_some(packed)
    }
}

fn unpack(answer: &str) -> Option<Fetched> {
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
    Some(Fetched {
        url: Url::parse(&packed.url).ok()?,
        status: StatusCode::from_u16(packed.status).ok()?,
        headers,
        body: Bytes::from(body),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// A run's answers, of one child that never waits.
    #[derive(Debug, Default)]
    struct Told(Mutex<HashMap<String, String>>);

    #[async_trait]
    impl Answers for Told {
        async fn ask(&self, question: &str) -> Result<Option<String>, String> {
            Ok(self.0.lock().unwrap().get(question).cloned())
        }

        async fn answer(&self, question: &str, answer: Option<&str>) -> Result<(), String> {
            let answer = answer.unwrap().to_owned();
            self.0.lock().unwrap().insert(question.to_owned(), answer);
            Ok(())
        }
    }

    fn step(allowed: &str) -> HttpStep {
        let text = format!(
            "[[step]]\nkind = \"http\"\nurl = \"http://a.example/\"\nallow_hosts = [{allowed}]\n\
             outputs = {{ s = {{ status = true }} }}"
        );
        let pipeline = rowmill_domain::Pipeline::parse("p.toml", &text).unwrap();
        match pipeline.steps.into_iter().next().unwrap().kind {
            rowmill_domain::pipeline::StepKind::Http(http) => *http,
            other => panic!("{other:?}"),
        }
    }

    fn request() -> Request {
        Request {
            method: reqwest::Method::GET,
            url: Url::parse("http://a.example/x").unwrap(),
            headers: HeaderMap::new(),
            body: None,
        }
    }

    fn shared(answers: &Arc<Told>, allowed: &str, secrets: Secrets) -> Shared {
        Shared::new(&step(allowed), answers.clone(), Arc::new(secrets))
    }

    #[tokio::test]
    async fn a_response_comes_back_as_it_was() {
        let answers = Arc::new(Told::default());
        let sharing = shared(&answers, "", Secrets::default());
        assert!(matches!(sharing.ask(&request()).await, Known::Ours));
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
            sharing.tell(&request(), Some(&fetched)).await;
            let Known::Fetched(told) = sharing.ask(&request()).await else {
                panic!("{} bytes are not shared", body.len());
            };
            assert_eq!(told.body, fetched.body);
            assert_eq!(told.headers, fetched.headers);
            assert_eq!((told.status, &told.url), (fetched.status, &fetched.url));
        }
        // A step that may ask other hosts is another one.
        let other = shared(&answers, "\"10.0.0.1\"", Secrets::default());
        assert!(matches!(other.ask(&request()).await, Known::Ours));
    }

    #[tokio::test]
    async fn what_cannot_be_shared_is_fetched_by_each() {
        let answers = Arc::new(Told::default());
        let variable = ("ROWMILL_SECRET_KEY".into(), "hunter-2-hunter".into());
        let secrets = Secrets::of_environment([variable]);
        assert!(!secrets.is_empty());
        let sharing = shared(&answers, "", secrets);
        let noise: Vec<u8> = std::iter::successors(Some(1_u32), |n| {
            Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        })
        .take(SHARED_MAX)
        .map(|n| (n >> 24) as u8)
        .collect();
        let large = Fetched::of(&noise, "text/plain");
        let secret = Fetched::of(b"your key: hunter-2-hunter", "text/plain");
        let mut odd = Fetched::of(b"x", "text/plain");
        odd.headers
            .insert("x", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        for fetched in [Some(&large), Some(&secret), Some(&odd), None] {
            sharing.tell(&request(), fetched).await;
            assert!(matches!(sharing.ask(&request()).await, Known::Alone));
        }
    }
}
