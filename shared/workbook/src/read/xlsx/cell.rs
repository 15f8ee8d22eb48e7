//! Converts the XML of a cell to a value.

use chrono::NaiveTime;
use rowmill_domain::{Kind, Value};

use super::escapes;
use crate::read::number_format::FormatKind;
use crate::read::reference::parse_digits;
use crate::read::row::{NO_RESULT, TextPool};
use crate::read::serial;
use crate::read::sink::Cell;
use crate::read::string_table::StringTable;
use crate::read::styles::Styles;

/// The tables that cells refer to.
pub(super) struct SheetContext<'a> {
    pub(super) strings: &'a StringTable,
    pub(super) styles: &'a Styles,
    pub(super) is_1904: bool,
}

/// The attributes of `<c>` that matter.
#[derive(Clone, Copy, Default)]
pub(super) struct CellHead {
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) style: u32,
    pub(super) kind: CellKind,
}

/// The type of a cell: the attribute `t`.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum CellKind {
    #[default]
    Number,
    Shared,
    Text,
    Inline,
    Bool,
    Error,
    Date,
}

/// What a cell contains besides its formula. Entities are resolved.
pub(super) enum Content<'a> {
    /// Nothing.
    None,
    /// The content of its `<v>`.
    Value(&'a [u8]),
    /// A text, of which only the escapes of Excel are not resolved.
    Text(String),
    /// The text of its `<is>`, complete.
    Inline(String),
}

impl SheetContext<'_> {
    /// The value of a cell, in whichever notation it was found. `formula` says whether it has one.
    /// The error says what is wrong.
    pub(super) fn cell(
        &self,
        head: &CellHead,
        formula: bool,
        content: Content<'_>,
        pool: &mut TextPool,
    ) -> Result<Option<Cell>, &'static str> {
        match content {
            Content::Value(raw) if !raw.trim_ascii().is_empty() => self.value(head, raw, pool),
            Content::Text(mut text) => {
                escapes::resolve(&mut text, 0);
                Ok(text_cell(text))
            }
            Content::Inline(text) => Ok(text_cell(text)),
            // An empty text is a valid result of a formula. A missing value is not.
            Content::None | Content::Value(_) if formula && head.kind != CellKind::Text => {
                Ok(Some(Cell::Error(NO_RESULT.to_owned())))
            }
            Content::None | Content::Value(_) => Ok(None),
        }
    }

    /// The value of a cell from the content of its `<v>`, which is not blank.
    fn value(
        &self,
        head: &CellHead,
        raw: &[u8],
        pool: &mut TextPool,
    ) -> Result<Option<Cell>, &'static str> {
        Ok(match head.kind {
            CellKind::Number => Some(match self.number(head.style, raw) {
                Some(value) => Cell::Value(value),
                // Keep what is not a number as text.
                None => Cell::Value(Value::Text(String::from_utf8_lossy(raw).into_owned())),
            }),
            CellKind::Shared => {
                let text =
                    parse_digits(raw.trim_ascii()).and_then(|at| self.strings.get(at as usize));
                let text = text.ok_or("its string is not in the shared string table")?;
                let mut owned = pool.take();
                owned.push_str(text);
                text_cell(owned)
            }
            // Their content is a text, not a value.
            CellKind::Text | CellKind::Inline => None,
            CellKind::Bool => match raw.trim_ascii() {
                b"1" | b"true" | b"TRUE" => Some(Cell::Value(Value::Bool(true))),
                b"0" | b"false" | b"FALSE" => Some(Cell::Value(Value::Bool(false))),
                _ => return Err("its value is neither true nor false"),
            },
            CellKind::Error => Some(Cell::Error(String::from_utf8_lossy(raw).into_owned())),
            CellKind::Date => {
                let text = String::from_utf8_lossy(raw);
                let text = text.trim().trim_end_matches('Z');
                let kinds = [Kind::Date, Kind::DateTime, Kind::Time];
                let value = kinds.iter().find_map(|kind| Value::parse(text, *kind));
                Some(Cell::Value(match value {
                    // Only the format distinguishes a date from a date-time at midnight.
                    Some(Value::DateTime(t))
                        if t.time() == NaiveTime::MIN
                            && self.styles.kind(head.style) == FormatKind::Date =>
                    {
                        Value::Date(t.date())
                    }
                    value => value.unwrap_or_else(|| Value::from(text)),
                }))
            }
        })
    }

    fn number(&self, style: u32, raw: &[u8]) -> Option<Value> {
        let number = match small_integer(raw) {
            Some(integer) => integer as f64,
            None => {
                let text = std::str::from_utf8(raw).ok()?.trim();
                // `f64::from_str` also accepts words such as "inf" and "nan".
                if !text.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
                    return None;
                }
                text.parse().ok().filter(|n: &f64| n.is_finite())?
            }
        };
        Some(match self.styles.kind(style) {
            FormatKind::Number => Value::Number(number),
            kind => serial::value(number, kind, self.is_1904),
        })
    }
}

/// A cell with a text, or `None` if the text is empty.
fn text_cell(text: String) -> Option<Cell> {
    (!text.is_empty()).then_some(Cell::Value(Value::Text(text)))
}

/// Parses the attribute `t`.
pub(super) fn kind(name: &[u8]) -> Option<CellKind> {
    Some(match name {
        b"n" => CellKind::Number,
        b"s" => CellKind::Shared,
        b"str" => CellKind::Text,
        b"inlineStr" => CellKind::Inline,
        b"b" => CellKind::Bool,
        b"e" => CellKind::Error,
        b"d" => CellKind::Date,
        _ => return None,
    })
}

/// Parses an integer that an f64 represents exactly.
fn small_integer(raw: &[u8]) -> Option<i64> {
    let (sign, digits) = match raw {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    // Leave -0 to the general case, which keeps the sign.
    if digits.is_empty() || digits.len() > 15 || (sign < 0 && digits[0] == b'0') {
        return None;
    }
    let magnitude = digits.iter().try_fold(0i64, |n, b| {
        let digit = b.wrapping_sub(b'0');
        (digit < 10).then(|| n * 10 + i64::from(digit))
    })?;
    Some(sign * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_parse_exactly() {
        for (text, want) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("1000000000000000", None),
            ("-0", None),
            ("1.0", None),
            ("1e3", None),
            ("", None),
            ("-", None),
            ("+1", None),
        ] {
            assert_eq!(small_integer(text.as_bytes()), want, "{text}");
        }
    }
}
