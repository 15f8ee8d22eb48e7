//! What the end-to-end tests share: the program under test, fixtures, an independent reader of
//! workbooks, and a source server that misbehaves as told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is test code: a panic is a test's failure"
)]

pub mod program;
pub mod python;
pub mod source;
pub mod workbook;
