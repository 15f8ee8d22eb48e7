//! Reads values from bytes as JSON.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rowmill_steps::fuzzing::json(bytes);
});
