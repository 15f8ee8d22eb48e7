//! Values as cells.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rowmill_domain::limits::CELL_TEXT_MAX;
use rowmill_domain::{Kind, Value};
use rust_xlsxwriter::{Color, Format, Worksheet, XlsxError};

use super::{Cut, ResultSpec};

/// The mark at the end of a text that was cut.
const CUT_MARK: &str = " [cut]";

/// How a row is tinted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    None,
    Failed,
    Missing,
}

/// The formats of cells.
pub(super) struct Formats {
    pub(super) header: Format,
    /// Per column of `Results` and tint: what its numbers are shown in.
    numbers: Vec<[Option<Format>; 3]>,
    /// Per column and tint, of its dates and times: as many as there are temporal kinds.
    moments: Vec<[[Format; 4]; 3]>,
    plain: [Option<Format>; 3],
}

impl Formats {
    pub(super) fn new(spec: &ResultSpec) -> Formats {
        let tinted = |format: Format, tint: usize| match tint {
            1 => format.set_background_color(Color::RGB(0xF8D7DA)),
            2 => format.set_background_color(Color::RGB(0xFFF3CD)),
            _ => format,
        };
        let each = |make: &dyn Fn(usize) -> Option<Format>| [make(0), make(1), make(2)];
        let plain = each(&|t| (t > 0).then(|| tinted(Format::new(), t)));
        let mut numbers = Vec::new();
        let mut moments = Vec::new();
        for column in 0..spec.columns.len() + spec.added.len() + 3 {
            let column = spec.columns.get(column);
            let code = column.and_then(|c| c.format.as_deref());
            let temporal = column.and_then(|c| c.kind).is_some_and(Kind::is_temporal);
            let number = code.filter(|_| !temporal);
            numbers.push(each(&|t| match number {
                Some(code) => Some(tinted(Format::new().set_num_format(code), t)),
                None => plain[t].clone(),
            }));
            let codes = [Kind::Date, Kind::DateTime, Kind::Time, Kind::Duration].map(|kind| {
                let own = column.and_then(|c| c.kind) == Some(kind);
                code.filter(|_| own).unwrap_or(default_code(kind))
            });
            moments.push(
                [0, 1, 2].map(|t| codes.map(|code| tinted(Format::new().set_num_format(code), t))),
            );
        }
        Formats {
            header: Format::new()
                .set_bold()
                .set_background_color(Color::RGB(0xE7EDF5)),
            numbers,
            moments,
            plain,
        }
    }
}

/// The number format of a kind where the input has none.
fn default_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "yyyy\\-mm\\-dd",
        Kind::DateTime => "yyyy\\-mm\\-dd\\ hh:mm:ss",
        Kind::Time => "hh:mm:ss",
        Kind::Duration => "[h]:mm:ss",
        Kind::Bool | Kind::Number | Kind::Text => "General",
    }
}

/// Puts values into a sheet.
pub(super) struct Put<'a> {
    pub(super) sheet: &'a mut Worksheet,
    pub(super) formats: &'a Formats,
    pub(super) cut: &'a mut Cut,
    pub(super) sheet_name: &'a str,
}

impl Put<'_> {
    pub(super) fn value(
        &mut self,
        row: u32,
        column: u16,
        value: Option<&Value>,
        tint: Tint,
    ) -> Result<(), XlsxError> {
        let t = tint as usize;
        let moments = &self.formats.moments[usize::from(column)][t];
        let (serial, format) = match value {
            None => return self.blank(row, column, tint),
            Some(Value::Text(text)) => return self.text(row, column, text, tint),
            Some(Value::Number(number)) => {
                return match &self.formats.numbers[usize::from(column)][t] {
                    Some(format) => self
                        .sheet
                        .write_number_with_format(row, column, *number, format),
                    None => self.sheet.write_number(row, column, *number),
                }
                .map(drop);
            }
            Some(Value::Bool(value)) => {
                return match &self.formats.plain[t] {
                    Some(format) => self
                        .sheet
                        .write_boolean_with_format(row, column, *value, format),
                    None => self.sheet.write_boolean(row, column, *value),
                }
                .map(drop);
            }
            Some(Value::Date(date)) => (date_serial(date.and_time(NaiveTime::MIN)), &moments[0]),
            Some(Value::DateTime(time)) => (date_serial(*time), &moments[1]),
            Some(Value::Time(time)) => (
                Some((*time - NaiveTime::MIN).num_milliseconds() as f64 / DAY_MS),
                &moments[2],
            ),
            Some(Value::Duration(time)) => {
                (Some(time.num_milliseconds() as f64 / DAY_MS), &moments[3])
            }
        };
        match (serial, value) {
            (Some(serial), _) => self
                .sheet
                .write_number_with_format(row, column, serial, format)
                .map(drop),
            (None, Some(value)) => self.text(row, column, &value.to_text(), tint),
            (None, None) => Ok(()),
        }
    }

    /// A text; it never becomes a formula or a link.
    pub(super) fn text(
        &mut self,
        row: u32,
        column: u16,
        text: &str,
        tint: Tint,
    ) -> Result<(), XlsxError> {
        if text.is_empty() {
            return self.blank(row, column, tint);
        }
        let text = cut(text);
        if matches!(text, Cow::Owned(_)) {
            self.cut.count += 1;
            self.cut.first.get_or_insert_with(|| {
                let letters = crate::read::column_letters(u32::from(column));
                format!("sheet `{}`, cell {letters}{}", self.sheet_name, row + 1)
            });
        }
        match &self.formats.plain[tint as usize] {
            Some(format) => self
                .sheet
                .write_string_with_format(row, column, text, format),
            None => self.sheet.write_string(row, column, text),
        }
        .map(drop)
    }

    pub(super) fn number(
        &mut self,
        row: u32,
        column: u16,
        number: f64,
        tint: Tint,
    ) -> Result<(), XlsxError> {
        match &self.formats.plain[tint as usize] {
            Some(format) => self
                .sheet
                .write_number_with_format(row, column, number, format),
            None => self.sheet.write_number(row, column, number),
        }
        .map(drop)
    }

    fn blank(&mut self, row: u32, column: u16, tint: Tint) -> Result<(), XlsxError> {
        match &self.formats.plain[tint as usize] {
            Some(format) => self.sheet.write_blank(row, column, format).map(drop),
            None => Ok(()),
        }
    }
}

const DAY_MS: f64 = 86_400_000.0;

/// A moment's serial number in the 1900 system; `None` before 1900, which that system cannot say.
fn date_serial(time: NaiveDateTime) -> Option<f64> {
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    let days = (time - epoch).num_milliseconds() as f64 / DAY_MS;
    // Before March 1900 the serials are one off, since day 60 is a day that never was.
    let days = if days < 61.0 { days - 1.0 } else { days };
    (1.0..2_958_466.0).contains(&days).then_some(days)
}

/// The text as far as a cell takes it, with a mark where it was cut.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    // A UTF-16 unit takes at least one byte of UTF-8.
    if text.len() <= CELL_TEXT_MAX || text.encode_utf16().count() <= CELL_TEXT_MAX {
        return Cow::Borrowed(text);
    }
    let mut units = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        units += c.len_utf16();
        (units > CELL_TEXT_MAX - CUT_MARK.len()).then_some(at)
    });
    Cow::Owned(format!("{}{CUT_MARK}", &text[..end.unwrap_or(text.len())]))
}
