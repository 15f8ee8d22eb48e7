//! Reads bytes as the globals and cells of xls workbooks.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

use files::xls::{Biff, book, compound};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for version in [Biff::Five, Biff::Eight] {
        common::read(&book(version, &[], &[bytes.to_vec()]), true);
        common::read(&book(version, &[bytes.to_vec()], &[bytes.to_vec()]), true);
    }
    common::read(&compound(&[("Workbook", bytes.to_vec())]), true);
});
