//! Options for reading a workbook.

use rowmill_pipeline::{Input, SheetRef};

use super::limits::ReadLimits;

/// Which sheet to read, where its header is, and the limits to enforce.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The sheet to read. Default: the first visible sheet.
    pub sheet: Option<SheetRef>,
    /// The header row, from 1. Default: the first row with a value. A single text above a row of
    /// texts is taken as a title and skipped.
    pub header_row: Option<u32>,
    /// Whether to skip hidden rows. Only xlsx files record which rows are hidden. Default: `false`.
    pub skip_hidden_rows: bool,
    /// The limits on size, memory and time.
    pub limits: ReadLimits,
}

impl ReadOptions {
    /// The options that a pipeline sets under `[input]`.
    pub fn from_input(input: &Input) -> ReadOptions {
        let mut limits = ReadLimits::default();
        for (name, value) in &input.limits {
            if let Some(limit) = limits.get_mut(name) {
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
