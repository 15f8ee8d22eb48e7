//! Reads bytes as the parts of an xlsb workbook.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(&files::xlsb(bytes, bytes), false);
});
