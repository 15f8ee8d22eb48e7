//! The row that a reader of a binary format is in.

use std::path::Path;

use super::options::ReadOptions;
use super::row::RowCells;
use super::rows::{Assembler, Halt};

/// Collects the cells of a row. Leaves out hidden rows if the options say so.
pub(super) struct CurrentRow {
    /// The index of the row, from 0.
    pub(super) index: u32,
    pub(super) cells: RowCells,
    /// The number of hidden rows that had values and were left out.
    pub(super) skipped: u64,
    hidden: bool,
    skip_hidden: bool,
}

impl CurrentRow {
    pub(super) fn new(path: &Path, options: &ReadOptions) -> CurrentRow {
        CurrentRow {
            index: 0,
            cells: RowCells::new(path, &options.limits),
            skipped: 0,
            hidden: false,
            skip_hidden: options.skip_hidden_rows,
        }
    }

    /// Ends the row and starts the one with this index.
    pub(super) fn start(
        &mut self,
        index: u32,
        hidden: bool,
        rows: &mut Assembler,
    ) -> Result<(), Halt> {
        self.end(rows)?;
        (self.index, self.hidden) = (index, hidden);
        Ok(())
    }

    /// Ends the row.
    pub(super) fn end(&mut self, rows: &mut Assembler) -> Result<(), Halt> {
        if self.cells.is_empty() {
            return Ok(());
        }
        if self.hidden && self.skip_hidden {
            self.cells.clear();
            self.skipped += 1;
            return Ok(());
        }
        rows.row(self.index.saturating_add(1), &mut self.cells)
    }
}
