//! When a program that never answers is given up.
//!
//! Each record that it lets run out of time costs that time. A program that hangs on all of them
//! would hold a child for as many time limits as there are records, and then the child's own.

use crate::brief;

/// Time limits in a row after which a program is given up that has answered nothing yet: it is
/// set up wrongly, or does not flush.
const NEVER_ANSWERED: u32 = 3;
/// The same for one that has answered before: bad records may stand side by side.
const ANSWERED: u32 = 20;

/// Counts time limits that ran out without an answer in between.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    answered: bool,
    in_a_row: u32,
    given_up: Option<String>,
}

impl Breaker {
    /// The program answered a record.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.in_a_row = 0;
    }

    /// A record ran out of time, for that reason.
    pub(super) fn timed_out(&mut self, reason: &str) {
        self.in_a_row += 1;
        let most = if self.answered {
            ANSWERED
        } else {
            NEVER_ANSWERED
        };
        if self.in_a_row >= most && self.given_up.is_none() {
            tracing::warn!(reason, "the program is given up");
            self.given_up = Some(format!(
                "not tried, for the program answered none of {} records in a row: {}",
                self.in_a_row,
                brief(reason, 300)
            ));
        }
    }

    /// Why no more records are given to the program, where that is so.
    pub(super) fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }
}
