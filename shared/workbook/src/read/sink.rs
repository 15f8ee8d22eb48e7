//! What a reader produces: a header, rows of cells and a summary.

use std::ops::ControlFlow;

use rowmill_domain::{RunId, Value};

/// A sheet's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sheet name. For delimited text, the file name without its extension.
    pub sheet: String,
    /// The header row, from 1. If the header spans two rows, the lower one.
    pub row: u32,
    /// The column names: unique, on one line and never empty.
    pub columns: Vec<String>,
    /// Notes for the mail: names that were changed, rows that were skipped.
    pub notes: Vec<String>,
    /// The run that wrote the workbook, if it is a result.
    pub origin: Option<Origin>,
    /// The row that has the most of [`ReadOptions::columns`](crate::ReadOptions::columns), if it has
    /// more of them than the header.
    pub better_row: Option<BetterRow>,
}

/// A row that could be the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BetterRow {
    /// Its number, from 1.
    pub row: u32,
    /// Whether it has all columns that the header should have.
    pub complete: bool,
}

/// The run that wrote a workbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The run.
    pub run: RunId,
    /// The columns that its steps and expressions added.
    pub added: Vec<String>,
    /// The column for corrections, if the result has one.
    pub review: Option<String>,
}

/// A cell in a data row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value. An empty text counts as no value.
    Empty,
    /// A value.
    Value(Value),
    /// An error instead of a value: an error code such as `#N/A`, or the reason a formula has no
    /// result.
    Error(String),
}

/// A cell outside the columns of the header.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideCell {
    /// The letters of its column.
    pub column: String,
    /// Its content, which is not empty.
    pub cell: Cell,
}

/// Receives the rows of a sheet as they are read. Returning [`ControlFlow::Break`] stops reading
/// without an error.
pub trait RowSink {
    /// Called once, before the first row.
    fn header(&mut self, header: &Header) -> ControlFlow<()>;
    /// Called for each data row that has a value, with its number in the sheet (from 1) and one cell
    /// per column of the header. Rows arrive in order. The sink may move values out of `cells`.
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()>;
    /// Called instead of [`RowSink::row`] for a row of delimited text, with one text per column; no
    /// value is an empty text. Unless a sink implements it, the row arrives as cells.
    fn texts(&mut self, row: u32, texts: &[&str]) -> ControlFlow<()> {
        let cell = |text: &&str| match *text {
            "" => Cell::Empty,
            text => Cell::Value(Value::from(text)),
        };
        let mut cells: Vec<Cell> = texts.iter().map(cell).collect();
        self.row(row, &mut cells)
    }
    /// Called instead of [`RowSink::row`] for a row that also has values outside the columns of the
    /// header, because the header was decided on before the row was read. `outside` holds these
    /// values.
    fn overflow(
        &mut self,
        row: u32,
        cells: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()>;
    /// Called for the blank rows between two rows, with the numbers of the first and the last. Blank
    /// rows below the last row that has a value are not reported.
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()>;
    /// Called if the rows of the file turn out not to be in order: forgets the header and all rows,
    /// because they follow once more. If it returns `false`, which is the default, reading ends with an
    /// error.
    fn restart(&mut self) -> bool {
        false
    }
}

/// The result of reading a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// The number of data rows delivered, including blank rows.
    pub rows: u64,
    /// The number format of each column: that of its first date, otherwise that of its numbers if
    /// they all have the same one. `None` if it is `General` or unknown (xlsx, xlsb and xls record it).
    pub formats: Vec<Option<String>>,
    /// Notes for the mail: hidden rows that were skipped, characters that could not be decoded.
    pub notes: Vec<String>,
}

impl ReadSummary {
    /// Notes how many hidden rows were skipped.
    pub(super) fn hidden(&mut self, skipped: u64) {
        match skipped {
            0 => {}
            1 => self.notes.push("1 hidden row was skipped.".to_owned()),
            rows => self.notes.push(format!("{rows} hidden rows were skipped.")),
        }
    }
}
