//! Fixture workbooks, and workbooks as openpyxl reads them.

use std::path::Path;

use rust_xlsxwriter::{Format, Workbook, Worksheet};
use serde_json::Value;

/// A cell of a fixture.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Empty,
    /// Text.
    Text(String),
    /// A number in the format `General`.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// A serial number in a number format, such as `yyyy-mm-dd`.
    Formatted(f64, &'static str),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell::Number(number)
    }
}

/// A fixture workbook of one sheet.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The rows, the header first.
    pub rows: Vec<Vec<Cell>>,
}

impl Book {
    /// A header and rows.
    pub fn new<C: Into<Cell>>(header: &[&str], rows: impl IntoIterator<Item = Vec<C>>) -> Book {
        let header = header.iter().map(|h| Cell::from(*h)).collect();
        let rows = rows
            .into_iter()
            .map(|r| r.into_iter().map(Into::into).collect());
        Book {
            rows: std::iter::once(header).chain(rows).collect(),
        }
    }

    /// `n` rows with the columns `ID` (text with leading zeros), `Amount` (number) and `Note` (text).
    pub fn numbered(n: u32) -> Book {
        Book::new(
            &["ID", "Amount", "Note"],
            (0..n).map(|i| {
                vec![
                    Cell::Text(format!("{i:07}")),
                    Cell::Number(f64::from(i)),
                    Cell::Text(format!("note {i}")),
                ]
            }),
        )
    }

    /// Writes the workbook to `path`, in constant memory.
    pub fn save(&self, path: &Path) {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet_with_constant_memory().unwrap();
        write(sheet, &self.rows);
        book.save(path).unwrap();
    }
}

/// Where a fixture workbook keeps its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// In the cells.
    Inline,
    /// In the table of shared strings, as Excel does.
    Shared,
}

/// Writes a workbook of one sheet whose rows are not kept in memory, the header first.
pub fn save_rows(path: &Path, texts: Texts, rows: impl IntoIterator<Item = Vec<Cell>>) {
    let mut book = Workbook::new();
    let sheet = match texts {
        Texts::Inline => book.add_worksheet_with_constant_memory().unwrap(),
        Texts::Shared => book.add_worksheet_with_low_memory().unwrap(),
    };
    write(sheet, rows);
    book.save(path).unwrap();
}

fn write(sheet: &mut Worksheet, rows: impl IntoIterator<Item = impl AsRef<[Cell]>>) {
    for (r, row) in (0..).zip(rows) {
        for (c, cell) in (0..).zip(row.as_ref()) {
            match cell {
                Cell::Empty => continue,
                Cell::Text(t) => sheet.write_string(r, c, t),
                Cell::Number(n) => sheet.write_number(r, c, *n),
                Cell::Bool(b) => sheet.write_boolean(r, c, *b),
                Cell::Formatted(n, format) => {
                    sheet.write_number_with_format(r, c, *n, &Format::new().set_num_format(*format))
                }
            }
            .unwrap();
        }
    }
}

/// A workbook as openpyxl reads it; see `python/read_workbook.py`.
#[track_caller]
pub fn read(path: &Path, read_only: bool) -> Value {
    let flag = Path::new("--read-only");
    let args: &[&Path] = if read_only { &[path, flag] } else { &[path] };
    serde_json::from_str(&crate::python::run("read_workbook.py", args)).unwrap()
}
