//! Abandons a program that never answers.
//!
//! Every timeout costs the full time limit. A program that hangs on each record would block the
//! child until the child's own time limit.

use crate::truncate;

/// Consecutive timeouts after which a program that has never answered is abandoned. It is probably
/// misconfigured, or does not flush its output.
const TIMEOUTS_BEFORE_FIRST_ANSWER: u32 = 3;
/// The same for a program that has answered before: several bad records may follow each other.
const TIMEOUTS_AFTER_ANSWER: u32 = 20;

/// Counts timeouts without an answer in between.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    answered: bool,
    timeouts: u32,
    abandoned: Option<String>,
}

impl Breaker {
    /// The program answered a record.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.timeouts = 0;
    }

    /// A record timed out.
    pub(super) fn timed_out(&mut self, reason: &str) {
        self.timeouts += 1;
        let max = if self.answered {
            TIMEOUTS_AFTER_ANSWER
        } else {
            TIMEOUTS_BEFORE_FIRST_ANSWER
        };
        if self.timeouts >= max && self.abandoned.is_none() {
            tracing::warn!(reason, "the program is abandoned");
            self.abandoned = Some(format!(
                "not attempted: the program timed out on {} consecutive records: {}",
                self.timeouts,
                truncate(reason, 300)
            ));
        }
    }

    /// Why the program is abandoned, if it is.
    pub(super) fn abandoned(&self) -> Option<&str> {
        self.abandoned.as_deref()
    }
}
