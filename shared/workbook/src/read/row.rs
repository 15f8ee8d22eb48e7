//! A row as a reader finds it: only the cells that have a value, each with its column.

use std::path::{Path, PathBuf};

use rowmill_domain::Value;

use super::error::ReadError;
use super::limits::ReadLimits;
use super::sink::Cell;

/// A cell that is not empty.
#[derive(Clone, Debug)]
pub(crate) struct RawCell {
    /// The column in the sheet, from 0.
    pub column: u32,
    /// The reader's ID of the number format; 0 if it is `General` or unknown.
    pub format: u32,
    /// The content.
    pub cell: Cell,
}

/// The error of a cell whose formula has no value.
pub(crate) const NO_RESULT: &str = "a formula without a saved result";

/// Maximum number of pooled strings: enough for all batches in flight.
const POOL_TEXTS: usize = 65_536;
/// Maximum capacity of a pooled string. Long strings are rare, and pooling them would waste memory.
const POOL_TEXT_BYTES: usize = 128;

/// Strings from delivered rows, for reuse. Clearing a string is cheaper than allocating one on this
/// thread and freeing it on another.
#[derive(Default)]
pub(crate) struct TextPool(Vec<String>);

impl TextPool {
    /// An empty string.
    pub(crate) fn take(&mut self) -> String {
        self.0.pop().unwrap_or_default()
    }

    /// Drains `cells` and pools their strings.
    pub(super) fn recycle(&mut self, cells: &mut Vec<Cell>) {
        for cell in cells.drain(..) {
            if let Cell::Value(Value::Text(mut text)) = cell
                && text.capacity() <= POOL_TEXT_BYTES
                && self.0.len() < POOL_TEXTS
            {
                text.clear();
                self.0.push(text);
            }
        }
    }
}

/// The cells of the current row. Enforces the limits on a row.
pub(crate) struct RowCells {
    pub(crate) pool: TextPool,
    file: PathBuf,
    columns: u64,
    row_bytes: u64,
    cells: Vec<RawCell>,
    bytes: u64,
    /// Whether a cell is not right of the one before.
    unordered: bool,
    /// The cells that a different cell in the same place replaced.
    replaced: u64,
}

impl RowCells {
    pub(crate) fn new(file: &Path, limits: &ReadLimits) -> RowCells {
        RowCells {
            pool: TextPool::default(),
            file: file.to_owned(),
            columns: limits.columns,
            row_bytes: limits.row_bytes,
            cells: Vec::new(),
            bytes: 0,
            unordered: false,
            replaced: 0,
        }
    }

    /// Adds a cell; empty cells are ignored.
    pub(crate) fn push(&mut self, column: u32, format: u32, cell: Cell) -> Result<(), ReadError> {
        match &cell {
            Cell::Empty => return Ok(()),
            Cell::Value(Value::Text(text)) | Cell::Error(text) => {
                self.bytes += text.len() as u64;
                ReadError::check(&self.file, "row_bytes", self.bytes, self.row_bytes)?;
            }
            Cell::Value(_) => {}
        }
        ReadError::check(&self.file, "columns", u64::from(column) + 1, self.columns)?;
        // A cell may be repeated, but not fill the memory.
        if self.cells.len() as u64 >= self.columns.saturating_mul(2) {
            self.keep_last();
        }
        self.unordered |= self.cells.last().is_some_and(|last| last.column >= column);
        self.cells.push(RawCell {
            column,
            format,
            cell,
        });
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The number of cells, and the total size of their strings in bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.cells.len() as u64, self.bytes)
    }

    /// A copy of the cells, for a row that is repeated.
    pub(crate) fn copy(&self) -> Vec<RawCell> {
        self.cells.clone()
    }

    /// Replaces the cells by those of a copy, whose strings have `bytes` bytes.
    pub(crate) fn restore(&mut self, copy: &[RawCell], bytes: u64) {
        self.cells.clear();
        self.cells.extend_from_slice(copy);
        self.bytes = bytes;
    }

    /// Sorts the cells by column and keeps the last one of each.
    fn keep_last(&mut self) {
        self.unordered = false;
        // The last one comes first.
        self.cells.reverse();
        self.cells.sort_by_key(|cell| cell.column);
        let replaced = &mut self.replaced;
        self.cells.dedup_by(|earlier, kept| {
            let same = earlier.column == kept.column;
            *replaced += u64::from(same && earlier.cell != kept.cell);
            same
        });
    }

    /// The cells from left to right, the total size of their strings in bytes, and how many cells a
    /// different cell in the same place has replaced; resets the size and the number.
    pub(super) fn take(&mut self) -> (&mut Vec<RawCell>, u64, u64) {
        if self.unordered {
            self.keep_last();
        }
        let replaced = std::mem::take(&mut self.replaced);
        (&mut self.cells, std::mem::take(&mut self.bytes), replaced)
    }

    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.bytes = 0;
        self.unordered = false;
        self.replaced = 0;
    }
}

/// A row held back until the header is known.
#[derive(Debug)]
pub(crate) struct RawRow {
    /// The row number, from 1.
    pub number: u32,
    /// The cells that are not empty.
    pub cells: Vec<RawCell>,
}

impl RawRow {
    /// The number of cells that are not empty.
    pub(crate) fn value_count(&self) -> usize {
        self.cells.len()
    }

    /// The cells as text, for `width` columns starting at column `first`.
    pub(crate) fn as_texts(&self, first: u32, width: usize) -> Vec<Option<String>> {
        let mut texts = vec![None; width];
        for cell in &self.cells {
            if let Some(text) = texts.get_mut(cell.column.wrapping_sub(first) as usize) {
                *text = match &cell.cell {
                    Cell::Empty => None,
                    Cell::Value(value) => Some(value.to_text()),
                    Cell::Error(error) => Some(error.clone()),
                };
            }
        }
        texts
    }

    /// Whether every cell could be a column name: a text, or a number that looks like a year.
    pub(crate) fn looks_like_header(&self) -> bool {
        self.cells.iter().all(|c| match &c.cell {
            Cell::Value(Value::Text(_)) => true,
            Cell::Value(Value::Number(n)) => n.fract() == 0.0 && (1900.0..=2100.0).contains(n),
            _ => false,
        })
    }

    /// The number of cells that hold text.
    pub(crate) fn text_count(&self) -> usize {
        self.cells
            .iter()
            .filter(|c| matches!(c.cell, Cell::Value(Value::Text(_))))
            .count()
    }
}
