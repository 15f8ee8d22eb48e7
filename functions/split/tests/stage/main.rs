//! Split as a stage, on local adapters.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail a test as tests do"
)]

mod bench;
mod examples;
mod refused;
mod submitters;
mod tiers;
