//! Calls at no more than a service's rate, and again where it throttles.

use std::collections::VecDeque;
use std::time::Duration;

use rowmill_ports::{ErrorKind, PortError};
use tokio::time::Instant;

/// Tries in all of a call that is throttled.
const TRIES: u32 = 8;
/// The pause after the first throttled try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Lets at most so many calls begin in any second.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: VecDeque<Instant>,
    a_second: usize,
}

impl Pace {
    pub(crate) fn new(a_second: u32) -> Pace {
        Pace {
            begun: VecDeque::with_capacity(a_second as usize),
            a_second: a_second as usize,
        }
    }

    /// Waits until a call may begin.
    pub(crate) async fn turn(&mut self) {
        if self.begun.len() == self.a_second
            && let Some(oldest) = self.begun.pop_front()
        {
            tokio::time::sleep_until(oldest + Duration::from_secs(1)).await;
        }
        self.begun.push_back(Instant::now());
    }
}

/// Calls, and again where the service throttles, with pauses that double.
pub(crate) async fn patiently<T, F>(call: impl FnMut() -> F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    patiently_from(FIRST_PAUSE, call).await
}

async fn patiently_from<T, F>(
    mut pause: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    for _ in 1..TRIES {
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

    // In real time: tokio's own, which tests can turn, is a feature with which `cargo test` would
    // compile the SDK another time than `cargo doc`.
    #[tokio::test]
    async fn no_second_holds_more_calls_than_allowed() {
        let mut pace = Pace::new(5);
        let mut times = Vec::new();
        for _ in 0..12 {
            pace.turn().await;
            times.push(Instant::now());
        }
        let second = Duration::from_secs(1);
        assert!(times.windows(6).all(|w| w[5] - w[0] >= second));
        let first = times[4] - times[0];
        assert!(first < second, "the first five need not wait: {first:?}");
        assert!(times[11] - times[0] >= 2 * second);
    }

    const SHORT: Duration = Duration::from_micros(10);

    #[tokio::test]
    async fn a_throttled_call_is_tried_again_and_a_refused_one_is_not() {
        let error = |kind| PortError::new("SubmitJob", "job", kind, "no");
        let mut calls = 0;
        let result = patiently_from(SHORT, || {
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
        let result: Result<(), _> = patiently_from(SHORT, || {
            calls += 1;
            async { Err(error(ErrorKind::Invalid)) }
        })
        .await;
        assert_eq!((result.unwrap_err().kind, calls), (ErrorKind::Invalid, 1));
        let mut calls = 0;
        let result: Result<(), _> = patiently_from(SHORT, || {
            calls += 1;
            async { Err(error(ErrorKind::Throttled)) }
        })
        .await;
        assert_eq!((result.is_err(), calls), (true, TRIES));
    }
}
