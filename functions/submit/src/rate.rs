//! Keeps calls below a service's rate, and retries those that it throttles.

use std::collections::VecDeque;
use std::time::Duration;

use rowmill_ports::{ErrorKind, PortError};
use tokio::time::Instant;

/// Attempts at a call that is throttled, the first included.
const ATTEMPTS: u32 = 8;
/// The pause after the first throttled attempt. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Limits how many calls start in any one second.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// When the latest calls started, oldest first.
    started: VecDeque<Instant>,
    per_second: usize,
}

impl RateLimiter {
    pub(crate) fn new(per_second: u32) -> RateLimiter {
        RateLimiter {
            started: VecDeque::with_capacity(per_second as usize),
            per_second: per_second as usize,
        }
    }

    /// Waits until the next call may start.
    pub(crate) async fn wait(&mut self) {
        if self.started.len() == self.per_second
            && let Some(oldest) = self.started.pop_front()
        {
            tokio::time::sleep_until(oldest + Duration::from_secs(1)).await;
        }
        self.started.push_back(Instant::now());
    }
}

/// Repeats a call while the service throttles it, with pauses that double.
pub(crate) async fn retry_throttled<T, F>(call: impl FnMut() -> F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    retry_throttled_after(FIRST_PAUSE, call).await
}

async fn retry_throttled_after<T, F>(
    mut pause: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) if error.kind == ErrorKind::Throttled => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
    call().await
}

#[cfg(test)]
mod tests {
    use super::*;

    // In real time: pausing tokio's clock needs its feature `test-util`, with which `cargo test`
    // would compile the SDK a second time.
    #[tokio::test]
    async fn calls_in_any_second_stay_within_the_limit() {
        let mut limiter = RateLimiter::new(5);
        let mut times = Vec::new();
        for _ in 0..12 {
            limiter.wait().await;
            times.push(Instant::now());
        }
        let second = Duration::from_secs(1);
        assert!(times.windows(6).all(|w| w[5] - w[0] >= second));
        let first = times[4] - times[0];
        assert!(
            first < second,
            "the first five calls do not wait: {first:?}"
        );
        assert!(times[11] - times[0] >= 2 * second);
    }

    const SHORT: Duration = Duration::from_micros(10);

    #[tokio::test]
    async fn a_throttled_call_is_retried_and_a_refused_one_is_not() {
        let error = |kind| PortError::new("SubmitJob", "job", kind, "no");
        let mut calls = 0;
        let result = retry_throttled_after(SHORT, || {
            calls += 1;
            let result = if calls < 4 {
                Err(error(ErrorKind::Throttled))
            } else {
                Ok(7)
            };
            async { result }
        })
        .await;
        assert_eq!((result.unwrap(), calls), (7, 4));
        let mut calls = 0;
        let result: Result<(), _> = retry_throttled_after(SHORT, || {
            calls += 1;
            async { Err(error(ErrorKind::Invalid)) }
        })
        .await;
        assert_eq!((result.unwrap_err().kind, calls), (ErrorKind::Invalid, 1));
        let mut calls = 0;
        let result: Result<(), _> = retry_throttled_after(SHORT, || {
            calls += 1;
            async { Err(error(ErrorKind::Throttled)) }
        })
        .await;
        assert_eq!((result.is_err(), calls), (true, ATTEMPTS));
    }
}
