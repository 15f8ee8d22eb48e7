//! Writes rows as the XML of a sheet. docs/decisions/0006-rows-beside-rust-xlsxwriter.md explains why
//! this is not left to a library.

use std::borrow::Cow;
use std::io::Write;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rowmill_domain::limits::CELL_TEXT_MAX;
use rowmill_domain::value::whole;
use rowmill_domain::{Status, Value};

use super::formats::{Formats, Tint, default_code};
use super::widths::{code_width, number_width, text_width, wrapped_height};

/// Appended to a text that was truncated.
const TRUNCATION_MARK: &str = " [cut]";
const DAY_MS: f64 = 86_400_000.0;

/// Counts truncated texts and remembers the position of the first.
#[derive(Default)]
pub(super) struct Truncations {
    pub(super) count: u64,
    pub(super) first: Option<String>,
}

/// Writes the XML of a row to `xml`.
pub(super) struct Row<'a> {
    pub(super) xml: &'a mut Vec<u8>,
    /// The row number, from 1.
    row: u32,
    /// Where in `xml` the attributes of the row end.
    attributes_end: usize,
    /// The row number as text.
    number: String,
    column: usize,
    formats: &'a Formats,
    letters: &'a [String],
    tint: Tint,
    /// The widths of the columns, if this row is measured.
    widths: Option<&'a mut [u32]>,
}

impl<'a> Row<'a> {
    /// Starts a row. `row` is its number, from 1; `letters` are the letters of the columns.
    pub(super) fn begin(
        xml: &'a mut Vec<u8>,
        row: u32,
        formats: &'a Formats,
        letters: &'a [String],
        tint: Tint,
        widths: Option<&'a mut [u32]>,
    ) -> Row<'a> {
        let number = row.to_string();
        xml.extend_from_slice(b"<row r=\"");
        xml.extend_from_slice(number.as_bytes());
        xml.push(b'"');
        let attributes_end = xml.len();
        xml.push(b'>');
        Row {
            xml,
            row,
            attributes_end,
            number,
            column: 0,
            formats,
            letters,
            tint,
            widths,
        }
    }

    /// Changes the background of the cells that follow.
    pub(super) fn set_tint(&mut self, tint: Tint) {
        self.tint = tint;
    }

    pub(super) fn end(self) {
        self.xml.extend_from_slice(b"</row>");
    }

    /// The row and column of the next cell, from 0.
    pub(super) fn position(&self) -> (u32, usize) {
        (self.row - 1, self.column)
    }

    /// The reference of the next cell.
    pub(super) fn reference(&self) -> String {
        let letters = self.letters.get(self.column);
        format!("{}{}", letters.map_or("", String::as_str), self.number)
    }

    /// Writes a value. Dates that Excel cannot display become text.
    pub(super) fn value(
        &mut self,
        value: Option<&Value>,
        truncations: &mut Truncations,
        sheet: &str,
    ) {
        self.value_of(self.column, value, truncations, sheet);
    }

    /// Writes a value with the formats of a column of the sheet `Results`, counted from 0.
    pub(super) fn value_of(
        &mut self,
        column: usize,
        value: Option<&Value>,
        truncations: &mut Truncations,
        sheet: &str,
    ) {
        let temporal = |kind| self.formats.temporal(column, kind, self.tint);
        let (serial, format) = match value {
            None => return self.blank(),
            Some(Value::Text(text)) => return self.text(text, truncations, sheet),
            Some(Value::Number(number)) => {
                let format = self.formats.number(column, self.tint);
                return self.number(*number, format);
            }
            Some(Value::Bool(value)) => return self.bool(*value),
            Some(value @ Value::Date(date)) => (
                date_serial(date.and_time(NaiveTime::MIN)),
                temporal(value.kind()),
            ),
            Some(value @ Value::DateTime(time)) => (date_serial(*time), temporal(value.kind())),
            Some(value @ Value::Time(time)) => {
                let ms = (*time - NaiveTime::MIN).num_milliseconds();
                (Some(ms as f64 / DAY_MS), temporal(value.kind()))
            }
            Some(value @ Value::Duration(time)) => {
                let ms = time.num_milliseconds();
                (Some(ms as f64 / DAY_MS), temporal(value.kind()))
            }
        };
        match (serial, value) {
            (Some(serial), _) => {
                self.measure(|| value.map_or(0, |value| code_width(default_code(value.kind()))));
                self.serial(serial, format);
            }
            (None, Some(value)) => self.text(&value.to_text(), truncations, sheet),
            (None, None) => self.blank(),
        }
    }

    /// Writes an integer with the default format.
    pub(super) fn integer(&mut self, number: u32) {
        self.number(f64::from(number), self.formats.plain(self.tint));
    }

    /// Writes a text. It never becomes a formula or a link, whatever it starts with.
    pub(super) fn text(&mut self, text: &str, truncations: &mut Truncations, sheet: &str) {
        self.text_as(text, self.formats.plain(self.tint), truncations, sheet);
    }

    /// Writes a text that is formatted as a link. The target is not part of the row.
    pub(super) fn link(&mut self, text: &str, truncations: &mut Truncations, sheet: &str) {
        self.text_as(text, self.formats.link(self.tint), truncations, sheet);
    }

    /// Writes a text that wraps.
    pub(super) fn wrapped(&mut self, text: &str, truncations: &mut Truncations, sheet: &str) {
        if let Some(points) = wrapped_height(text) {
            let at = self.attributes_end;
            self.xml
                .splice(at..at, format!(" ht=\"{points}\"").into_bytes());
        }
        self.text_as(text, self.formats.wrapped(self.tint), truncations, sheet);
    }

    /// Writes the name of a status.
    pub(super) fn status(&mut self, status: Status, truncations: &mut Truncations, sheet: &str) {
        let format = self.formats.status(status);
        self.text_as(status.name(), format, truncations, sheet);
    }

    /// Writes a label that a person can correct.
    pub(super) fn label(&mut self, label: &str, truncations: &mut Truncations, sheet: &str) {
        self.text_as(label, self.formats.review(), truncations, sheet);
    }

    /// Makes the column of the next cell at least this wide, if this row is measured.
    fn measure(&mut self, width: impl FnOnce() -> u32) {
        if let Some(widths) = &mut self.widths
            && let Some(widest) = widths.get_mut(self.column)
        {
            *widest = width().max(*widest);
        }
    }

    fn text_as(&mut self, text: &str, format: u32, truncations: &mut Truncations, sheet: &str) {
        if text.is_empty() {
            return self.blank();
        }
        let text = truncate(text);
        if matches!(text, Cow::Owned(_)) {
            truncations.count += 1;
            if truncations.first.is_none() {
                truncations.first = Some(format!("sheet `{sheet}`, cell {}", self.reference()));
            }
        }
        self.measure(|| text_width(&text));
        self.open(format);
        let blank = |b: Option<&u8>| b.is_some_and(u8::is_ascii_whitespace);
        let bytes = text.as_bytes();
        self.xml
            .extend_from_slice(if blank(bytes.first()) || blank(bytes.last()) {
                b" t=\"inlineStr\"><is><t xml:space=\"preserve\">"
            } else {
                b" t=\"inlineStr\"><is><t>" as &[u8]
            });
        escape(&text, self.xml);
        self.xml.extend_from_slice(b"</t></is></c>");
    }

    fn bool(&mut self, value: bool) {
        self.open(self.formats.plain(self.tint));
        let digit = if value { b'1' } else { b'0' };
        self.xml.extend_from_slice(b" t=\"b\"><v>");
        self.xml.push(digit);
        self.xml.extend_from_slice(b"</v></c>");
    }

    fn number(&mut self, number: f64, format: u32) {
        self.measure(|| number_width(number));
        self.serial(number, format);
    }

    fn serial(&mut self, number: f64, format: u32) {
        if !number.is_finite() {
            return self.blank();
        }
        self.open(format);
        self.xml.extend_from_slice(b"><v>");
        match whole(number) {
            Some(integer) => self.digits(integer),
            None => {
                let mut buffer = zmij::Buffer::new();
                self.xml
                    .extend_from_slice(buffer.format_finite(number).as_bytes());
            }
        }
        self.xml.extend_from_slice(b"</v></c>");
    }

    fn blank(&mut self) {
        match self.formats.plain(self.tint) {
            0 => self.column += 1,
            format => {
                self.open(format);
                self.xml.extend_from_slice(b"/>");
            }
        }
    }

    /// Writes `<c r=".." s=".."` and advances to the next column.
    fn open(&mut self, format: u32) {
        self.xml.extend_from_slice(b"<c r=\"");
        if let Some(letters) = self.letters.get(self.column) {
            self.xml.extend_from_slice(letters.as_bytes());
        }
        self.xml.extend_from_slice(self.number.as_bytes());
        self.xml.push(b'"');
        if format > 0 {
            self.xml.extend_from_slice(b" s=\"");
            self.digits(i64::from(format));
            self.xml.push(b'"');
        }
        self.column += 1;
    }

    fn digits(&mut self, integer: i64) {
        // Writing to memory cannot fail.
        let _ = write!(self.xml, "{integer}");
    }
}

/// The serial number of a date in the 1900 date system; `None` if the system cannot represent it.
fn date_serial(time: NaiveDateTime) -> Option<f64> {
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    let days = (time - epoch).num_milliseconds() as f64 / DAY_MS;
    // Serials before March 1900 are off by one, because day 60 is a date that did not exist.
    let days = if days < 61.0 { days - 1.0 } else { days };
    (1.0..2_958_466.0).contains(&days).then_some(days)
}

/// Truncates a text to the maximum length of a cell and appends a mark.
pub(super) fn truncate(text: &str) -> Cow<'_, str> {
    // A UTF-16 code unit takes at least one byte in UTF-8.
    if text.len() <= CELL_TEXT_MAX || text.encode_utf16().count() <= CELL_TEXT_MAX {
        return Cow::Borrowed(text);
    }
    let mut units = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        units += c.len_utf16();
        (units > CELL_TEXT_MAX - TRUNCATION_MARK.len()).then_some(at)
    });
    Cow::Owned(format!(
        "{}{TRUNCATION_MARK}",
        &text[..end.unwrap_or(text.len())]
    ))
}

/// Bytes that [`escape`] may have to escape.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        special[control] = control != 0x09 && control != 0x0a;
        control += 1;
    }
    special[b'&' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'_' as usize] = true;
    // The first byte of U+FFFE and U+FFFF, which are not allowed in XML.
    special[0xef] = true;
    special
};

/// Escapes a text for XML. Uses the escapes of Excel for characters that XML does not allow.
fn escape(text: &str, xml: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(found) = bytes[done..].iter().position(|b| SPECIAL[usize::from(*b)]) {
        let at = done + found;
        xml.extend_from_slice(&bytes[done..at]);
        let rest = &bytes[at..];
        done = at + 1;
        match rest {
            [b'&', ..] => xml.extend_from_slice(b"&amp;"),
            [b'<', ..] => xml.extend_from_slice(b"&lt;"),
            [b'>', ..] => xml.extend_from_slice(b"&gt;"),
            // XML parsers would normalize a raw carriage return to a line feed. Excel writes
            // `_x000D_`, which some readers do not support; all support this.
            [b'\r', ..] => xml.extend_from_slice(b"&#13;"),
            // Text that looks like an escape must not be read as one.
            [b'_', b'x', a, b, c, d, b'_', ..]
                if [a, b, c, d].iter().all(|d| d.is_ascii_hexdigit()) =>
            {
                xml.extend_from_slice(b"_x005F_");
            }
            [0xef, 0xbf, last @ (0xbe | 0xbf), ..] => {
                let escape: &[u8] = if *last == 0xbe {
                    b"_xFFFE_"
                } else {
                    b"_xFFFF_"
                };
                xml.extend_from_slice(escape);
                done = at + 3;
            }
            [control, ..] if *control < 0x20 => {
                // Writing to memory cannot fail.
                let _ = write!(xml, "_x{control:04X}_");
            }
            [other, ..] => xml.push(*other),
            [] => {}
        }
    }
    xml.extend_from_slice(&bytes[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_for_xml() {
        for (text, want) in [
            ("a & <b>", "a &amp; &lt;b&gt;"),
            ("_x0041_", "_x005F_x0041_"),
            ("_x004_ __x00zz_", "_x004_ __x00zz_"),
            ("\r\n\t\u{1}", "&#13;\n\t_x0001_"),
            ("\u{ffff}\u{fffd}\u{fffe}", "_xFFFF_\u{fffd}_xFFFE_"),
            ("ä🙂", "ä🙂"),
        ] {
            let mut xml = Vec::new();
            escape(text, &mut xml);
            assert_eq!(String::from_utf8(xml).unwrap(), want);
        }
    }
}
