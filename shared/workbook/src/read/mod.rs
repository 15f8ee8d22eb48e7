//! Foreign bytes to rows of values.

mod archive;
mod cala;
mod compound;
mod delimited;
mod detect;
mod error;
mod fence;
mod header;
mod limits;
pub(crate) mod number_format;
mod ods;
mod row;
mod rows;
mod serial;
mod xlsx;
mod xml;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use rowmill_domain::Value;
use rowmill_domain::pipeline::{Input, SheetRef};

pub(crate) use archive::Archive;
pub use detect::{Format, detect};
pub use error::ReadError;
pub(crate) use header::column_letters;
pub use limits::ReadLimits;

use rows::{Assembler, Halt};

/// Which sheet is read, and within which limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The sheet; default: the first visible one.
    pub sheet: Option<SheetRef>,
    /// The header's row in the sheet, from 1; default: found, as the first row with a value (a
    /// single text above a row of texts is a title, and passed over).
    pub header_row: Option<u32>,
    /// Whether rows that are hidden in the sheet are left out; told by xlsx only. Default: no.
    pub skip_hidden_rows: bool,
    /// See [`ReadLimits`].
    pub limits: ReadLimits,
}

impl ReadOptions {
    /// As a pipeline's `[input]` says.
    pub fn of(input: &Input) -> ReadOptions {
        let mut limits = ReadLimits::default();
        for (name, value) in &input.limits {
            if let Some(limit) = limits.named(name) {
                *limit = *value;
            }
        }
        ReadOptions {
            sheet: input.sheet.clone(),
            header_row: input.header_row,
            skip_hidden_rows: input.skip_hidden_rows,
            limits,
        }
    }
}

/// A sheet's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sheet's name; of a delimited text file the file's stem.
    pub sheet: String,
    /// The header's row in the sheet, from 1.
    pub row: u32,
    /// The columns' names: unique, on one line, never empty.
    pub columns: Vec<String>,
    /// What was changed to make them so, for the mail.
    pub notes: Vec<String>,
}

/// A cell of a data row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value; an empty text is none.
    Empty,
    /// A value.
    Value(Value),
    /// An error in place of a value: `#N/A`, or why a formula has none.
    Error(String),
}

/// Takes the rows of a sheet as they are read.
pub trait RowSink {
    /// Called once, before the first row.
    fn header(&mut self, header: &Header) -> ControlFlow<()>;
    /// A data row: its number in the sheet, from 1, and one cell for each column of the header.
    /// Rows come in order, blank ones included, down to the last that has a value. What becomes of
    /// `cells` is the sink's.
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()>;
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Data rows handed on.
    pub rows: u64,
    /// Per column the number format of its first date, else of its numbers where all have the
    /// same, where it is not `General` and the file's kind tells it (xlsx does).
    pub formats: Vec<Option<String>>,
    /// What could not be kept, for the mail: values to the right of the last column, letters that
    /// the file's encoding does not have.
    pub notes: Vec<String>,
}

/// Reads a sheet's header, and no more of the file than that takes.
///
/// # Errors
/// Every [`ReadError`].
pub fn read_header(path: &Path, options: &ReadOptions) -> Result<Header, ReadError> {
    struct HeaderOnly(Option<Header>);
    impl RowSink for HeaderOnly {
        fn header(&mut self, header: &Header) -> ControlFlow<()> {
            self.0 = Some(header.clone());
            ControlFlow::Break(())
        }
        fn row(&mut self, _: u32, _: &mut [Cell]) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    let mut sink = HeaderOnly(None);
    read_rows(path, options, &mut sink)?;
    sink.0.ok_or_else(|| ReadError::NoHeader {
        file: path.to_owned(),
        sheet: String::new(),
        why: "it is empty".to_owned(),
    })
}

/// Reads a sheet's header and rows, and hands them to `sink` as they come. The reader runs on a
/// thread of its own, so reading and the sink's work overlap. Ends early, without an error, where
/// the sink breaks.
///
/// # Errors
/// Every [`ReadError`]; rows before the error have been handed on.
pub fn read_rows(
    path: &Path,
    options: &ReadOptions,
    sink: &mut dyn RowSink,
) -> Result<ReadSummary, ReadError> {
    fence::run(path, options, sink, read)
}

/// Reads on the fenced thread.
fn read(path: &Path, options: &ReadOptions, rows: &mut Assembler) -> Result<ReadSummary, Halt> {
    let mut file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    let size = file.metadata().map_err(|e| ReadError::io(path, e))?.len();
    ReadError::check(path, "file_bytes", size, options.limits.file_bytes)?;
    match detect::detect_open(path, &mut file, &options.limits)? {
        Format::Delimited => delimited::read(path, file, options, rows),
        Format::Xlsx => xlsx::read(path, file, options, rows),
        Format::Xlsb => cala::read_xlsb(path, file, options, rows),
        Format::Xls => cala::read_xls(path, file, options, rows),
        Format::Ods => cala::read_ods(path, file, options, rows),
    }
}
