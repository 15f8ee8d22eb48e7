//! `http`: sends a request for each record and extracts outputs from the response.

mod attempt;
mod attempt_error;
mod auth;
mod charset;
mod client;
mod content_encoding;
mod cookies;
mod extract;
mod fetch;
mod host;
mod host_limiter;
mod latency;
mod lenient;
mod pages;
mod refusal;
mod request;
mod response;
mod retry;
mod reused;
mod robots;
mod shared;
mod success;
mod templates;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;
use rowmill_domain::Row;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::{CookieScope, Expr, HttpMethod, HttpStep};
use tokio::time::Instant;

use self::auth::Auth;
use self::client::client;
use self::cookies::Cookies;
use self::extract::Extractor;
#[cfg(feature = "fuzzing")]
pub use self::extract::fuzzing;
use self::fetch::FetchResult;
use self::host::Host;
use self::pages::Paging;
use self::response::HttpResponse;
use self::shared::SharedResponses;
use self::templates::Templates;
use crate::cache::Cache;
use crate::guard::{Guard, Lookup, SystemLookup};
use crate::{Permits, Runner, SetupError, StepDeps, StepResult};

/// How long an idle connection stays open: less than the 60 s after which common load balancers
/// close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The `User-Agent` of requests, unless the pipeline sets another one.
const USER_AGENT_DEFAULT: &str = concat!(
    "Rowmill/",
    env!("CARGO_PKG_VERSION"),
    " (+",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);

pub(crate) struct Http {
    client: Client,
    guard: Arc<Guard>,
    /// Requests per second to one host.
    rate: Option<f64>,
    permits: Option<Arc<dyn Permits>>,
    robots: bool,
    templates: Templates,
    ok_when: Option<Expr>,
    pages: Option<Paging>,
    retry_on: Vec<u16>,
    auth: Option<Auth>,
    /// The cookies of all requests. `None`: each request has its own.
    cookies: Option<Cookies>,
    /// Responses cached by this child.
    cache: Option<Cache<HttpResponse>>,
    /// Responses shared by the children of the run.
    shared: Option<SharedResponses>,
    timeout: Duration,
    attempts: u32,
    extractor: Arc<Extractor>,
    secrets: Arc<Secrets>,
    /// By host and port.
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    concurrency: usize,
    host_wait: Duration,
    /// See [`StepDeps::deadline`].
    deadline: Option<Instant>,
}

impl Http {
    pub(crate) fn new(step: &HttpStep, deps: &StepDeps) -> Result<Http, SetupError> {
        Http::with_lookup(step, deps, Arc::new(SystemLookup))
    }

    fn with_lookup(
        step: &HttpStep,
        deps: &StepDeps,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Http, SetupError> {
        let guard = Guard::new(&step.allow_hosts)?;
        let (client, guard) = client(step, guard, deps, lookup)?;
        let cached = step.cache && step.method == HttpMethod::Get;
        // Another child has other cookies.
        let has_session = step.cookies == CookieScope::Step;
        let answers = deps.answers.clone().filter(|_| cached && !has_session);
        Ok(Http {
            client,
            guard,
            rate: step.rate,
            permits: deps.permits.clone(),
            robots: step.robots,
            templates: Templates::new(step)?,
            ok_when: step.ok_when.clone(),
            retry_on: step.retry_on.clone(),
            auth: match &step.auth {
                Some(auth) => Some(Auth::new(auth, deps)?),
                None => None,
            },
            cookies: has_session.then(Cookies::default),
            pages: step.pages.as_ref().map(Paging::new).transpose()?,
            cache: cached.then(Cache::default),
            shared: answers
                .map(|answers| SharedResponses::new(step, answers, deps.secrets.clone())),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            extractor: Arc::new(Extractor::new(&step.outputs)?),
            secrets: deps.secrets.clone(),
            hosts: Mutex::default(),
            concurrency: deps.concurrency.max(1),
            host_wait: host_limiter::HOST_WAIT,
            deadline: deps.deadline,
        })
    }
}

#[async_trait]
impl Runner for Http {
    async fn run(&self, record: Row<'_>) -> StepResult {
        let mut result = self.run_signed(record).await;
        if let Some(auth) = &self.auth {
            auth.redact(&mut result).await;
        }
        result
    }

    async fn close(&self) {}
}

impl Http {
    async fn run_signed(&self, record: Row<'_>) -> StepResult {
        let request = self.templates.request(record, &self.guard, &self.secrets);
        let request = match request {
            Ok(request) => request,
            Err(reason) => return StepResult::failed(reason, 1),
        };
        if let Some(paging) = &self.pages {
            return self.run_paged(record, request, paging).await;
        }
        let judge = |response: &HttpResponse, extracted| self.outputs(record, response, extracted);
        let FetchResult { result, attempts } = self.get(record.record.row, &request, &judge).await;
        match result {
            Ok((_, outputs)) => StepResult::ok(outputs, attempts),
            Err(reason) => StepResult::failed(reason, attempts),
        }
    }
}
