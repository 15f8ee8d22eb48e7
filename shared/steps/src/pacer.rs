//! Spaces requests evenly in time: `rate = "50/s"`.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How far behind schedule a pacer may be and still catch up. Tokio's clock ticks in
/// milliseconds, and a short stall of the machine should not lower the rate. It also bounds the
/// burst that a source can see.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Lets callers continue at a fixed rate, in the order they called. Each caller reserves the next
/// time and sleeps until then, so that no two callers wake for the same one.
#[derive(Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pacer {
    /// Lets one caller continue per `interval`.
    pub(crate) fn new(interval: Duration) -> Pacer {
        Pacer {
            interval,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until the caller may continue.
    ///
    /// # Errors
    /// The wait, if it would exceed the deadline. Nothing is reserved then.
    pub(crate) async fn wait(&self, deadline: Option<Instant>) -> Result<(), Duration> {
        let now = Instant::now();
        let at = self.reserve(now, deadline)?;
        if at > now {
            sleep_until(at).await;
        }
        Ok(())
    }

    /// Reserves the next time and returns it.
    fn reserve(&self, now: Instant, deadline: Option<Instant>) -> Result<Instant, Duration> {
        let mut next = match self.next.lock() {
            Ok(next) => next,
            Err(poisoned) => poisoned.into_inner(),
        };
        let at = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        if at > now && deadline.is_some_and(|deadline| at > deadline) {
            return Err(at - now);
        }
        *next = at + self.interval;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_for_one_caller_and_for_many() {
        for (rate, callers) in [(0.5, 1), (7.0, 3), (50.0, 16), (2000.0, 64)] {
            let pacer = Pacer::new(Duration::from_secs_f64(1.0 / rate));
            let start = Instant::now();
            let mut callers = vec![start; callers];
            let mut reserved = 0;
            // For 30 s, the caller that is free first reserves next.
            while let Some(free) = callers.iter_mut().min()
                && *free < start + Duration::from_secs(30)
            {
                *free = pacer.reserve(*free, None).unwrap().max(*free);
                reserved += 1;
            }
            let ideal = rate * 30.0;
            assert!(
                (f64::from(reserved) - ideal).abs() <= ideal * 0.01 + callers.len() as f64 + 1.0,
                "{reserved} at {rate}/s in 30 s"
            );
        }
    }

    #[test]
    fn idle_time_does_not_allow_a_burst() {
        let pacer = Pacer::new(Duration::from_millis(10));
        let later = Instant::now() + Duration::from_secs(60);
        let last = (0..102).map(|_| pacer.reserve(later, None).unwrap()).last();
        assert!(last.unwrap() >= later + Duration::from_millis(980));
    }

    #[tokio::test]
    async fn waits_add_up_to_the_interval() {
        let pacer = Pacer::new(Duration::from_millis(5));
        let start = Instant::now();
        for _ in 0..20 {
            pacer.wait(None).await.unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(70));
    }
}
