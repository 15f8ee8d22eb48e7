//! `http`: fetches, and takes outputs out of the response.

mod extract;
mod retry;
#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER, USER_AGENT,
};
use reqwest::{Client, Method, Response, StatusCode};
use rowmill_domain::Row;
use rowmill_domain::pipeline::{HttpMethod, HttpStep, Template};
use rowmill_domain::record::Outputs;
use tokio::time::Instant;
use url::Url;

use self::extract::{Body, Extractor};
use crate::guard::{Guard, Lookup, Refused, SystemLookup};
use crate::pace::Pace;
use crate::{Runner, Setup, SetupError, StepResult, brief};

/// Largest response, in bytes after decompression: room for any page or JSON that cells are
/// taken from, and 16 of them at once fit a child of 512 MiB.
const RESPONSE_MAX: usize = 10 * 1024 * 1024;
/// Redirects followed on one attempt; as many as browsers' and curl's order of magnitude allows
/// before it is a loop.
const REDIRECTS_MAX: usize = 10;
/// How long an idle connection is kept: less than the 60 s after which common load balancers
/// close theirs.
const IDLE: Duration = Duration::from_secs(50);

pub(crate) struct Http {
    client: Client,
    guard: Arc<Guard>,
    pace: Option<Pace>,
    method: Method,
    url: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    timeout: Duration,
    attempts: u32,
    extractor: Extractor,
}

/// What is sent for a record; the same on each attempt.
#[derive(Clone)]
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// A response with its whole body.
struct Fetched {
    headers: HeaderMap,
    body: Bytes,
}

/// Why an attempt gave no response to use.
enum Fault {
    /// Another attempt cannot help.
    Final(String),
    /// It may; the source asks to wait so long.
    Passing(String, Option<Duration>),
}

impl Http {
    pub(crate) fn new(step: &HttpStep, setup: &Setup) -> Result<Http, SetupError> {
        Http::with_lookup(step, setup, Arc::new(SystemLookup))
    }

    fn with_lookup(
        step: &HttpStep,
        setup: &Setup,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Http, SetupError> {
        let guard = Arc::new(Guard::new(&step.allow_hosts)?);
        let headers = step
            .headers
            .iter()
            .map(|(name, value)| {
                let parsed = HeaderName::from_bytes(name.as_bytes());
                let name = parsed.map_err(|_| SetupError::Header(name.clone()))?;
                Ok((name, value.clone()))
            })
            .collect::<Result<_, SetupError>>()?;
        Ok(Http {
            client: client(&guard, setup, lookup)?,
            guard,
            pace: step.rate.map(Pace::new),
            method: match step.method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Post => Method::POST,
            },
            url: step.url.clone(),
            headers,
            body: step.body.clone(),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            extractor: Extractor::new(&step.outputs)?,
        })
    }

    /// The request for a record, or why there can be none.
    fn request(&self, row: Row<'_>) -> Result<Request, String> {
        let text = self.url.render(row).map_err(|e| format!("url: {e}"))?;
        let url = Url::parse(text.trim())
            .map_err(|e| format!("`{}` is no valid URL: {e}", brief(&text, 200)))?;
        self.guard
            .check_url(&url)
            .map_err(|e| format!("{}: {e}", shown(&url)))?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let value = template
                .render(row)
                .map_err(|e| format!("header {name}: {e}"))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("header {name}: control characters cannot be sent"))?;
            headers.append(name, value);
        }
        let body = match &self.body {
            Some(template) => Some(template.render(row).map_err(|e| format!("body: {e}"))?),
            None => None,
        };
        if let Some(body) = &body
            && !headers.contains_key(CONTENT_TYPE)
        {
            let json = body.trim_start().starts_with(['{', '[']);
            let media = if json {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        Ok(Request {
            method: self.method.clone(),
            url,
            headers,
            body: body.map(Bytes::from),
        })
    }

    /// One attempt: the request, its redirects, and the whole body.
    async fn attempt(&self, request: &Request) -> Result<Fetched, Fault> {
        let mut hop = request.clone();
        let mut left = self.timeout;
        for _ in 0..=REDIRECTS_MAX {
            // Every hop is checked here, and its address in the guard's resolver.
            let checked = self.guard.check_url(&hop.url);
            checked.map_err(|e| Fault::Final(e.to_string()))?;
            if let Some(pace) = &self.pace {
                pace.turn().await;
            }
            let start = Instant::now();
            let answer = tokio::time::timeout(left, self.send(&hop)).await;
            let Ok(answer) = answer else {
                let reason = format!("no answer within {:?}", self.timeout);
                return Err(Fault::Passing(reason, None));
            };
            match answer? {
                Answer::Fetched(fetched) => return Ok(fetched),
                Answer::Redirect(status, location) => hop = redirected(hop, status, &location)?,
            }
            left = left.saturating_sub(start.elapsed());
        }
        Err(Fault::Final(format!("more than {REDIRECTS_MAX} redirects")))
    }

    /// One hop.
    async fn send(&self, hop: &Request) -> Result<Answer, Fault> {
        let mut builder = self
            .client
            .request(hop.method.clone(), hop.url.clone())
            .headers(hop.headers.clone());
        if let Some(body) = &hop.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(|e| fault(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer::Fetched(read(response).await?));
        }
        let header = |name| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if retry::is_retryable(status) {
            let asked =
                header(RETRY_AFTER).and_then(|h| retry::retry_after(&h, chrono::Utc::now()));
            return Err(Fault::Passing(status.to_string(), asked));
        }
        match (status.as_u16(), header(LOCATION)) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => Ok(Answer::Redirect(status, location)),
            _ => Err(Fault::Final(status.to_string())),
        }
    }
}

/// What a hop gave.
enum Answer {
    Fetched(Fetched),
    Redirect(StatusCode, String),
}

#[async_trait]
impl Runner for Http {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let request = match self.request(row) {
            Ok(request) => request,
            Err(reason) => return StepResult::failed(reason, 1),
        };
        let told = |reason: &str| format!("{} {}: {reason}", request.method, shown(&request.url));
        let mut attempt = 1;
        loop {
            match self.attempt(&request).await {
                Ok(fetched) => {
                    return match self.outputs(&fetched) {
                        Ok(outputs) => StepResult::ok(outputs, attempt),
                        Err(reason) => StepResult::failed(told(&reason), attempt),
                    };
                }
                Err(Fault::Final(reason)) => return StepResult::failed(told(&reason), attempt),
                Err(Fault::Passing(reason, asked)) if attempt < self.attempts => {
                    let wait = retry::wait(attempt, asked);
                    tracing::debug!(row = row.record.row, attempt, ?wait, reason, "trying again");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                Err(Fault::Passing(reason, _)) => {
                    let reason = match attempt {
                        1 => reason,
                        n => format!("{reason}, {n} attempts"),
                    };
                    return StepResult::failed(told(&reason), attempt);
                }
            }
        }
    }

    async fn close(&self) {}
}

impl Http {
    fn outputs(&self, fetched: &Fetched) -> Result<Outputs, String> {
        self.extractor.extract(&Body {
            headers: &fetched.headers,
            bytes: &fetched.body,
        })
    }
}

fn client(
    guard: &Arc<Guard>,
    setup: &Setup,
    lookup: Arc<dyn Lookup>,
) -> Result<Client, SetupError> {
    // Fails where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("rowmill/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .dns_resolver(Arc::new(guard.resolver(lookup)))
        .pool_max_idle_per_host(setup.concurrency.max(1))
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(|e| SetupError::Client(innermost(&e)))
}

/// Reads a body up to [`RESPONSE_MAX`] bytes, counted after decompression as they come.
async fn read(mut response: Response) -> Result<Fetched, Fault> {
    let too_large = || {
        let mib = RESPONSE_MAX / (1024 * 1024);
        Fault::Final(format!("the response is larger than {mib} MiB"))
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > RESPONSE_MAX as u64 {
        return Err(too_large());
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| fault(&e))? {
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
    Ok(Fetched { headers, body })
}

/// The hop that a redirect leads to, as browsers do it (RFC 9110, section 15.4): a POST becomes
/// a GET except by 307 and 308. To another origin go no headers of the pipeline but these few:
/// the others may hold what is meant for the first alone.
fn redirected(from: Request, status: StatusCode, location: &str) -> Result<Request, Fault> {
    let url = from.url.join(location).map_err(|e| {
        Fault::Final(format!(
            "{status}: `{}` is no valid URL: {e}",
            brief(location, 200)
        ))
    })?;
    let mut to = Request {
        url,
        ..from.clone()
    };
    if !matches!(status.as_u16(), 307 | 308) {
        to.method = Method::GET;
        to.body = None;
        to.headers.remove(CONTENT_TYPE);
    }
    if to.url.origin() != from.url.origin() {
        to.headers = HeaderMap::new();
        for name in [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT] {
            if let Some(value) = from.headers.get(&name)
                && (name != CONTENT_TYPE || to.body.is_some())
            {
                to.headers.insert(name, value.clone());
            }
        }
    }
    Ok(to)
}

/// Why reqwest gave no response.
fn fault(error: &reqwest::Error) -> Fault {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Fault::Final(refused.to_string());
        }
        source = cause.source();
    }
    if error.is_builder() {
        return Fault::Final(innermost(error));
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the response broke off"
    } else {
        "the request failed"
    };
    Fault::Passing(format!("{what}: {}", innermost(error)), None)
}

/// The last cause, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A URL for reasons: without user, password, query and fragment, which may hold secrets.
fn shown(url: &Url) -> String {
    match url.host_str() {
        Some(host) => {
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            brief(
                &format!("{}://{host}{port}{}", url.scheme(), url.path()),
                200,
            )
        }
        None => format!("{}:", url.scheme()),
    }
}
