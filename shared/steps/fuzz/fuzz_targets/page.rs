//! Reads elements from bytes as a page.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rowmill_steps::fuzzing::page(false, bytes);
    rowmill_steps::fuzzing::page(true, bytes);
});
