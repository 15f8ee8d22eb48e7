//! Why reading the cells of a sheet stopped early, for all formats whose sheets are a stream of parts.

use std::path::Path;

use super::error::ReadError;
use super::reference::column_letters;
use super::rows::Halt;
use super::xml::ScanError;

/// Why reading a sheet stopped early.
#[derive(Debug)]
pub(super) enum SheetError {
    Halt(Halt),
    Scan(ScanError),
    /// A cell is malformed: its row and column (from 0), and what is wrong.
    Cell(u32, u32, &'static str),
}

impl From<Halt> for SheetError {
    fn from(halt: Halt) -> SheetError {
        SheetError::Halt(halt)
    }
}

impl From<ReadError> for SheetError {
    fn from(error: ReadError) -> SheetError {
        SheetError::Halt(error.into())
    }
}

impl From<ScanError> for SheetError {
    fn from(error: ScanError) -> SheetError {
        SheetError::Scan(error)
    }
}

impl SheetError {
    /// The error with its place. `scan` is how the format reports an error of the scanner.
    pub(super) fn halt(
        self,
        path: &Path,
        sheet: &str,
        scan: impl FnOnce(ScanError) -> ReadError,
    ) -> Halt {
        match self {
            SheetError::Halt(halt) => halt,
            SheetError::Scan(error) => scan(error).into(),
            SheetError::Cell(row, column, what) => {
                let (row, letters) = (row.saturating_add(1), column_letters(column));
                let at = format!("sheet `{sheet}`, cell {letters}{row}");
                ReadError::malformed(path, at, what).into()
            }
        }
    }
}
