//! Requests evenly spaced in time: `rate = "50/s"`.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How far behind its beat a pace may run and catch up: tokio's clock ticks in milliseconds, and
/// a pause of the machine should not lower the rate. No source sees more than this much of the
/// rate at once.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Gives turns at a rate, in the order they were asked for. Each caller reserves the next turn
/// and sleeps until it comes, so that no two callers wake for the same one.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// Turns with that much time between two.
    pub(crate) fn new(gap: Duration) -> Pace {
        Pace {
            gap,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) {
        let now = Instant::now();
        let at = self.reserve(now);
        if at > now {
            sleep_until(at).await;
        }
    }

    /// The time of the next turn, now taken.
    fn reserve(&self, now: Instant) -> Instant {
        let mut next = match self.next.lock() {
            Ok(next) => next,
            Err(poisoned) => poisoned.into_inner(),
        };
        let at = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        *next = at + self.gap;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_for_one_and_for_many() {
        for (rate, callers) in [(0.5, 1), (7.0, 3), (50.0, 16), (2000.0, 64)] {
            let pace = Pace::new(Duration::from_secs_f64(1.0 / rate));
            let start = Instant::now();
            let mut callers = vec![start; callers];
            let mut turns = 0;
            // Whoever is free first asks next, for 30 s.
            while let Some(free) = callers.iter_mut().min()
                && *free < start + Duration::from_secs(30)
            {
                *free = pace.reserve(*free).max(*free);
                turns += 1;
            }
            let ideal = rate * 30.0;
            assert!(
                (f64::from(turns) - ideal).abs() <= ideal * 0.01 + callers.len() as f64 + 1.0,
                "{turns} turns at {rate}/s in 30 s"
            );
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let pace = Pace::new(Duration::from_millis(10));
        let later = Instant::now() + Duration::from_secs(60);
        let last = (0..102).map(|_| pace.reserve(later)).last();
        assert!(last.unwrap() >= later + Duration::from_millis(980));
    }

    #[tokio::test]
    async fn turns_come_in_time() {
        let pace = Pace::new(Duration::from_millis(5));
        let start = Instant::now();
        for _ in 0..20 {
            pace.turn().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(70));
    }
}
