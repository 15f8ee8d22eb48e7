//! A row as a reader finds it: the cells that it has, each with its column.

use std::path::{Path, PathBuf};

use rowmill_domain::Value;

use super::error::ReadError;
use super::limits::ReadLimits;
use super::sink::Cell;

/// A cell with a value, or an error in its place.
#[derive(Clone, Debug)]
pub(crate) struct RawCell {
    /// The sheet's column, from 0.
    pub column: u32,
    /// A number that the reader knows the format by; 0 where it is `General` or not known.
    pub format: u32,
    /// What it holds.
    pub cell: Cell,
}

/// Texts kept for being written over, at most: those of all batches under way.
const SPARE_TEXTS: usize = 65_536;
/// Bytes of one that is kept, at most: long texts are few, and would stay.
const SPARE_BYTES: usize = 128;

/// Texts of rows that were handed on, to be written over: to allocate each anew, on another thread
/// than it is given back on, costs more than to clear it.
#[derive(Default)]
pub(crate) struct Spare(Vec<String>);

impl Spare {
    /// An empty text.
    pub(crate) fn text(&mut self) -> String {
        self.0.pop().unwrap_or_default()
    }

    /// Takes the texts out of cells.
    pub(super) fn keep(&mut self, cells: &mut Vec<Cell>) {
        for cell in cells.drain(..) {
            if let Cell::Value(Value::Text(mut text)) = cell
                && text.capacity() <= SPARE_BYTES
                && self.0.len() < SPARE_TEXTS
            {
                text.clear();
                self.0.push(text);
            }
        }
    }
}

/// The cells of the row that a reader is at, within the limits of a row.
pub(crate) struct RowCells {
    pub(crate) spare: Spare,
    file: PathBuf,
    columns: u64,
    row_bytes: u64,
    cells: Vec<RawCell>,
    bytes: u64,
}

impl RowCells {
    pub(crate) fn new(file: &Path, limits: &ReadLimits) -> RowCells {
        RowCells {
            spare: Spare::default(),
            file: file.to_owned(),
            columns: limits.columns,
            row_bytes: limits.row_bytes,
            cells: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a cell; an empty one is passed over.
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
        // A cell may come twice, but not without end.
        let count = self.cells.len() as u64 + 1;
        ReadError::check(&self.file, "columns", count, self.columns)?;
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

    /// The cells, and the bytes of their texts, which count no more.
    pub(super) fn taken(&mut self) -> (&mut Vec<RawCell>, u64) {
        (&mut self.cells, std::mem::take(&mut self.bytes))
    }

    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.bytes = 0;
    }
}

/// A row held until the header is settled.
#[derive(Debug)]
pub(crate) struct RawRow {
    /// Its number, from 1.
    pub number: u32,
    /// Its cells that are not empty.
    pub cells: Vec<RawCell>,
}

impl RawRow {
    /// How many cells have a value.
    pub(crate) fn filled(&self) -> usize {
        self.cells.len()
    }

    /// Its cells' texts, of `width` columns from `first` on.
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

    /// Whether each is a text or a whole number as a year is, and so may be a header.
    pub(crate) fn may_be_header(&self) -> bool {
        self.cells.iter().all(|c| match &c.cell {
            Cell::Value(Value::Text(_)) => true,
            Cell::Value(Value::Number(n)) => n.fract() == 0.0 && (1900.0..=2100.0).contains(n),
            _ => false,
        })
    }

    /// How many hold a text.
    pub(crate) fn texts(&self) -> usize {
        self.cells
            .iter()
            .filter(|c| matches!(c.cell, Cell::Value(Value::Text(_))))
            .count()
    }
}
