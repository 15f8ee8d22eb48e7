//! Limits the requests to a host to a rate: of one child, or of the children of all runs together.
//!
//! A shared rate is a sequence of permits, one interval apart. A child takes permits only for
//! requests that are ready to be sent and never hoards them. A child that is idle, slow or
//! dead therefore takes nothing from the others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::pacer::Pacer;

/// Rate permits that the children of all runs share.
#[async_trait]
pub trait Permits: fmt::Debug + Send + Sync {
    /// Takes `count` permits, `interval` apart, and returns the time of the first. No permit of
    /// the same `rate_key` is given out twice.
    ///
    /// # Errors
    /// The permits could not be taken. The caller may try again.
    async fn take(
        &self,
        rate_key: &str,
        count: u32,
        interval: Duration,
    ) -> Result<DateTime<Utc>, String>;
}

/// Maximum number of permits taken in one call; a child never has more records in progress.
const BATCH_MAX: usize = 1000;
/// Longest wait for further requests, so that their permits are taken in one call.
const LINGER: Duration = Duration::from_millis(500);
/// Pause after permits could not be taken, and the number of attempts: 2 minutes in all, enough
/// for a ledger to recover.
const RETRY_WAIT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 24;

/// Why a request may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcquireError {
    /// It would have to wait this long, past its deadline.
    #[error("the next request is allowed only in {0:?}")]
    TooLate(Duration),
    /// No permit could be taken.
    #[error("{0}")]
    NoPermit(String),
}

/// A request that waits for its permit.
pub(crate) struct Waiter {
    deadline: Option<Instant>,
    /// Receives the time of the permit, or why there is none.
    permit: oneshot::Sender<Result<Instant, AcquireError>>,
}

impl Waiter {
    fn is_too_late(&self, at: Instant) -> bool {
        self.deadline.is_some_and(|deadline| at > deadline)
    }

    fn refuse(self, at: Instant) {
        let wait = at.saturating_duration_since(Instant::now());
        let _ = self.permit.send(Err(AcquireError::TooLate(wait)));
    }
}

/// Limits the rate of requests to a host.
pub(crate) enum RateLimiter {
    /// For this child alone.
    Local(Pacer),
    /// Shared by all children; a task takes the permits.
    Shared(mpsc::UnboundedSender<Waiter>),
}

impl RateLimiter {
    /// Requests at least `interval` apart. All callers with the same `rate_key` share the rate.
    pub(crate) fn new(
        interval: Duration,
        permits: Option<Arc<dyn Permits>>,
        rate_key: &str,
    ) -> RateLimiter {
        let Some(permits) = permits else {
            return RateLimiter::Local(Pacer::new(interval));
        };
        let (sender, waiters) = mpsc::unbounded_channel();
        // The task ends when the sender is dropped.
        tokio::spawn(serve(permits, rate_key.to_owned(), interval, waiters));
        RateLimiter::Shared(sender)
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// No permit could be taken, or none before the deadline. That is known at once.
    pub(crate) async fn acquire(&self, deadline: Option<Instant>) -> Result<(), AcquireError> {
        let sender = match self {
            RateLimiter::Local(pacer) => {
                return pacer.wait(deadline).await.map_err(AcquireError::TooLate);
            }
            RateLimiter::Shared(sender) => sender,
        };
        let (permit, taken) = oneshot::channel();
        let closed = || AcquireError::NoPermit("the rate limiter has stopped".to_owned());
        let waiter = Waiter { deadline, permit };
        sender.send(waiter).map_err(|_| closed())?;
        sleep_until(taken.await.map_err(|_| closed())??).await;
        Ok(())
    }
}

/// Takes permits for all waiters.
async fn serve(
    permits: Arc<dyn Permits>,
    rate_key: String,
    interval: Duration,
    mut incoming: mpsc::UnboundedReceiver<Waiter>,
) {
    let mut waiters: Vec<Waiter> = Vec::new();
    // No permit is earlier. Waiters that it is too late for take none: it would delay everyone else.
    let mut next = Instant::now();
    while incoming.recv_many(&mut waiters, BATCH_MAX).await > 0 {
        // A record may have been dropped while it waited.
        waiters.retain(|waiter| !waiter.permit.is_closed());
        let now = Instant::now();
        for late in waiters.extract_if(.., |waiter| next > now && waiter.is_too_late(next)) {
            late.refuse(next);
        }
        // At most BATCH_MAX.
        let count = waiters.len() as u32;
        if count == 0 {
            continue;
        }
        match take_with_retries(&*permits, &rate_key, count, interval).await {
            Ok(first) => {
                let ahead = (first - Utc::now()).to_std().unwrap_or_default();
                let first = Instant::now() + ahead;
                for (n, waiter) in (0..).zip(waiters.drain(..)) {
                    let at = first + interval * n;
                    match waiter.is_too_late(at) {
                        true => waiter.refuse(at),
                        false => drop(waiter.permit.send(Ok(at))),
                    }
                }
                next = first + interval * count;
                // The permits before `first` are taken anyway, so waiting loses none.
                sleep((ahead / 2).min(LINGER)).await;
            }
            Err(reason) => {
                for waiter in waiters.drain(..) {
                    let _ = waiter
                        .permit
                        .send(Err(AcquireError::NoPermit(reason.clone())));
                }
            }
        }
    }
}

async fn take_with_retries(
    permits: &dyn Permits,
    rate_key: &str,
    count: u32,
    interval: Duration,
) -> Result<DateTime<Utc>, String> {
    for _ in 1..ATTEMPTS {
        match permits.take(rate_key, count, interval).await {
            Ok(first) => return Ok(first),
            Err(reason) => tracing::warn!(rate_key, reason, "cannot take rate permits; retrying"),
        }
        sleep(RETRY_WAIT).await;
    }
    permits.take(rate_key, count, interval).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A ledger's permits in memory. Each call takes `latency`.
    #[derive(Debug)]
    struct Table {
        latency: Duration,
        next: Mutex<(DateTime<Utc>, u32)>,
    }

    #[async_trait]
    impl Permits for Table {
        async fn take(
            &self,
            _: &str,
            count: u32,
            interval: Duration,
        ) -> Result<DateTime<Utc>, String> {
            sleep(self.latency).await;
            let mut next = self.next.lock().unwrap();
            next.1 += 1;
            let first = next.0.max(Utc::now());
            next.0 = first + interval * count;
            Ok(first)
        }
    }

    /// Sixteen children send four requests at a time each, to a source that takes 20 ms.
    #[tokio::test]
    async fn the_shared_rate_holds_while_children_start_and_die() {
        let table = Arc::new(Table {
            latency: Duration::from_millis(10),
            next: Mutex::new((Utc::now(), 0)),
        });
        let sent = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let end = start + Duration::from_secs(4);
        let mut children = tokio::task::JoinSet::new();
        for child in 0..16 {
            let interval = Duration::from_millis(5);
            let limiter = Arc::new(RateLimiter::new(interval, Some(table.clone()), "host"));
            for _ in 0..4 {
                let (limiter, sent) = (limiter.clone(), sent.clone());
                children.spawn(async move {
                    // Half of the children die after a second.
                    let until = if child % 2 == 0 {
                        end
                    } else {
                        start + Duration::from_secs(1)
                    };
                    while Instant::now() < until {
                        limiter.acquire(None).await.unwrap();
                        sent.lock().unwrap().push(start.elapsed());
                        sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        }
        children.join_all().await;
        let sent = sent.lock().unwrap();
        // 200/s in each full second after the first.
        for second in 1..4 {
            let within = |t: &&Duration| t.as_secs() == second;
            let count = sent.iter().filter(within).count();
            assert!((150..=210).contains(&count), "{count} in second {second}");
        }
        let taken = table.next.lock().unwrap().1;
        assert!(taken < 600, "{taken} calls for {} permits", sent.len());
    }

    #[tokio::test]
    async fn a_request_that_would_be_too_late_fails_at_once_and_takes_no_permit() {
        let table = Arc::new(Table {
            latency: Duration::ZERO,
            next: Mutex::new((Utc::now(), 0)),
        });
        let hour = Duration::from_secs(3600);
        for permits in [None, Some(table.clone() as Arc<dyn Permits>)] {
            let limiter = RateLimiter::new(hour, permits, "host");
            let start = Instant::now();
            let deadline = Some(start + hour / 2);
            assert_eq!(limiter.acquire(deadline).await, Ok(()));
            for _ in 0..100 {
                let Err(AcquireError::TooLate(wait)) = limiter.acquire(deadline).await else {
                    panic!("the next request is allowed in an hour");
                };
                assert!(wait > hour / 2 && wait <= hour, "{wait:?}");
            }
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        assert_eq!(
            table.next.lock().unwrap().1,
            1,
            "only the first took a permit"
        );
    }

    #[tokio::test]
    async fn a_single_child_with_one_request_at_a_time_gets_the_whole_rate() {
        let table = Arc::new(Table {
            latency: Duration::from_millis(3),
            next: Mutex::new((Utc::now(), 0)),
        });
        // An interval long enough for a machine that is busy with other tests.
        let limiter = RateLimiter::new(Duration::from_millis(100), Some(table), "host");
        let start = Instant::now();
        for _ in 0..21 {
            limiter.acquire(None).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        let took = start.elapsed();
        assert!(
            (Duration::from_millis(2000)..Duration::from_millis(2300)).contains(&took),
            "{took:?}"
        );
    }
}
