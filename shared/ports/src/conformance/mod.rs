//! One suite for every adapter. Each function panics where the adapter breaks a guarantee of the
//! port's docstrings.
//!
//! The suites hold no runtime and start nothing: a test gives them an adapter and an empty place
//! to work in.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a suite says that a guarantee is broken by panicking, as any test does"
)]

pub mod jobs;
pub mod ledger;
pub mod mailer;
pub mod objects;
pub mod scheduler;
pub mod topic;

use std::time::{Duration, Instant};

use rowmill_domain::message::Message;

/// Waits until a message is among those received.
fn arrival(received: &dyn Fn() -> Vec<Message>, message: &Message, patience: Duration) {
    let begun = Instant::now();
    while !received().contains(message) {
        assert!(begun.elapsed() < patience, "{message:?} did not come");
        // Blocks its thread: a suite has no runtime to sleep in, and this is a test.
        std::thread::sleep(Duration::from_millis(20));
    }
}
