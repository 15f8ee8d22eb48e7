//! Enrich as a stage, on the adapters of one machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed"
)]

mod bench;
mod fetch;
mod latency;
mod preview;
mod slice;
