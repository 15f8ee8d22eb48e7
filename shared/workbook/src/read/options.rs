//! What a caller asks a reader for.

use rowmill_domain::pipeline::{Input, SheetRef};

use super::limits::ReadLimits;

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
