//! `http`: fetches, and takes outputs out of the response.

mod extract;
mod gate;
mod retry;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
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
use url::{Position, Url};

use self::extract::{Body, Extractor};
use self::gate::{Cost, Gate, Sign};
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
    /// By host and port.
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    concurrency: usize,
    patience: Duration,
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
    Final(String, Sign),
    /// It may.
    Passing {
        reason: String,
        /// Not even a connection was made.
        connect: bool,
        /// The source asks for fewer requests, and perhaps for a pause.
        throttled: Option<Option<Duration>>,
    },
}

impl Fault {
    fn passing(reason: impl Into<String>) -> Fault {
        Fault::Passing {
            reason: reason.into(),
            connect: false,
            throttled: None,
        }
    }
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
            gates: Mutex::default(),
            concurrency: setup.concurrency.max(1),
            patience: gate::PATIENCE,
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
        for redirects in 0..=REDIRECTS_MAX {
            // Every hop is checked here, and its address in the guard's resolver.
            let checked = self.guard.check_url(&hop.url);
            checked.map_err(|e| Fault::Final(e.to_string(), Sign::None))?;
            if let Some(pace) = &self.pace {
                pace.turn().await;
            }
            let start = Instant::now();
            let answer = tokio::time::timeout(left, self.send(&hop)).await;
            let Ok(answer) = answer else {
                let reason = format!("no answer within {:?}", self.timeout);
                return Err(Fault::passing(reason));
            };
            let answer = answer.map_err(|fault| match fault {
                // Where a redirect leads says nothing of the host that the step asked.
                Fault::Passing { reason, .. } if redirects > 0 => Fault::passing(reason),
                fault => fault,
            });
            match answer? {
                Answer::Fetched(fetched) => return Ok(fetched),
                Answer::Redirect(status, location) => hop = redirected(hop, status, &location)?,
            }
            left = left.saturating_sub(start.elapsed());
        }
        let reason = format!("more than {REDIRECTS_MAX} redirects");
        Err(Fault::Final(reason, Sign::Good))
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
            let header = header(RETRY_AFTER);
            let asked = header.and_then(|h| retry::retry_after(&h, chrono::Utc::now()));
            return Err(Fault::Passing {
                reason: status.to_string(),
                connect: false,
                throttled: (status == StatusCode::TOO_MANY_REQUESTS || asked.is_some())
                    .then_some(asked),
            });
        }
        match (status.as_u16(), header(LOCATION)) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => Ok(Answer::Redirect(status, location)),
            _ => Err(Fault::Final(status.to_string(), Sign::Good)),
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
        let gate = self.gate(&request.url);
        let row = row.record.row;
        let start = Instant::now();
        // `tries` is told; `spent` are those that count against the step's attempts.
        let (mut tries, mut spent) = (0, 0);
        loop {
            let permit = match gate.enter().await {
                Ok(permit) => permit,
                Err(reason) => return StepResult::failed(told(&reason), tries.max(1)),
            };
            tries += 1;
            let (reason, asked, sign) = match self.attempt(&request).await {
                Ok(fetched) => {
                    permit.exit(row, Sign::Good);
                    return match self.outputs(&fetched) {
                        Ok(outputs) => StepResult::ok(outputs, tries),
                        Err(reason) => StepResult::failed(told(&reason), tries),
                    };
                }
                Err(Fault::Final(reason, sign)) => {
                    permit.exit(row, sign);
                    return StepResult::failed(told(&reason), tries);
                }
                Err(Fault::Passing {
                    reason,
                    connect,
                    throttled,
                }) => {
                    let sign = match throttled {
                        Some(asked) => Sign::Throttled(asked),
                        None => Sign::Bad {
                            connect,
                            reason: reason.clone(),
                        },
                    };
                    (reason, throttled.flatten(), sign)
                }
            };
            let cost = permit.exit(row, sign);
            // Who wants one attempt gets one, whoever is at fault.
            let patient = self.attempts > 1 && start.elapsed() < self.patience + self.timeout;
            if cost == Cost::Time && patient {
                continue;
            }
            spent += 1;
            if spent >= self.attempts {
                let reason = match tries {
                    1 => reason,
                    n => format!("{reason}, {n} attempts"),
                };
                return StepResult::failed(told(&reason), tries);
            }
            let wait = retry::wait(spent, asked);
            tracing::debug!(row, tries, ?wait, reason, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn close(&self) {}
}

impl Http {
    fn gate(&self, url: &Url) -> Arc<Gate> {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut gates = match self.gates.lock() {
            Ok(gates) => gates,
            Err(poisoned) => poisoned.into_inner(),
        };
        match gates.get(host) {
            Some(gate) => gate.clone(),
            None => {
                let gate = Gate::new(self.concurrency, self.patience);
                gates.insert(host.to_owned(), gate.clone());
                gate
            }
        }
    }

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
        let reason = format!("the response is larger than {mib} MiB");
        Fault::Final(reason, Sign::Good)
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
        let location = brief(location, 200);
        let reason = format!("{status}: `{location}` is no valid URL: {e}");
        Fault::Final(reason, Sign::Good)
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
            return Fault::Final(refused.to_string(), Sign::None);
        }
        source = cause.source();
    }
    if error.is_builder() {
        return Fault::Final(innermost(error), Sign::None);
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the response broke off"
    } else {
        "the request failed"
    };
    Fault::Passing {
        reason: format!("{what}: {}", innermost(error)),
        connect: error.is_connect(),
        throttled: None,
    }
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
