//! Limits the requests to a host to what the host can handle: how many at once, none while it asks
//! for a pause, and one at a time while it is down.
//!
//! - **Throttling.** A host that throttles more than one record (429, or 503 with Retry-After) gets
//!   no requests for as long as it asks, and then half as many at once. Each success raises the
//!   limit a little. If a single record is throttled, only that record waits.
//! - **Slow answers.** The limit drops when a host becomes slow; see [`super::latency`].
//! - **Outages.** A host that answered before and then fails several times in a row is down (an
//!   open circuit). One record at a time probes it while the others wait, at no cost in attempts.
//!   A probe that cannot connect is free, too. A probe that connects and fails costs its record an
//!   attempt: the host may be fine and the record bad. Such a record ends after its own attempts,
//!   and the next one probes.
//! - **Long outages.** A host is abandoned if it stays down for [`HOST_WAIT`] and either accepts no
//!   connection or failed 100 records without one success. One record at a time still probes it,
//!   with one attempt each; the records that wait for a probe fail with it.

mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::state::{Admission, HostState};

/// How long records wait for a host that is down or throttles. Restarts and failovers take less,
/// and the child has time left for its other records.
pub(super) const HOST_WAIT: Duration = Duration::from_secs(120);

/// Limits the requests to one host.
pub(super) struct HostLimiter {
    state: Mutex<HostState>,
    changed: Notify,
}

/// What an attempt says about the host.
pub(super) enum HostSignal {
    /// The host works, even if it rejected the request.
    Healthy,
    /// The host asks for fewer requests (429, or 503 with Retry-After), and perhaps for a pause.
    Throttled(Option<Duration>),
    /// The host does not work, or not for this record. `connect`: no connection was made.
    Failing { connect: bool, reason: String },
    /// Nothing.
    Unknown,
}

/// What a failed attempt costs the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// One attempt, and the usual wait.
    Attempt,
    /// One attempt, and a wait at least this long.
    Wait(Option<Duration>),
    /// No attempt: the host is at fault, and the limiter decides when to retry.
    Time,
    /// All attempts: the host is abandoned.
    All,
}

/// A request in flight. Dropping it without [`InFlight::finish`] ends the request without a signal.
pub(super) struct InFlight {
    limiter: Arc<HostLimiter>,
    probe: bool,
    finished: bool,
    latency: Option<Duration>,
}

impl HostLimiter {
    /// `max` requests at once; `host_wait` as in [`HOST_WAIT`].
    pub(super) fn new(max: usize, host_wait: Duration) -> Arc<HostLimiter> {
        Arc::new(HostLimiter {
            state: Mutex::new(HostState::new(max.max(1) as f64, host_wait)),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, HostState> {
        match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// The host is abandoned.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<InFlight, String> {
        let mut waits_for = None;
        loop {
            // Subscribe before looking, so that no change in between is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let admission = self.state().admit(Instant::now(), &mut waits_for)?;
            match admission {
                Admission::Granted { probe } => {
                    return Ok(InFlight {
                        limiter: self.clone(),
                        probe,
                        finished: false,
                        latency: None,
                    });
                }
                Admission::Wait(Some(at)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                Admission::Wait(None) => changed.await,
            }
        }
    }
}

impl InFlight {
    /// Records how long the host took to answer.
    pub(super) fn set_latency(&mut self, latency: Duration) {
        self.latency = Some(latency);
    }

    /// Ends the request of the record in `row`. Returns what a failure costs the record.
    pub(super) fn finish(mut self, row: u32, signal: HostSignal) -> Cost {
        self.finished = true;
        let mut state = self.limiter.state();
        state.release(self.probe);
        let now = Instant::now();
        let cost = match signal {
            HostSignal::Unknown => Cost::Attempt,
            HostSignal::Healthy => {
                state.healthy(self.latency);
                Cost::Attempt
            }
            HostSignal::Throttled(pause) => state.throttled(now, row, pause),
            HostSignal::Failing { connect, reason } => {
                state.failing(now, row, self.probe, connect, reason)
            }
        };
        drop(state);
        self.limiter.changed.notify_waiters();
        cost
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.finished {
            self.limiter.state().release(self.probe);
            self.limiter.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(connect: bool) -> HostSignal {
        HostSignal::Failing {
            connect,
            reason: "refused".into(),
        }
    }

    async fn acquire(limiter: &Arc<HostLimiter>) -> InFlight {
        limiter.acquire().await.ok().unwrap()
    }

    /// Whether a new request has to wait.
    async fn waits(limiter: &Arc<HostLimiter>) -> bool {
        tokio::time::timeout(Duration::from_millis(5), limiter.acquire())
            .await
            .is_err()
    }

    #[tokio::test]
    async fn the_configured_limit_holds() {
        let limiter = HostLimiter::new(2, HOST_WAIT);
        let (first, second) = (acquire(&limiter).await, acquire(&limiter).await);
        assert!(waits(&limiter).await);
        let third = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.acquire().await.is_ok() }
        });
        drop(first);
        assert!(third.await.unwrap());
        second.finish(1, HostSignal::Healthy);
    }

    #[tokio::test]
    async fn a_throttling_host_gets_a_pause_and_half_the_requests() {
        let limiter = HostLimiter::new(8, HOST_WAIT);
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        let (a, b) = (acquire(&limiter).await, acquire(&limiter).await);
        let pause = Some(Duration::from_millis(400));
        let start = Instant::now();
        assert_eq!(a.finish(2, HostSignal::Throttled(pause)), Cost::Wait(pause));
        assert!(
            !waits(&limiter).await,
            "one throttled record does not stop the others"
        );
        assert_eq!(b.finish(3, HostSignal::Throttled(pause)), Cost::Time);
        assert!(waits(&limiter).await);
        let requests = [
            acquire(&limiter).await,
            acquire(&limiter).await,
            acquire(&limiter).await,
            acquire(&limiter).await,
        ];
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert!(waits(&limiter).await, "the limit is half of 8");
        for request in requests {
            request.finish(2, HostSignal::Healthy);
        }
        assert!(limiter.state().limit > 4.5);
    }

    #[tokio::test]
    async fn the_limit_drops_for_a_slow_host_and_recovers() {
        let limiter = HostLimiter::new(16, HOST_WAIT);
        let answers = async |count: u32, millis: u64| {
            for row in 0..count {
                let mut request = acquire(&limiter).await;
                request.set_latency(Duration::from_millis(millis));
                request.finish(row, HostSignal::Healthy);
            }
            limiter.state().limit
        };
        assert_eq!(answers(500, 200).await, 16.0);
        assert!(answers(80, 900).await < 16.0);
        assert!(
            answers(100, 900).await >= 4.0,
            "the limit never drops below a quarter"
        );
        // A host that stays slow at a lower limit is not slow because of us.
        assert_eq!(answers(1000, 900).await, 16.0);
        assert_eq!(answers(500, 200).await, 16.0);
    }

    #[tokio::test]
    async fn one_failing_record_does_not_take_the_host_down() {
        let limiter = HostLimiter::new(2, HOST_WAIT);
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        for _ in 0..10 {
            assert_eq!(
                acquire(&limiter).await.finish(2, failing(false)),
                Cost::Attempt
            );
        }
        assert!(!waits(&limiter).await);
    }

    #[tokio::test]
    async fn a_host_that_never_answered_is_not_waited_for() {
        let limiter = HostLimiter::new(2, HOST_WAIT);
        for row in 0..10 {
            assert_eq!(
                acquire(&limiter).await.finish(row, failing(true)),
                Cost::Attempt
            );
        }
    }

    #[tokio::test]
    async fn a_host_that_is_down_is_probed_by_one_record_at_a_time() {
        let limiter = HostLimiter::new(4, HOST_WAIT);
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        let requests = [
            acquire(&limiter).await,
            acquire(&limiter).await,
            acquire(&limiter).await,
        ];
        let costs: Vec<Cost> = (2..)
            .zip(requests)
            .map(|(row, request)| request.finish(row, failing(false)))
            .collect();
        assert_eq!(costs, [Cost::Attempt, Cost::Attempt, Cost::Time]);
        let probe = acquire(&limiter).await;
        assert!(probe.probe && waits(&limiter).await);
        // When a probe is dropped, another record probes. A failed probe costs an attempt, because
        // the record may be bad and the host fine.
        drop(probe);
        assert_eq!(
            acquire(&limiter).await.finish(2, failing(false)),
            Cost::Attempt
        );
        let probe = acquire(&limiter).await;
        assert!(probe.probe);
        probe.finish(2, HostSignal::Healthy);
        assert!(!acquire(&limiter).await.probe);
    }

    #[tokio::test]
    async fn an_unreachable_host_is_abandoned_but_still_probed() {
        let limiter = HostLimiter::new(4, Duration::from_millis(300));
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        assert_eq!(acquire(&limiter).await.finish(2, failing(true)), Cost::Time);
        tokio::time::sleep(Duration::from_millis(310)).await;
        assert_eq!(acquire(&limiter).await.finish(2, failing(true)), Cost::All);
        // A record that waits for a probe fails with it.
        let probe = acquire(&limiter).await;
        let waiting = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.acquire().await.err() }
        });
        // There is one thread, so the other task runs until it waits.
        tokio::task::yield_now().await;
        assert_eq!(probe.finish(3, failing(true)), Cost::All);
        let refused = waiting.await.unwrap().unwrap();
        assert!(refused.starts_with("not attempted: the host has been down"));
        assert!(refused.ends_with("refused"));
        acquire(&limiter).await.finish(4, HostSignal::Healthy);
        assert!(!waits(&limiter).await);
    }

    #[tokio::test]
    async fn consecutive_bad_records_fail_after_their_own_attempts_without_affecting_others() {
        let limiter = HostLimiter::new(1, Duration::from_millis(200));
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        let start = Instant::now();
        for row in 2..50 {
            for _ in 0..4 {
                let cost = acquire(&limiter).await.finish(row, failing(false));
                // The attempt that opens the circuit was not a probe, so it is free.
                assert!(
                    matches!(cost, Cost::Attempt | Cost::Time),
                    "{row}: {cost:?}"
                );
            }
        }
        assert!(start.elapsed() > Duration::from_millis(200));
        acquire(&limiter).await.finish(50, HostSignal::Healthy);
        assert!(!waits(&limiter).await);
    }

    #[tokio::test]
    async fn a_host_that_fails_for_many_records_is_abandoned() {
        let limiter = HostLimiter::new(1, Duration::from_millis(50));
        acquire(&limiter).await.finish(1, HostSignal::Healthy);
        let mut costs = Vec::new();
        for row in 2..150 {
            costs.push(acquire(&limiter).await.finish(row, failing(false)));
        }
        assert!(!costs[..99].contains(&Cost::All));
        assert_eq!(costs.last(), Some(&Cost::All));
    }
}
