//! Steps against real local servers and programs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod from_file;
mod translate;
