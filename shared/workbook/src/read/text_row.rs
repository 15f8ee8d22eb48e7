//! A row of delimited text: the texts of its fields one after the other, without a string for each.

use std::path::{Path, PathBuf};

use rowmill_domain::Value;

use super::error::ReadError;
use super::limits::ReadLimits;
use super::row::RowCells;
use super::sink::Cell;

/// The fields of the current row. Enforces the limits on a row.
pub(crate) struct TextRow {
    file: PathBuf,
    text_bytes: u64,
    row_bytes: u64,
    columns: u64,
    text: String,
    /// The end in `text` of each field up to the last one that is not empty.
    ends: Vec<usize>,
    /// The number of fields that have ended.
    fields: usize,
}

impl TextRow {
    pub(crate) fn new(file: &Path, limits: &ReadLimits) -> TextRow {
        TextRow {
            file: file.to_owned(),
            text_bytes: limits.text_bytes,
            row_bytes: limits.row_bytes,
            columns: limits.columns,
            text: String::new(),
            ends: Vec::new(),
            fields: 0,
        }
    }

    /// The start of the current field.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Appends to the current field.
    pub(crate) fn push(&mut self, text: &str) -> Result<(), ReadError> {
        let bytes = self.text.len() - self.start() + text.len();
        ReadError::check(&self.file, "text_bytes", bytes as u64, self.text_bytes)?;
        self.text.push_str(text);
        Ok(())
    }

    /// Ends the current field.
    pub(crate) fn end_field(&mut self) -> Result<(), ReadError> {
        let (start, end) = (self.start(), self.text.len());
        // Empty fields take no memory, because a row may have any number of them.
        if start < end {
            ReadError::check(&self.file, "row_bytes", end as u64, self.row_bytes)?;
            ReadError::check(&self.file, "columns", self.fields as u64 + 1, self.columns)?;
            if self.ends.len() < self.fields {
                self.ends.resize(self.fields, start);
            }
            self.ends.push(end);
        }
        self.fields = self.fields.saturating_add(1);
        Ok(())
    }

    /// Whether any field has ended.
    pub(crate) fn has_fields(&self) -> bool {
        self.fields > 0
    }

    /// Whether all fields are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The total size of the texts in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The texts one after the other, and the end of each of the `width` fields from field `first` on.
    /// `None` if another field is not empty.
    pub(super) fn within(
        &self,
        first: usize,
        width: usize,
    ) -> Option<(&str, impl Iterator<Item = usize>)> {
        let before = match first.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.start()),
            None => 0,
        };
        if before > 0 || self.ends.len() > first + width {
            return None;
        }
        let ends = self.ends.get(first..).unwrap_or_default();
        let missing = width - ends.len();
        let all = ends.iter().copied();
        Some((
            &self.text,
            all.chain(std::iter::repeat_n(self.text.len(), missing)),
        ))
    }

    /// Adds the fields that are not empty to `cells`.
    pub(super) fn cells(&self, cells: &mut RowCells) -> Result<(), ReadError> {
        let mut start = 0;
        for (column, end) in (0..).zip(&self.ends) {
            if start < *end {
                let mut text = cells.pool.take();
                text.push_str(&self.text[start..*end]);
                cells.push(column, 0, Cell::Value(Value::Text(text)))?;
            }
            start = *end;
        }
        Ok(())
    }

    /// Starts the next row.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.fields = 0;
    }
}
