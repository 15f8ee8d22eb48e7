//! Reads bytes as the content of an XML Spreadsheet 2003.

#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let head = b"<?xml version=\"1.0\"?><Workbook xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\">";
    common::read(&[head, bytes].concat(), true);
});
