//! Reads bytes as the tables of an ods document.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(&files::ods(&String::from_utf8_lossy(bytes), ""), true);
});
