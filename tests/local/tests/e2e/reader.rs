//! The workbook reader returns the same values as openpyxl, and hostile files are errors.

use std::process::Command;

use rowmill_tests_local::program::built;
use rowmill_tests_local::python;

#[test]
fn values_equal_those_of_openpyxl() {
    let books = python::run("openpyxl_equal.py", &[&built("dump-workbook")]);
    assert!(books.trim().parse::<u32>().unwrap() >= 50, "{books}");
}

/// Address space of the reader in kB. A failed allocation would end the process with a signal.
const ADDRESS_SPACE: u32 = 400_000;

#[test]
fn hostile_files_of_every_format_are_errors_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    python::run("hostile.py", &[folder.path()]);
    let reason = |name: &str| match name {
        "nested.xlsx" | "nested.ods" | "nested.html" | "nested.xml" => "`nesting`",
        "text.xlsx" | "attributes.xlsx" | "quote.csv" | "text.xml" | "length.xlsb" => {
            "`text_bytes`"
        }
        "sheets.xlsx" => "`entries`",
        "cells.ods" => "`ratio`",
        "record.xlsb" => "incomplete",
        "sectors.xls" => "damaged",
        other => panic!("{other}"),
    };
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let read = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -v {ADDRESS_SPACE} && exec \"$0\" \"$1\""),
            ])
            .args([&built("dump-workbook"), &path])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&read.stderr);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(read.status.code(), Some(1), "{name}: {message}");
        assert!(message.contains(name), "{name}: {message}");
        assert!(message.contains(reason(name)), "{name}: {message}");
        files += 1;
    }
    assert_eq!(files, 13);
}
