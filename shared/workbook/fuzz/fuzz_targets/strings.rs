//! Reads bytes as the shared strings and styles of an xlsx workbook.

#![no_main]

mod common;
#[path = "../../tests/files/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let book = files::Xlsx {
        sheet: files::sheet("<row><c t=\"s\"><v>0</v></c></row><row><c s=\"1\"><v>1</v></c></row>"),
        strings: Some(text.clone()),
        styles: Some(text),
        ..files::Xlsx::default()
    };
    common::read(&book.bytes(), true);
});
