//! How a pipeline names a sheet of a workbook.

/// A sheet, by name or by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SheetRef {
    /// The name of the sheet.
    Name(String),
    /// The position of the sheet, from 1. Hidden sheets count.
    Index(u32),
}
