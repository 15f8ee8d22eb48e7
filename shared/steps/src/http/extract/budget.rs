//! How much work may be done for an answer. Its markup decides how long parsing takes, so both are
//! limited: steps, which are the same on every machine, and time.

use std::cell::Cell;
use std::time::Instant;

/// Steps for a response, and for each output of it, beyond those for its size: enough for any selector
/// on a small page, and less than 0.1 s.
const STEPS_MIN: u64 = 5_000_000;
/// Steps per byte of a response.
const STEPS_PER_BYTE: u64 = 32;
/// Steps between two looks at the clock.
const LOOK: u64 = 16 * 1024;

/// The work that is left.
pub(super) struct Budget {
    left: Cell<u64>,
    /// The clock is read when fewer steps are left.
    look_at: Cell<u64>,
    until: Instant,
    is_late: Cell<bool>,
}

/// Why work stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spent {
    Steps,
    Time,
}

impl Budget {
    /// The work for a response of this size.
    pub(super) fn of(bytes: usize, until: Instant) -> Budget {
        Budget::new(STEPS_MIN + STEPS_PER_BYTE * bytes as u64, until)
    }

    fn new(steps: u64, until: Instant) -> Budget {
        Budget {
            left: Cell::new(steps),
            look_at: Cell::new(steps),
            until,
            is_late: Cell::new(false),
        }
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.left.get()
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Budget {
        Budget::new(
            u64::MAX,
            Instant::now() + std::time::Duration::from_secs(3600),
        )
    }

    /// Spends steps. Returns whether work may go on.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps as u64);
        self.left.set(left);
        if left < self.look_at.get() && left > 0 {
            self.look_at.set(left.saturating_sub(LOOK));
            self.look();
        }
        left > 0
    }

    /// Reads the clock.
    pub(super) fn look(&self) {
        if Instant::now() >= self.until {
            self.is_late.set(true);
            self.left.set(0);
        }
    }

    /// # Errors
    /// No work is left.
    pub(super) fn check(&self) -> Result<(), Spent> {
        match self.left.get() {
            0 if self.is_late.get() => Err(Spent::Time),
            0 => Err(Spent::Steps),
            _ => Ok(()),
        }
    }
}

impl Spent {
    /// The reason for a row's `error`. `what` does the work, such as "parsing the page".
    pub(super) fn reason(self, what: &str) -> String {
        match self {
            Spent::Steps => format!("{what} takes too many steps on this response"),
            Spent::Time => format!("{what} takes longer than `timeout` allows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_and_time_are_limited() {
        let later = Instant::now() + Duration::from_secs(60);
        let budget = Budget::new(3, later);
        assert!(budget.spend(2) && budget.check().is_ok());
        assert!(!budget.spend(1));
        assert_eq!(budget.check(), Err(Spent::Steps));
        assert!(!budget.spend(1));

        let budget = Budget::new(u64::MAX, Instant::now());
        budget.spend(1);
        assert_eq!(budget.check(), Err(Spent::Time));
    }
}
