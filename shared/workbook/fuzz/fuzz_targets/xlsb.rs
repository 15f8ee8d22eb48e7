//! Reads bytes as the parts of an xlsb workbook.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

use files::xlsb::{Xlsb, row, sheet, short_cell, wide};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read(
        &Xlsb {
            workbook: bytes.to_vec(),
            sheet: bytes.to_vec(),
            ..Xlsb::default()
        }
        .bytes(),
        true,
    );
    let head = [row(0, false), short_cell(17, 0, &wide("A"))].concat();
    common::read(
        &Xlsb {
            sheet: sheet(&[head, bytes.to_vec()]),
            strings: Some(bytes.to_vec()),
            styles: Some(bytes.to_vec()),
            ..Xlsb::default()
        }
        .bytes(),
        true,
    );
});
