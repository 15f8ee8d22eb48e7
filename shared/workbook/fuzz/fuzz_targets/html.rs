//! Reads bytes as an HTML page.

#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(&[b"<html>", bytes].concat(), true);
});
