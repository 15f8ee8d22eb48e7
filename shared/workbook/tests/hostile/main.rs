//! Unusual and malicious files: each produces the expected values or the expected error, within limits
//! on time and memory. The modules list the files and what they must produce.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used, clippy::panic)]

mod archives;
mod delimited;
// Not all builders are used here.
#[allow(dead_code)]
#[path = "../files/mod.rs"]
mod files;
mod foreign;
mod html;
mod ods;
mod order;
mod parts;
mod spreadsheet_xml;
mod xls;
mod xls_encrypted;
mod xlsb;
mod xlsx;
mod xlsx_hostile;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};

/// Maximum time per file.
const TIME: Duration = Duration::from_secs(20);
/// Maximum peak memory for all files, in kB.
const MEMORY: u64 = 512 << 10;
/// Maximum number of rows to show. For longer sheets, only the number of rows is shown.
const SHOWN: usize = 8;

/// The rows of a file as text: the column names, then `row: value | value`. `!` marks an error, `'` a
/// text.
#[derive(Default)]
struct Shown {
    lines: Vec<String>,
    rows: usize,
}

impl RowSink for Shown {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.lines.push(header.columns.join(" | "));
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.rows += 1;
        if self.rows <= SHOWN {
            let cells: Vec<String> = cells.iter().map(show).collect();
            self.lines.push(format!("{row}: {}", cells.join(" | ")));
        }
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        cells: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        self.row(row, cells)?;
        if let Some(line) = self.lines.last_mut() {
            for OutsideCell { column, cell } in outside {
                line.push_str(&format!(" | {column}: {}", show(cell)));
            }
        }
        ControlFlow::Continue(())
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        let count = (last - first) as usize + 1;
        self.rows += count;
        if self.rows <= SHOWN {
            let rows = match count {
                1 => first.to_string(),
                _ => format!("{first} to {last}"),
            };
            self.lines.push(format!("{rows}: blank"));
        }
        ControlFlow::Continue(())
    }
    fn restart(&mut self) -> bool {
        *self = Shown::default();
        true
    }
}

fn show(cell: &Cell) -> String {
    let text = match cell {
        Cell::Empty => String::new(),
        Cell::Value(rowmill_domain::Value::Text(text)) => format!("'{text}"),
        Cell::Value(value) => value.to_text(),
        Cell::Error(error) => format!("!{error}"),
    };
    match text.chars().count() {
        0..=60 => text,
        length => format!("{length} characters"),
    }
}

/// The result of reading `bytes`: the rows, or the error message without the file name.
fn outcome(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut options = options.clone();
    options.limits.seconds = TIME.as_secs();
    let mut shown = Shown::default();
    let start = Instant::now();
    let read = read_rows(&path, &options, &mut shown);
    assert!(start.elapsed() < TIME, "{name} took {:?}", start.elapsed());
    match read {
        Ok(summary) => {
            assert_eq!(summary.rows as usize, shown.rows);
            if shown.rows > SHOWN {
                shown.lines.truncate(1);
                shown.lines.push(format!("{} rows", shown.rows));
            }
            shown.lines.extend(summary.notes);
            Ok(shown.lines.join("\n"))
        }
        Err(error) => {
            let text = error.to_string();
            let after = text.strip_prefix(&path.display().to_string());
            Err(after
                .unwrap_or_else(|| panic!("{text}: no file named"))
                .to_owned())
        }
    }
}

#[derive(Default)]
struct Table {
    failures: Vec<String>,
    count: usize,
}

impl Table {
    fn good(&mut self, name: &str, bytes: &[u8], want: &str) {
        self.with(name, bytes, &ReadOptions::default(), Ok(want));
    }

    fn bad(&mut self, name: &str, bytes: &[u8], want: &str) {
        self.with(name, bytes, &ReadOptions::default(), Err(want));
    }

    fn with(&mut self, name: &str, bytes: &[u8], options: &ReadOptions, want: Result<&str, &str>) {
        self.count += 1;
        let got = outcome(name, bytes, options);
        let fits = match (&got, want) {
            (Ok(got), Ok(want)) => got == want,
            (Err(got), Err(want)) => got.contains(want),
            _ => false,
        };
        if !fits {
            self.failures
                .push(format!("{name}: got {got:#?}, want {want:#?}"));
        }
    }
}

#[test]
fn every_file_produces_the_expected_values_or_error() {
    let mut table = Table::default();
    xlsx::values(&mut table);
    xlsx::structure(&mut table);
    xlsx::headers(&mut table);
    xlsx_hostile::every(&mut table);
    parts::encodings(&mut table);
    parts::places(&mut table);
    parts::references(&mut table);
    order::every(&mut table);
    archives::archives(&mut table);
    archives::mislabelled(&mut table);
    foreign::binary(&mut table);
    foreign::texts(&mut table);
    spreadsheet_xml::every(&mut table);
    html::values(&mut table);
    html::layout(&mut table);
    html::tables(&mut table);
    html::hostile(&mut table);
    xls::every(&mut table);
    xls_encrypted::every(&mut table);
    ods::every(&mut table);
    ods::notations(&mut table);
    ods::packages(&mut table);
    xlsb::every(&mut table);
    delimited::every(&mut table);
    delimited::zeros(&mut table);
    assert!(table.failures.is_empty(), "{}", table.failures.join("\n"));
    assert!(table.count >= 60, "{} files", table.count);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap();
        let peak: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < MEMORY, "{peak} kB at the peak");
    }
}

#[test]
fn the_error_for_a_missing_file_names_it() {
    let error = rowmill_workbook::detect(Path::new("not-there.xlsx")).unwrap_err();
    assert!(error.to_string().starts_with("not-there.xlsx: "), "{error}");
}
