//! Reads bytes as the cells of an xlsx sheet.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(&files::below_header(&String::from_utf8_lossy(bytes)), true);
});
