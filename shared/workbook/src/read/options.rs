//! Options for reading a workbook.

use rowmill_domain::{Delimiter, SheetRef};

use super::limits::ReadLimits;

/// Which sheet to read, where its header is, and the limits to enforce.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The sheet to read. Default: the first visible sheet.
    pub sheet: Option<SheetRef>,
    /// The header row, from 1. Default: the first row with a value. A single text above a row of
    /// texts is taken as a title and skipped.
    pub header_row: Option<u32>,
    /// Columns that the header should have. If the row that is taken as the header does not have all of
    /// them, and one of the next 50 rows has, that row is the header. Default: none.
    pub columns: Vec<String>,
    /// The delimiter of delimited text. Default: a line `sep=;` at the start of the file decides,
    /// otherwise it is detected.
    pub delimiter: Option<Delimiter>,
    /// Whether to skip hidden rows. Only csv and tsv have none. Default: `false`.
    pub skip_hidden_rows: bool,
    /// The limits on size, memory and time.
    pub limits: ReadLimits,
}
