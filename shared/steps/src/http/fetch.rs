//! Gets a usable response: from the cache, from another child, or from the host with retries.

use std::sync::Arc;

use tokio::time::Instant;

use super::Http;
use super::attempt_error::AttemptError;
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

impl<T> FetchResult<(Arc<HttpResponse>, T)> {
    /// A cached or shared response, if `judge` accepts it.
    fn reuse(
        response: &Arc<HttpResponse>,
        judge: &(dyn Fn(&HttpResponse) -> Result<T, AttemptError> + Send + Sync),
    ) -> Option<Self> {
        let judged = judge(response).ok()?;
        let result = Ok((response.clone(), judged));
        Some(FetchResult {
            result,
            attempts: 1,
        })
    }
}

impl Http {
    /// Gets a response that `judge` accepts. Uses the cache if the step has one.
    pub(super) async fn get<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: &(dyn Fn(&HttpResponse) -> Result<T, AttemptError> + Send + Sync),
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
        if let Some(reused) = cached
            .ok()
            .and_then(|response| FetchResult::reuse(response, judge))
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
        judge: &(dyn Fn(&HttpResponse) -> Result<T, AttemptError> + Send + Sync),
    ) -> FetchResult<(Arc<HttpResponse>, T)> {
        let fetch = self.fetch(row, request, judge);
        let Some(shared) = &self.shared else {
            return fetch.await;
        };
        let decode = |answer: &str| {
            let response = shared.unpack(request, answer)?;
            FetchResult::reuse(&Arc::new(response), judge)
        };
        // If there is no response, or it cannot be shared, the shared answer is empty and each
        // child fetches for itself. Otherwise they would wait for each other's failures in turn.
        let encode = |fetched: &FetchResult<(Arc<HttpResponse>, T)>| {
            let response = fetched.result.as_ref().ok().map(|(response, _)| response);
            let packed = response.and_then(|response| shared.pack(request, response));
            Some(packed.unwrap_or_default())
        };
        let question = shared.question(request);
        get_or_share(&*shared.answers, &question, decode, fetch, encode).await
    }

    /// Sends the request until `judge` accepts a response or the step's attempts are spent.
    async fn fetch<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: &(dyn Fn(&HttpResponse) -> Result<T, AttemptError> + Send + Sync),
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
                Ok(response) => match judge(&response) {
                    Ok(judged) => {
                        in_flight.finish(row, HostSignal::Healthy);
                        let result = Ok((Arc::new(response), judged));
                        return FetchResult { result, attempts };
                    }
                    Err(error) => error,
                },
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
