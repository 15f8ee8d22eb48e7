//! Gets a usable response: from the cache, from another child, or from the host with retries.

use std::sync::Arc;

use tokio::time::Instant;

use super::Http;
use super::attempt_error::AttemptError;
use super::extract::Extracted;
use super::host_limiter::{Cost, HostSignal};
use super::request::Request;
use super::response::HttpResponse;
use super::retry;
use crate::answers::get_or_share;

/// The result of a request, and the number of attempts.
pub(super) struct FetchResult<T> {
    pub(super) result: Result<T, String>,
    pub(super) attempts: u32,
}

/// Accepts a response with what was extracted from it, or says why not.
type Judge<'a, T> = &'a (dyn Fn(&HttpResponse, Extracted) -> Result<T, AttemptError> + Send + Sync);

/// How a response that is shared between children was found.
enum Found<T> {
    Fetched(FetchResult<(Arc<HttpResponse>, T)>),
    Shared(Arc<HttpResponse>),
}

impl Http {
    /// Gets a response that `judge` accepts. Uses the cache if the step has one.
    pub(super) async fn get<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: Judge<'_, T>,
    ) -> FetchResult<(Arc<HttpResponse>, T)> {
        let Some(cache) = &self.cache else {
            return self.fetch(row, request, judge).await;
        };
        let slot = cache.slot(request.key());
        let mut own = None;
        let cached = slot
            .get_or_try_init(|| async {
                let fetched = self.fetch_or_share(row, request, judge).await;
                let response = fetched.result.as_ref();
                let response = response.map(|(r, _)| r.clone()).map_err(|_| ());
                own = Some(fetched);
                response
            })
            .await;
        if let Some(fetched) = own {
            return fetched;
        }
        if let Ok(response) = cached
            && let Some(reused) = self.reuse(response, judge).await
        {
            return reused;
        }
        // The response was accepted for another record, but not for this one.
        self.fetch(row, request, judge).await
    }

    /// Fetches the response, unless another child of the run shares it.
    async fn fetch_or_share<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: Judge<'_, T>,
    ) -> FetchResult<(Arc<HttpResponse>, T)> {
        let fetch = self.fetch(row, request, judge);
        let Some(shared) = &self.shared else {
            return fetch.await;
        };
        let decode = |answer: &str| {
            let response = shared.unpack(request, answer)?;
            Some(Found::Shared(Arc::new(response)))
        };
        // If there is no response, or it cannot be shared, the shared answer is empty and each
        // child fetches for itself. Otherwise they would wait for each other's failures in turn.
        let encode = |found: &Found<T>| {
            let response = match found {
                Found::Fetched(fetched) => fetched.result.as_ref().ok(),
                Found::Shared(_) => None,
            };
            let packed = response.and_then(|(response, _)| shared.pack(request, response));
            Some(packed.unwrap_or_default())
        };
        let question = shared.question(request);
        let find = async { Found::Fetched(fetch.await) };
        match get_or_share(&*shared.answers, &question, decode, find, encode).await {
            Found::Fetched(fetched) => fetched,
            Found::Shared(response) => match self.reuse(&response, judge).await {
                Some(reused) => reused,
                None => self.fetch(row, request, judge).await,
            },
        }
    }

    /// A cached or shared response, if `judge` accepts it.
    async fn reuse<T>(
        &self,
        response: &Arc<HttpResponse>,
        judge: Judge<'_, T>,
    ) -> Option<FetchResult<(Arc<HttpResponse>, T)>> {
        let judged = judge(response, self.extracted(response).await).ok()?;
        let result = Ok((response.clone(), judged));
        Some(FetchResult {
            result,
            attempts: 1,
        })
    }

    /// What a response has for the outputs. Nothing, if it is a failure whatever it contains.
    async fn extracted(&self, response: &Arc<HttpResponse>) -> Extracted {
        match response.status.is_success() || self.ok_when.is_some() {
            true => self.extractor.read(response).await,
            false => Extracted::default(),
        }
    }

    /// Sends the request until `judge` accepts a response or the step's attempts are spent.
    async fn fetch<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: Judge<'_, T>,
    ) -> FetchResult<(Arc<HttpResponse>, T)> {
        let failed = |reason: &str, attempts: u32| FetchResult {
            result: Err(format!("{request}: {reason}")),
            attempts,
        };
        let host = self.host(&request.url);
        let limiter = &host.limiter;
        let start = Instant::now();
        // `attempts` is reported; only those in `spent` count against the step's limit.
        let (mut attempts, mut spent) = (0, 0);
        loop {
            let mut in_flight = match limiter.acquire().await {
                Ok(in_flight) => in_flight,
                Err(reason) => return failed(&reason, attempts.max(1)),
            };
            attempts += 1;
            let error = match self.attempt(request, &mut in_flight).await {
                Ok(response) => {
                    let response = Arc::new(response);
                    match judge(&response, self.extracted(&response).await) {
                        Ok(judged) => {
                            in_flight.finish(row, HostSignal::Healthy);
                            let result = Ok((response, judged));
                            return FetchResult { result, attempts };
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // Redacted here, because the reason is logged, too.
            let error = error.redacted(&self.secrets);
            let reason = error.reason;
            let cost = in_flight.finish(row, error.signal);
            if !error.retryable {
                return failed(&reason, attempts);
            }
            // A step with a single attempt never waits for the host.
            let may_wait = self.attempts > 1 && start.elapsed() < self.host_wait + self.timeout;
            let pause = match cost {
                Cost::Time if may_wait => continue,
                Cost::Wait(pause) => pause,
                Cost::Attempt | Cost::Time | Cost::All => None,
            };
            spent += 1;
            if spent >= self.attempts || cost == Cost::All {
                let reason = match attempts {
                    1 => reason,
                    n => format!("{reason}, {n} attempts"),
                };
                return failed(&reason, attempts);
            }
            let wait = retry::wait(spent, pause);
            tracing::debug!(row, attempts, ?wait, reason, "retrying");
            tokio::time::sleep(wait).await;
        }
    }
}
