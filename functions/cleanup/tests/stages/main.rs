//! Split, submit, cleanup and the sweep on local adapters.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail a test as tests do"
)]

mod killed_anywhere;
mod place;
mod refused;
mod sweep;
