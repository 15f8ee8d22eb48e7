//! Writes records as lines of a chunk into one buffer.

use std::io::Write;

use chrono::Timelike;
use rowmill_domain::record::Json;
use rowmill_domain::{Columns, Kind, Value};

use crate::cell::CleanCell;

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
    /// value: with the index of the column, the cell, and the length of its text in bytes.
    pub(crate) fn write(
        &mut self,
        row: u32,
        cells: &[CleanCell],
        to: &mut Vec<u8>,
        mut each: impl FnMut(usize, &CleanCell, usize),
    ) -> serde_json::Result<()> {
        self.temporal.clear();
        to.extend_from_slice(b"{\"row\":");
        serde_json::to_writer(&mut *to, &row)?;
        to.extend_from_slice(b",\"values\":{");
        let mut comma = false;
        for (at, (key, cell)) in self.keys.iter().zip(cells).enumerate() {
            let Some(kind) = cell.kind() else { continue };
            if comma {
                to.push(b',');
            }
            comma = true;
            to.extend_from_slice(key);
            let start = to.len();
            let length = match cell {
                CleanCell::Empty | CleanCell::Error(_) => continue,
                CleanCell::Text(text) => {
                    write_text(text, to)?;
                    text.len()
                }
                CleanCell::Value(value) => {
                    write_value(value, to)?;
                    let length = to.len() - start;
                    if kind.is_temporal() {
                        self.temporal.push((at, kind));
                        // Without the quotes.
                        length - 2
                    } else {
                        length
                    }
                }
            };
            each(at, cell, length);
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

/// Writes a JSON string.
fn write_text(text: &str, to: &mut Vec<u8>) -> serde_json::Result<()> {
    if needs_escape(text.as_bytes()) {
        return serde_json::to_writer(to, text);
    }
    to.push(b'"');
    to.extend_from_slice(text.as_bytes());
    to.push(b'"');
    Ok(())
}

/// Whether a byte of a text is escaped in JSON: a quote, a backslash or a control character.
fn needs_escape(text: &[u8]) -> bool {
    let escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    match text.last_chunk() {
        // The last eight bytes overlap those before.
        Some(last) => {
            let (words, _) = text.as_chunks();
            words.iter().any(|word| any_escaped(*word)) || any_escaped(*last)
        }
        None => text.iter().any(escaped),
    }
}

/// The same for eight bytes at once.
fn any_escaped(bytes: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let word = u64::from_le_bytes(bytes);
    // Has a high bit if any byte is below `limit`, which is at most 0x80.
    let below = |word: u64, limit: u64| word.wrapping_sub(limit * EACH) & !word & HIGH;
    let equals = |byte: u8| below(word ^ (u64::from(byte) * EACH), 1);
    below(word, 0x20) | equals(b'"') | equals(b'\\') != 0
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in "([\\PC\"\\\\]|[\0-\x7f]|[a-z]{1,9}){0,12}") {
            let mut written = Vec::new();
            write_text(&text, &mut written).unwrap();
            prop_assert_eq!(written, serde_json::to_vec(&text).unwrap());
        }
    }

    #[test]
    fn every_byte_is_escaped_at_every_place() {
        for place in 0..20 {
            for byte in 0..0x80_u8 {
                let mut text = [b'x'; 20];
                text[place] = byte;
                let text =
                    std::str::from_utf8(&text[..=place.max(usize::from(byte % 20))]).unwrap();
                let mut written = Vec::new();
                write_text(text, &mut written).unwrap();
                assert_eq!(written, serde_json::to_vec(text).unwrap());
            }
        }
    }
}
