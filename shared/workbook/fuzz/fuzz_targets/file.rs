//! Any bytes as a file: csv, and whatever passes for an archive.

#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(bytes, false);
});
