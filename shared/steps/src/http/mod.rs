//! `http`: fetches, and takes outputs out of the response.

mod attempt;
mod client;
mod extract;
mod fault;
mod fetch;
mod gate;
mod host;
mod latency;
mod pages;
mod request;
mod response;
mod retry;
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
use rowmill_pipeline::{Expr, HttpMethod, HttpStep};

use self::client::client;
use self::extract::Extractor;
use self::fetch::Tried;
use self::host::Host;
use self::pages::Paging;
use self::response::Fetched;
use self::shared::Shared;
use self::templates::Templates;
use crate::cache::Cache;
use crate::guard::{Guard, Lookup, SystemLookup};
use crate::{Runner, Setup, SetupError, StepResult, Turns};

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
    templates: Templates,
    ok_when: Option<Expr>,
    pages: Option<Paging>,
    /// The responses that this child knows.
    cache: Option<Cache<Fetched>>,
    /// Those that any child of the run does.
    shared: Option<Shared>,
    timeout: Duration,
    attempts: u32,
    extractor: Extractor,
    secrets: Arc<Secrets>,
    /// By host and port.
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    concurrency: usize,
    patience: Duration,
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
        let cached = step.cache && step.method == HttpMethod::Get;
        let answers = setup.answers.clone().filter(|_| cached);
        Ok(Http {
            client,
            guard,
            rate: step.rate,
            turns: setup.turns.clone(),
            robots: step.robots,
            templates: Templates::new(step)?,
            ok_when: step.ok_when.clone(),
            pages: step.pages.as_ref().map(Paging::new).transpose()?,
            cache: cached.then(Cache::default),
            shared: answers.map(|answers| Shared::new(step, answers, setup.secrets.clone())),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            extractor: Extractor::new(&step.outputs)?,
            secrets: setup.secrets.clone(),
            hosts: Mutex::default(),
            concurrency: setup.concurrency.max(1),
            patience: gate::PATIENCE,
        })
    }
}

#[async_trait]
impl Runner for Http {
    async fn run(&self, record: Row<'_>) -> StepResult {
        let request = self.templates.request(record, &self.guard, &self.secrets);
        let request = match request {
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
