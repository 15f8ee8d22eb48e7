//! What a reader produces: a header, rows of cells and a summary.

use std::ops::ControlFlow;

use rowmill_domain::Value;

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

/// Receives the rows of a sheet as they are read. Returning [`ControlFlow::Break`] stops reading
/// without an error.
pub trait RowSink {
    /// Called once, before the first row.
    fn header(&mut self, header: &Header) -> ControlFlow<()>;
    /// Called for each data row, with its number in the sheet (from 1) and one cell per column of
    /// the header. Rows arrive in order and include blank rows, up to the last row that has a value.
    /// The sink may move values out of `cells`.
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()>;
}

/// The result of reading a sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// The number of data rows delivered.
    pub rows: u64,
    /// The number format of each column: that of its first date, otherwise that of its numbers if
    /// they all have the same one. `None` if it is `General` or unknown (only xlsx records it).
    pub formats: Vec<Option<String>>,
    /// Notes for the mail: values outside the columns, characters that could not be decoded.
    pub notes: Vec<String>,
}
