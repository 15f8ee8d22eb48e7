//! A response that the step can use: by as many attempts as it allows, or from before.

use std::sync::Arc;

use tokio::time::Instant;

use super::Http;
use super::fault::Fault;
use super::gate::{Cost, Sign};
use super::request::Request;
use super::response::Fetched;
use super::retry;
use crate::answers::once;

/// What came of a request, and how often it was sent.
pub(super) struct Tried<T> {
    pub(super) result: Result<T, String>,
    pub(super) tries: u32,
}

impl<T> Tried<(Arc<Fetched>, T)> {
    /// A response from before, where `judge` can use it.
    fn kept(
        fetched: &Arc<Fetched>,
        judge: &(dyn Fn(&Fetched) -> Result<T, Fault> + Send + Sync),
    ) -> Option<Self> {
        let made = judge(fetched).ok()?;
        let result = Ok((fetched.clone(), made));
        Some(Tried { result, tries: 1 })
    }
}

impl Http {
    /// Fetches, or takes the response from another record where the step keeps them.
    pub(super) async fn get<T: Send>(
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
                let tried = self.once(row, request, judge).await;
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
        if let Some(tried) = kept.ok().and_then(|fetched| Tried::kept(fetched, judge)) {
            return tried;
        }
        // What was good for another record is not for this one.
        self.fetch(row, request, judge).await
    }

    /// Fetches, unless another child of the run has or does.
    async fn once<T: Send>(
        &self,
        row: u32,
        request: &Request,
        judge: &(dyn Fn(&Fetched) -> Result<T, Fault> + Send + Sync),
    ) -> Tried<(Arc<Fetched>, T)> {
        let fetch = self.fetch(row, request, judge);
        let Some(shared) = &self.shared else {
            return fetch.await;
        };
        let read = |answer: &str| {
            let fetched = shared.unpack(request, answer)?;
            Tried::kept(&Arc::new(fetched), judge)
        };
        // Without a response, or with one that cannot be shared, the others are told to fetch it
        // for themselves: to wait for each other's failures would take each the time that the
        // first took.
        let tell = |tried: &Tried<(Arc<Fetched>, T)>| {
            let fetched = tried.result.as_ref().ok().map(|(fetched, _)| fetched);
            let packed = fetched.and_then(|fetched| shared.pack(request, fetched));
            Some(packed.unwrap_or_default())
        };
        let question = shared.question(request);
        once(&*shared.answers, &question, read, fetch, tell).await
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
