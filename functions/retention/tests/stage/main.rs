//! Stage retention on the local adapters, with a clock that the tests control.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod bench;
mod faults;
mod races;
mod rules;
