//! One conformance suite per port. Each suite panics if the adapter breaks a guarantee that the
//! port's docstrings state.
//!
//! A suite does not start a runtime or a service: a test passes it an adapter and an empty place to
//! work in.
//!
//! ```no_run
//! # async fn test(adapter: &dyn rowmill_ports::Runs) {
//! rowmill_ports::conformance::runs::runs(adapter).await;
//! # }
//! ```
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a suite panics as any test does"
)]
#![allow(clippy::disallowed_methods, reason = "a suite tests every method")]

pub mod archive;
pub mod coordination;
pub mod jobs;
pub mod mailer;
pub mod objects;
pub mod outcomes;
pub mod reviews;
pub mod runs;
pub mod scheduler;
pub mod submitters;
pub mod topic;

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::RunId;
use rowmill_domain::message::RunMessage;

use crate::TablePlan;

/// The size of the tables that the suites create.
const PLAN: TablePlan = TablePlan {
    writes_per_second: 1000,
    records: 100,
};

/// A fixed time plus `seconds`, in whole milliseconds.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_255_200_123).unwrap() + TimeDelta::seconds(seconds)
}

fn id(name: &str) -> RunId {
    RunId::new("inbox", name, "v1", at(0), "suite")
}

/// Waits until `message` is received.
fn arrival(received: &dyn Fn() -> Vec<RunMessage>, message: &RunMessage, patience: Duration) {
    let begun = Instant::now();
    while !received().contains(message) {
        assert!(begun.elapsed() < patience, "{message:?} did not arrive");
        // Blocks the thread: a suite has no runtime to sleep in.
        std::thread::sleep(Duration::from_millis(20));
    }
}
