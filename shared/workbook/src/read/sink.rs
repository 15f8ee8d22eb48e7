//! What a reader gives: a header, rows of cells, and a summary.

use std::ops::ControlFlow;

use rowmill_domain::Value;

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
