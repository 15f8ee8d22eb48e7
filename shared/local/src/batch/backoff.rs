//! When a unit whose last attempt failed may start again.
//!
//! AWS Batch takes from seconds to minutes to place another attempt, so failures of that duration
//! do not use up all attempts. A local Batch could use them up within milliseconds.
//!
//! The pauses are not stored: a restarted host begins again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::unit::Unit;

/// The pause after the first failure. Each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// A program that cannot be started for this long fails an attempt.
const START_WITHIN: Duration = Duration::from_secs(300);

/// The pauses of units.
pub(super) struct Backoff {
    scale: f64,
    units: HashMap<Unit, Pause>,
}

/// The pause of a unit.
struct Pause {
    failures: u32,
    /// `None` while an attempt runs.
    until: Option<Instant>,
    /// Since when its program cannot be started.
    unstartable: Option<Instant>,
}

impl Backoff {
    /// `scale` is the real time of one second.
    pub(super) fn new(scale: f64) -> Backoff {
        Backoff {
            scale,
            units: HashMap::new(),
        }
    }

    /// Whether the unit must not start yet.
    pub(super) fn holds(&self, unit: Unit) -> bool {
        let until = self.units.get(&unit).and_then(|pause| pause.until);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Waits until a unit that does not run may start. Forever if there is none.
    pub(super) async fn over(&self) {
        match self.units.values().filter_map(|pause| pause.until).min() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Records that an attempt failed and another follows.
    pub(super) fn failed(&mut self, unit: Unit) {
        let scale = self.scale;
        let pause = self.pause(unit);
        pause.until = Some(Instant::now() + length(pause.failures).mul_f64(scale));
        pause.failures += 1;
    }

    /// Records that a program could not be started. Returns whether to try again without counting
    /// it as an attempt.
    pub(super) fn not_started(&mut self, unit: Unit) -> bool {
        self.failed(unit);
        let longest = START_WITHIN.mul_f64(self.scale);
        let pause = self.pause(unit);
        let since = pause.unstartable.get_or_insert_with(Instant::now);
        since.elapsed() < longest
    }

    /// Records that a program was started.
    pub(super) fn started(&mut self, unit: Unit) {
        if let Some(pause) = self.units.get_mut(&unit) {
            pause.unstartable = None;
            pause.until = None;
        }
    }

    /// Forgets units that have ended.
    pub(super) fn forget(&mut self, is_over: impl Fn(Unit) -> bool) {
        self.units.retain(|unit, _| !is_over(*unit));
    }

    fn pause(&mut self, unit: Unit) -> &mut Pause {
        self.units.entry(unit).or_insert_with(|| Pause {
            failures: 0,
            until: None,
            unstartable: None,
        })
    }
}

/// The pause after that many earlier failures, in seconds of AWS.
fn length(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Unit = Unit {
        job: 1,
        index: Some(3),
    };

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses: Vec<_> = (0..9).map(|n| length(n).as_millis()).collect();
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        assert_eq!(length(u32::MAX), LONGEST);
    }

    #[tokio::test]
    async fn a_unit_is_held_until_its_pause_is_over() {
        let mut backoff = Backoff::new(0.1);
        backoff.failed(UNIT);
        assert!(backoff.holds(UNIT));
        backoff.over().await;
        assert!(!backoff.holds(UNIT));
        backoff.failed(UNIT);
        backoff.forget(|_| true);
        assert!(!backoff.holds(UNIT));
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_costs_an_attempt_only_after_minutes() {
        let mut backoff = Backoff::new(0.0005);
        let from = Instant::now();
        while backoff.not_started(UNIT) {
            backoff.over().await;
        }
        assert!(from.elapsed() >= START_WITHIN.mul_f64(0.0005));
        backoff.started(UNIT);
        assert!(backoff.not_started(UNIT), "the time starts again");
    }
}
