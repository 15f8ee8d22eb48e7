//! Writes records as lines of a chunk into one buffer.

use std::io::Write;

use chrono::Timelike;
use rowmill_domain::record::Json;
use rowmill_domain::{Columns, Kind, Value};
use rowmill_workbook::Cell;

/// Writes the same bytes as [`rowmill_domain::Record::write_json`], but without building a record,
/// and escapes the column names once instead of once per row.
#[derive(Debug)]
pub(crate) struct LineWriter {
    /// `"name":` for each column.
    keys: Vec<Box<[u8]>>,
    /// The dates and times of the current line.
    temporal: Vec<(usize, Kind)>,
}

impl LineWriter {
    /// A writer for records with these columns.
    pub(crate) fn new(columns: &Columns) -> serde_json::Result<LineWriter> {
        let key = |name: &std::sync::Arc<str>| {
            let mut key = serde_json::to_vec(&**name)?;
            key.push(b':');
            Ok(key.into_boxed_slice())
        };
        Ok(LineWriter {
            keys: columns.names().iter().map(key).collect::<Result<_, _>>()?,
            temporal: Vec::new(),
        })
    }

    /// Appends the line of a record, including the line break. Calls `each` for every cell with a
    /// value: with the index of the column, the value, and its length as text in bytes.
    pub(crate) fn write(
        &mut self,
        row: u32,
        cells: &[Cell],
        to: &mut Vec<u8>,
        mut each: impl FnMut(usize, &Value, usize),
    ) -> serde_json::Result<()> {
        self.temporal.clear();
        to.extend_from_slice(b"{\"row\":");
        serde_json::to_writer(&mut *to, &row)?;
        to.extend_from_slice(b",\"values\":{");
        let mut comma = false;
        for (at, (key, cell)) in self.keys.iter().zip(cells).enumerate() {
            let Cell::Value(value) = cell else { continue };
            if comma {
                to.push(b',');
            }
            comma = true;
            to.extend_from_slice(key);
            let start = to.len();
            write_value(value, to)?;
            let length = match value {
                Value::Text(text) => text.len(),
                Value::Bool(_) | Value::Number(_) => to.len() - start,
                // Without the quotes.
                _ => {
                    self.temporal.push((at, value.kind()));
                    to.len() - start - 2
                }
            };
            each(at, value, length);
        }
        to.push(b'}');
        for (i, (at, kind)) in self.temporal.iter().enumerate() {
            to.extend_from_slice(if i == 0 { b",\"types\":{" } else { b"," });
            to.extend_from_slice(&self.keys[*at]);
            serde_json::to_writer(&mut *to, kind)?;
        }
        if !self.temporal.is_empty() {
            to.push(b'}');
        }
        to.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn write_value(value: &Value, to: &mut Vec<u8>) -> serde_json::Result<()> {
    // chrono's Debug format is ISO 8601 and several times faster than a format string. It differs
    // from the contract only below the millisecond.
    let written = match value {
        Value::Date(d) => write!(to, "\"{d:?}\""),
        Value::DateTime(t) if t.nanosecond() % 1_000_000 == 0 => write!(to, "\"{t:?}\""),
        Value::Time(t) if t.nanosecond() % 1_000_000 == 0 => write!(to, "\"{t:?}\""),
        other => return serde_json::to_writer(to, &Json(other)),
    };
    written.map_err(serde_json::Error::io)
}
