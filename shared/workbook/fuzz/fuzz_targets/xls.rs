//! Reads bytes as the cells of an xls sheet.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(&files::xls(&[bytes.to_vec()]), false);
});
