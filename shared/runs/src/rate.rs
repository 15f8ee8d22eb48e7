//! Limits the rate of calls to a service.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Limits how many calls start in any one second.
#[derive(Debug)]
pub struct RateLimiter {
    /// When the latest calls started, oldest first.
    started: VecDeque<Instant>,
    per_second: usize,
}

impl RateLimiter {
    /// Creates one for a number of calls per second.
    pub fn new(per_second: u32) -> RateLimiter {
        RateLimiter {
            started: VecDeque::with_capacity(per_second as usize),
            per_second: per_second as usize,
        }
    }

    /// Waits until the next call may start.
    pub async fn wait(&mut self) {
        if self.started.len() == self.per_second
            && let Some(oldest) = self.started.pop_front()
        {
            tokio::time::sleep_until(oldest + Duration::from_secs(1)).await;
        }
        self.started.push_back(Instant::now());
    }
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
}
