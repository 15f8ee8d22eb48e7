//! Split, submit, cleanup, the look at a run and the sweep on local adapters.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail a test as tests do"
)]

mod due;
mod entry;
mod killed_anywhere;
mod place;
mod refused;
mod submit;
mod sweep;
