//! Reads workbooks from untrusted files and writes result workbooks.
//!
//! # Reading
//!
//! [`read_rows`] detects the format of a file by its content and streams one sheet to a [`RowSink`]:
//! first the header, then each data row. Files are untrusted input: every size is checked against a
//! limit ([`ReadLimits`]) before memory is allocated for it, and readers run on their own thread, so
//! that a panic or a hang becomes a [`ReadError`].
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};
//!
//! /// Adds up a column.
//! #[derive(Default)]
//! struct Total {
//!     column: usize,
//!     sum: f64,
//! }
//!
//! impl RowSink for Total {
//!     fn header(&mut self, header: &Header) -> ControlFlow<()> {
//!         match header.columns.iter().position(|name| name == "due") {
//!             Some(column) => self.column = column,
//!             // Reading stops here.
//!             None => return ControlFlow::Break(()),
//!         }
//!         ControlFlow::Continue(())
//!     }
//!
//!     fn row(&mut self, _: u32, cells: &mut [Cell]) -> ControlFlow<()> {
//!         // Values of delimited text are text.
//!         if let Cell::Value(value) = &cells[self.column] {
//!             self.sum += value.to_text().parse::<f64>().unwrap_or(0.0);
//!         }
//!         ControlFlow::Continue(())
//!     }
//!     fn overflow(
//!         &mut self,
//!         _: u32,
//!         _: &mut [Cell],
//!         _: &mut [OutsideCell],
//!     ) -> ControlFlow<()> {
//!         ControlFlow::Continue(())
//!     }
//!     fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
//!         ControlFlow::Continue(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("customers.csv");
//! std::fs::write(&path, "name,due\nAnn,12.5\nBob,30\n")?;
//!
//! let mut total = Total::default();
//! let summary = read_rows(&path, &ReadOptions::default(), &mut total)?;
//! assert_eq!(summary.rows, 2);
//! assert_eq!(total.sum, 42.5);
//! # Ok(())
//! # }
//! ```
//!
//! # Writing
//!
//! [`ResultWriter`] writes a result workbook in constant memory: each row is compressed to disk before
//! the next one is written.
//!
//! ```
//! use rowmill_domain::{Status, Value};
//! use rowmill_workbook::{ColumnSpec, ResultSpec, ResultWriter, Summary, read_header, ReadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("customers-result.xlsx");
//! let name = ColumnSpec { name: "name".to_owned(), ..ColumnSpec::default() };
//! let spec = ResultSpec {
//!     columns: vec![name],
//!     added: vec!["tax_due".to_owned()],
//!     ..ResultSpec::default()
//! };
//!
//! let mut writer = ResultWriter::create(&path, &spec)?;
//! let (ann, due) = (Value::from("Ann"), Value::Number(12.5));
//! writer.row(2, &[Some(&ann)], &[Some(&due)], Status::Ok, None, 1)?;
//! writer.row(3, &[None], &[None], Status::Failed, Some("HTTP 404"), 3)?;
//! writer.finish(&Summary::default())?;
//!
//! let header = read_header(&path, &ReadOptions::default())?;
//! assert_eq!(header.sheet, "Results");
//! let columns = ["name", "tax_due", "status", "error", "attempts", "input row"];
//! assert_eq!(header.columns, columns);
//! # Ok(())
//! # }
//! ```
//!
//! # Map of the files
//!
//! Reading, `src/read/`:
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | [`read_rows`] and [`read_header`]: detect the format, run its reader |
//! | `options.rs`, `limits.rs`, `error.rs`, `sink.rs` | the interface: [`ReadOptions`], [`ReadLimits`], [`ReadError`], [`RowSink`] |
//! | `isolated.rs` | runs a reader on its own thread, with a time limit |
//! | `detect.rs`, `markup.rs`, `foreign.rs` | the format of a file, by its content; names of formats that are not tables |
//! | `row.rs`, `rows.rs` | cells of a reader to rows under a header, in batches |
//! | `header.rs` | finds the header row, names the columns |
//! | `sheet_select.rs`, `reference.rs` | sheet by name or index; cell references |
//! | `number_format.rs`, `serial.rs` | which number formats display dates; serial numbers to dates |
//! | `archive.rs`, `package.rs`, `xml/` | zip archives, the parts of Office files, and XML of untrusted files |
//! | `book/`, `styles.rs`, `string_table.rs` | what xlsx and xlsb share: the parts of a workbook, number formats, shared strings |
//! | `xlsx/` | xlsx and xlsm |
//! | `xlsb/` | xlsb |
//! | `xls/`, `compound.rs` | xls, and the compound file that it is in |
//! | `binary.rs`, `current_row.rs` | what xlsb and xls share: values and rows of binary formats |
//! | `ods/` | ods and fods |
//! | `html/`, `spreadsheet_xml/` | HTML tables and XML Spreadsheet 2003 |
//! | `delimited.rs` | csv and tsv |
//! | `dialect.rs` | detects the delimiter of csv and tsv |
//!
//! Writing, `src/write/`:
//!
//! | file | subject |
//! |---|---|
//! | `spec.rs`, `error.rs` | the interface: [`ResultSpec`], [`Summary`], [`WriteError`] |
//! | `writer.rs` | [`ResultWriter`] |
//! | `sheets.rs`, `row.rs`, `formats.rs`, `widths.rs`, `links.rs` | a series of sheets, and the rows, cell formats, widths and links in them |
//! | `review.rs` | the column for corrections, with its dropdown |
//! | `summary.rs` | the sheet `Summary` with its charts |
//! | `stream.rs`, `package.rs` | compresses rows on a thread; inserts them into the archive of rust_xlsxwriter |
//!
//! The tests in `tests/` read files that they generate. `tests/hostile` lists what damaged and malicious
//! files end in, `tests/memory.rs` that memory depends on the values only, `tests/dialect` measures how often the delimiter is detected, `tests/reference` compares with calamine, `tests/mutations.rs` and `fuzz/` change
//! valid files at random.
//!
//! The terms are defined in `docs/glossary.md`.

mod read;
mod write;

pub use read::{
    BetterRow, Cell, DelimiterGuess, FileFormat, Header, Origin, OutsideCell, ReadError,
    ReadLimits, ReadOptions, ReadSummary, RowSink, detect, guess_delimiter, read_header, read_rows,
};
pub use write::{
    Chart, ColumnSpec, Fact, ResultSpec, ResultWriter, ReviewSpec, StepFigures, Summary,
    WriteError, WriteSummary,
};
