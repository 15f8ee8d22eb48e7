//! Split as a stage: the examples' workbooks, and uploads that it refuses.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail a test as tests do"
)]

mod bench;
mod examples;
mod refused;
