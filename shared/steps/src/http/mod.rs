//! `http`: fetches, and takes outputs out of the response.

mod client;
mod extract;
mod gate;
mod host;
mod latency;
mod pages;
mod request;
mod retry;
mod robots;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use rowmill_domain::pipeline::{Expr, HttpMethod, HttpStep, Template};
use rowmill_domain::record::Outputs;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Row, Value};
use tokio::time::Instant;
use url::Url;

use self::client::client;
use self::extract::{Extractor, Fetched};
use self::gate::{Cost, Permit, Sign};
use self::host::Host;
use self::pages::Paging;
use self::request::Request;
use crate::cache::Cache;
use crate::guard::{Guard, Lookup, Refused, SystemLookup};
use crate::redacting::redact;
use crate::{Runner, Setup, SetupError, StepResult, Turns, brief};

/// Largest response, in bytes after decompression: room for any page or JSON that cells are
/// taken from, and 16 of them at once fit a child of 512 MiB.
const RESPONSE_MAX: usize = 10 * 1024 * 1024;
/// Redirects followed on one attempt; what is beyond is taken for a loop. Source: reqwest's own
/// default.
const REDIRECTS_MAX: usize = 10;
/// How long an idle connection is kept: less than the 60 s after which common load balancers
/// close theirs.
const IDLE: Duration = Duration::from_secs(50);

/// How requests name their sender, unless the pipeline gives another name.
const AGENT: &str = concat!(
    "Rowmill/",
    env!("CARGO_PKG_VERSION"),
    " (+",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);

pub(crate) struct Http {
    client: Client,
    guard: Arc<Guard>,
    /// Requests a second to one host.
    rate: Option<f64>,
    turns: Option<Arc<dyn Turns>>,
    robots: bool,
    method: Method,
    url: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    form: Vec<(String, Template)>,
    ok_when: Option<Expr>,
    pages: Option<Paging>,
    cache: Option<Cache<Fetched>>,
    timeout: Duration,
    attempts: u32,
    extractor: Extractor,
    secrets: Arc<Secrets>,
    /// By host and port.
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    concurrency: usize,
    patience: Duration,
}

/// What a hop gave.
enum Answer {
    Fetched(Fetched),
    Redirect(StatusCode, String),
}

/// What came of a request, and how often it was sent.
struct Tried<T> {
    result: Result<T, String>,
    tries: u32,
}

/// Why an attempt gave no outputs.
struct Fault {
    reason: String,
    /// Whether another attempt may do better.
    again: bool,
    /// What it says of the host.
    sign: Sign,
}

impl Fault {
    /// The host answered, and it would answer the same again.
    fn answered(reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            again: false,
            sign: Sign::Good,
        }
    }

    /// There was nothing to be sent.
    fn unsent(reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            again: false,
            sign: Sign::None,
        }
    }

    /// The host, or the way to it, failed.
    fn passing(reason: impl Into<String>, connect: bool) -> Fault {
        let reason = reason.into();
        Fault {
            sign: Sign::Bad {
                connect,
                reason: reason.clone(),
            },
            reason,
            again: true,
        }
    }

    /// Without the values of secrets.
    fn redacted(mut self, secrets: &Secrets) -> Fault {
        redact(secrets, &mut self.reason);
        if let Sign::Bad { reason, .. } = &mut self.sign {
            redact(secrets, reason);
        }
        self
    }

    /// A status that is no success.
    fn status(fetched: &Fetched, reason: String) -> Fault {
        if !retry::is_retryable(fetched.status) {
            return Fault::answered(reason);
        }
        let asked = fetched.headers.get(RETRY_AFTER);
        let asked = asked.and_then(|h| retry::retry_after(h.to_str().ok()?, chrono::Utc::now()));
        if fetched.status == StatusCode::TOO_MANY_REQUESTS || asked.is_some() {
            return Fault {
                reason,
                again: true,
                sign: Sign::Throttled(asked),
            };
        }
        Fault::passing(reason, false)
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
        let guard = Guard::new(&step.allow_hosts)?;
        let (client, guard) = client(step, guard, setup, lookup)?;
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
            client,
            guard,
            rate: step.rate,
            turns: setup.turns.clone(),
            robots: step.robots,
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
            headers,
            body: step.body.clone(),
            form: step.form.clone(),
            ok_when: step.ok_when.clone(),
            pages: step.pages.as_ref().map(Paging::new).transpose()?,
            cache: (step.cache && step.method == HttpMethod::Get).then(Cache::default),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            extractor: Extractor::new(&step.outputs)?,
            secrets: setup.secrets.clone(),
            hosts: Mutex::default(),
            concurrency: setup.concurrency.max(1),
            patience: gate::PATIENCE,
        })
    }

    /// The request for a record, or why there can be none.
    fn request(&self, row: Row<'_>) -> Result<Request, String> {
        let text = self
            .url
            .render_with(row, &self.secrets)
            .map_err(|e| format!("url: {e}"))?;
        let mut url = Url::parse(text.trim())
            .map_err(|e| format!("`{}` is no valid URL: {e}", brief(&text, 200)))?;
        self.guard
            .check_url(&url)
            .map_err(|e| format!("{}: {e}", request::shown(&url)))?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let text = template
                .render_with(row, &self.secrets)
                .map_err(|e| format!("header {name}: {e}"))?;
            let mut value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| format!("header {name}: control characters cannot be sent"))?;
            value.set_sensitive(!template.secrets().is_empty());
            headers.append(name, value);
        }
        for (name, template) in &self.query {
            let value = template
                .render_with(row, &self.secrets)
                .map_err(|e| format!("query {name}: {e}"))?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        let (body, media) = self.body(row)?;
        if body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        Ok(Request {
            method: self.method.clone(),
            url,
            headers,
            body: body.map(Bytes::from),
        })
    }

    /// The body for a record, and its media type where no header gives one.
    fn body(&self, row: Row<'_>) -> Result<(Option<String>, &'static str), String> {
        if !self.form.is_empty() {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, template) in &self.form {
                let value = template
                    .render_with(row, &self.secrets)
                    .map_err(|e| format!("form {name}: {e}"))?;
                form.append_pair(name, &value);
            }
            return Ok((Some(form.finish()), "application/x-www-form-urlencoded"));
        }
        let Some(template) = &self.body else {
            return Ok((None, ""));
        };
        let body = template
            .render_with(row, &self.secrets)
            .map_err(|e| format!("body: {e}"))?;
        let media = if body.trim_start().starts_with(['{', '[']) {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        Ok((Some(body), media))
    }

    /// One attempt: the request, its redirects, and the whole body.
    /// Tells the permit how long the host took, where it answered itself.
    async fn attempt(&self, request: &Request, permit: &mut Permit) -> Result<Fetched, Fault> {
        let mut hop = request.clone();
        let mut left = self.timeout;
        for redirects in 0..=REDIRECTS_MAX {
            // Every hop is checked here, and its address in the guard's resolver.
            let checked = self.guard.check_url(&hop.url);
            checked.map_err(|e| Fault::unsent(e.to_string()))?;
            let elsewhere = |mut fault: Fault| {
                // Where a redirect leads says nothing of the host that the step asked.
                if redirects > 0 {
                    fault.sign = Sign::None;
                }
                fault
            };
            self.may_send(&hop).await.map_err(elsewhere)?;
            let start = Instant::now();
            let answer = tokio::time::timeout(left, self.send(&hop)).await;
            let Ok(answer) = answer else {
                let reason = format!("no answer within {:?}", self.timeout);
                return Err(Fault::passing(reason, false));
            };
            match answer.map_err(elsewhere)? {
                Answer::Fetched(fetched) => {
                    if redirects == 0 {
                        permit.took(start.elapsed());
                    }
                    return Ok(fetched);
                }
                Answer::Redirect(status, location) => {
                    hop = hop.redirected(status, &location).map_err(Fault::answered)?;
                }
            }
            left = left.saturating_sub(start.elapsed());
        }
        let reason = format!("more than {REDIRECTS_MAX} redirects");
        Err(Fault::answered(reason))
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
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && let Some(location) = response.headers().get(LOCATION)
        {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Ok(Answer::Redirect(status, location));
        }
        Ok(Answer::Fetched(read(response).await?))
    }

    /// The outputs, where the response is a success.
    fn conclude(&self, row: Row<'_>, fetched: &Fetched) -> Result<Outputs, Fault> {
        self.succeeds(row, fetched)?;
        self.extractor.extract(fetched).map_err(Fault::answered)
    }

    /// Whether the response is a success.
    fn succeeds(&self, row: Row<'_>, fetched: &Fetched) -> Result<(), Fault> {
        let status = fetched.status;
        match &self.ok_when {
            None if status.is_success() => {}
            None => return Err(Fault::status(fetched, status.to_string())),
            Some(rule) => {
                let mut seen = row.outputs.to_vec();
                seen.extend(self.extractor.present(fetched));
                seen.push(("status".into(), f64::from(status.as_u16()).into()));
                let ok = rule.eval(Row {
                    outputs: &seen,
                    ..row
                });
                let reason = match ok {
                    Ok(Value::Bool(true)) => None,
                    Ok(_) => Some(format!("{status}, and `{}` does not hold", rule.source())),
                    Err(e) => Some(format!("{status}, and `{}`: {e}", rule.source())),
                };
                match reason {
                    None => {}
                    // The host works, and may have the answer later.
                    Some(reason) if status.is_success() => {
                        return Err(Fault {
                            again: true,
                            ..Fault::answered(reason)
                        });
                    }
                    Some(reason) => return Err(Fault::status(fetched, reason)),
                }
            }
        }
        Ok(())
    }

    /// Fetches, as often as the step allows: the response, and what `judge` makes of it.
    async fn fetch<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: &(dyn Fn(&Fetched) -> Result<T, Fault> + Send + Sync),
    ) -> Tried<(Arc<Fetched>, T)> {
        let failed = |reason: &str, tries: u32| Tried {
            result: Err(format!("{request}: {reason}")),
            tries,
        };
        let host = self.host(&request.url);
        let gate = &host.gate;
        let start = Instant::now();
        // `tries` is told; `spent` are those that count against the step's attempts.
        let (mut tries, mut spent) = (0, 0);
        loop {
            let mut permit = match gate.enter().await {
                Ok(permit) => permit,
                Err(reason) => return failed(&reason, tries.max(1)),
            };
            tries += 1;
            let fault = match self.attempt(request, &mut permit).await {
                Ok(fetched) => match judge(&fetched) {
                    Ok(made) => {
                        permit.exit(row, Sign::Good);
                        let result = Ok((Arc::new(fetched), made));
                        return Tried { result, tries };
                    }
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            // Here, since it goes into the log as well.
            let fault = fault.redacted(&self.secrets);
            let reason = fault.reason;
            let cost = permit.exit(row, fault.sign);
            if !fault.again {
                return failed(&reason, tries);
            }
            // Who wants one attempt gets one, whoever is at fault.
            let patient = self.attempts > 1 && start.elapsed() < self.patience + self.timeout;
            let asked = match cost {
                Cost::Time if patient => continue,
                Cost::Wait(asked) => asked,
                Cost::Attempt | Cost::Time | Cost::All => None,
            };
            spent += 1;
            if spent >= self.attempts || cost == Cost::All {
                let reason = match tries {
                    1 => reason,
                    n => format!("{reason}, {n} attempts"),
                };
                return failed(&reason, tries);
            }
            let wait = retry::wait(spent, asked);
            tracing::debug!(row, tries, ?wait, reason, "trying again");
            tokio::time::sleep(wait).await;
        }
    }
}

impl Http {
    /// The same, out of the cache where the step has one.
    async fn get<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: &(dyn Fn(&Fetched) -> Result<T, Fault> + Send + Sync),
    ) -> Tried<(Arc<Fetched>, T)> {
        let Some(cache) = &self.cache else {
            return self.fetch(row, request, judge).await;
        };
        let slot = cache.slot(request.key());
        let mut own = None;
        let kept = slot
            .get_or_try_init(|| async {
                let tried = self.fetch(row, request, judge).await;
                let fetched = tried
                    .result
                    .as_ref()
                    .map(|(f, _)| f.clone())
                    .map_err(|_| ());
                own = Some(tried);
                fetched
            })
            .await;
        if let Some(tried) = own {
            return tried;
        }
        if let Ok(fetched) = kept
            && let Ok(made) = judge(fetched)
        {
            let result = Ok((fetched.clone(), made));
            return Tried { result, tries: 1 };
        }
        // What was good for another record is not for this one.
        self.fetch(row, request, judge).await
    }
}

#[async_trait]
impl Runner for Http {
    async fn run(&self, record: Row<'_>) -> StepResult {
        let request = match self.request(record) {
            Ok(request) => request,
            Err(reason) => return StepResult::failed(reason, 1),
        };
        if let Some(paging) = &self.pages {
            return self.paged(record, request, paging).await;
        }
        let judge = |fetched: &Fetched| self.conclude(record, fetched);
        let Tried { result, tries } = self.get(record.record.row, &request, &judge).await;
        match result {
            Ok((_, outputs)) => StepResult::ok(outputs, tries),
            Err(reason) => StepResult::failed(reason, tries),
        }
    }

    async fn close(&self) {}
}

/// Reads a body up to [`RESPONSE_MAX`] bytes, counted after decompression as they come.
async fn read(mut response: Response) -> Result<Fetched, Fault> {
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
    Ok(Fetched {
        url,
        status,
        headers,
        body,
    })
}

/// Why reqwest gave no response.
fn fault(error: &reqwest::Error) -> Fault {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Fault::unsent(refused.to_string());
        }
        source = cause.source();
    }
    if error.is_builder() {
        return Fault::unsent(innermost(error));
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the response broke off"
    } else {
        "the request failed"
    };
    let reason = format!("{what}: {}", innermost(error));
    Fault::passing(reason, error.is_connect())
}

/// The last cause, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
