//! Converts the attributes and the text of a cell to a value.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use memchr::{memchr, memchr3};
use rowmill_domain::{Kind, Value};

use super::text::append_paragraph;
use crate::read::number_format::FormatKind;
use crate::read::row::{NO_RESULT, TextPool};
use crate::read::sink::Cell;
use crate::read::xml::{Attributes, unescape};

/// The error of a cell whose formula failed, if the file has no code for it.
const NO_CODE: &str = "a formula with an error";

/// The attribute `value-type`.
#[derive(Clone, Copy, Default, PartialEq)]
enum CellKind {
    /// No type, or one that does not exist: the text counts.
    #[default]
    Untyped,
    Number,
    Date,
    Time,
    Bool,
    Text,
    Void,
}

/// The attributes of a cell that matter.
#[derive(Default)]
pub(super) struct CellHead<'a> {
    kind: CellKind,
    value: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    formula: bool,
    /// LibreOffice saves booleans of Excel as the formulas TRUE() and FALSE() with a number.
    constant: Option<bool>,
    /// Whether LibreOffice marks the cell as an error, next to the standard type `string`.
    error: bool,
    pub(super) style: Option<&'a [u8]>,
    pub(super) repeats: u64,
    pub(super) columns_spanned: u64,
    pub(super) rows_spanned: u64,
}

impl<'a> CellHead<'a> {
    pub(super) fn parse(attributes: &'a [u8]) -> CellHead<'a> {
        let mut head = CellHead {
            repeats: 1,
            columns_spanned: 1,
            rows_spanned: 1,
            ..CellHead::default()
        };
        for (name, value) in Attributes(attributes) {
            let local = memchr(b':', name).map_or(name, |colon| &name[colon + 1..]);
            match local {
                b"style-name" => head.style = Some(value),
                // The type may be repeated in a namespace of LibreOffice.
                b"value-type" if value == b"error" => head.error = true,
                b"value-type" if head.kind == CellKind::Untyped => head.kind = kind(value),
                b"value" | b"date-value" | b"time-value" | b"boolean-value" => {
                    head.value = Some(value);
                }
                b"string-value" => head.text = Some(value),
                b"formula" => {
                    head.formula = true;
                    head.constant = match value {
                        b"of:=TRUE()" => Some(true),
                        b"of:=FALSE()" => Some(false),
                        _ => None,
                    };
                }
                b"number-columns-repeated" => head.repeats = count(value),
                b"number-columns-spanned" => head.columns_spanned = count(value),
                b"number-rows-spanned" => head.rows_spanned = count(value),
                _ => {}
            }
        }
        head
    }

    /// Whether the style of the cell matters.
    pub(super) fn needs_format(&self) -> bool {
        self.value.is_some()
            && matches!(
                self.kind,
                CellKind::Number | CellKind::Date | CellKind::Time
            )
    }
}

fn kind(name: &[u8]) -> CellKind {
    match name {
        b"float" | b"percentage" | b"currency" => CellKind::Number,
        b"string" => CellKind::Text,
        b"date" => CellKind::Date,
        b"time" => CellKind::Time,
        b"boolean" => CellKind::Bool,
        b"void" => CellKind::Void,
        _ => CellKind::Untyped,
    }
}

/// The value of an attribute that is a count, which is at least 1.
pub(super) fn count(raw: &[u8]) -> u64 {
    let text = std::str::from_utf8(raw).unwrap_or_default().trim();
    match text.parse() {
        Ok(count) => std::cmp::max(1, count),
        // More than the type can hold is still many.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => u64::MAX,
        Err(_) => 1,
    }
}

/// The text that a cell displays.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    /// No paragraph.
    Nothing,
    /// One paragraph, as XML text.
    Raw(&'a [u8]),
    /// All paragraphs.
    Text(&'a str),
}

impl Shown<'_> {
    fn append_to(self, to: &mut String) {
        match self {
            Shown::Nothing => {}
            Shown::Raw(raw) => append_paragraph(raw, to),
            Shown::Text(text) => to.push_str(text),
        }
    }

    /// Whether the text is that of a boolean. LibreOffice saves a boolean that a formula computes as a
    /// number, unless the cell has a format for booleans.
    fn is_bool(self, value: bool) -> bool {
        let mut text = String::new();
        self.append_to(&mut text);
        let text = text.trim();
        BOOLEANS
            .iter()
            .any(|(yes, no)| text == if value { *yes } else { *no })
    }

    /// The text, if it is an error code.
    fn error(self) -> Option<String> {
        let bytes = match self {
            Shown::Nothing => return None,
            Shown::Raw(raw) => raw,
            Shown::Text(text) => text.as_bytes(),
        };
        if !matches!(bytes.trim_ascii_start().first(), Some(b'#' | b'E')) {
            return None;
        }
        let mut text = String::new();
        self.append_to(&mut text);
        let code = text.trim();
        is_error(code).then(|| code.to_owned())
    }
}

/// What LibreOffice displays for true and false, in the languages of most documents.
const BOOLEANS: [(&str, &str); 12] = [
    ("TRUE", "FALSE"),
    ("WAHR", "FALSCH"),
    ("VRAI", "FAUX"),
    ("VERDADERO", "FALSO"),
    ("VERO", "FALSO"),
    ("VERDADEIRO", "FALSO"),
    ("WAAR", "ONWAAR"),
    ("PRAWDA", "FAŁSZ"),
    ("SANT", "FALSKT"),
    ("SAND", "FALSK"),
    ("ИСТИНА", "ЛОЖЬ"),
    ("DOĞRU", "YANLIŞ"),
];

/// Whether a text is an error code, in any language: `#DIV/0!`, `#N/A`, `#WERT!`, `Err:502`.
fn is_error(text: &str) -> bool {
    if let Some(number) = text.strip_prefix("Err:") {
        return number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    }
    let Some(code) = text.strip_prefix('#') else {
        return false;
    };
    // "Not available" in some languages, and a state of Excel.
    if matches!(
        code,
        "N/A" | "NV" | "N/D" | "N/B" | "Н/Д" | "I/T" | "GETTING_DATA"
    ) {
        return true;
    }
    code.ends_with(['!', '?'])
        && code.chars().any(char::is_uppercase)
        && code
            .chars()
            .all(|c| c.is_uppercase() || c.is_ascii_digit() || "/_.!?¡¿".contains(c))
}

/// The day that serial numbers count from, in a document that does not say.
pub(super) const NULL_DATE: NaiveDate = match NaiveDate::from_ymd_opt(1899, 12, 30) {
    Some(date) => date,
    None => NaiveDate::MIN,
};

/// What the values of cells depend on.
pub(super) struct CellContext {
    /// The day that serial numbers count from.
    pub(super) null_date: NaiveDate,
}

impl CellContext {
    /// The value of a cell. `format` is what its style displays. The error says what is wrong.
    pub(super) fn cell(
        &self,
        head: &CellHead<'_>,
        format: FormatKind,
        shown: Shown<'_>,
        pool: &mut TextPool,
    ) -> Result<Option<Cell>, &'static str> {
        if head.error {
            let mut text = String::new();
            shown.append_to(&mut text);
            if text.trim().is_empty()
                && let Some(own) = head.text
            {
                unescape(own, &mut text);
            }
            let code = match text.trim() {
                "" => NO_CODE,
                code => code,
            };
            return Ok(Some(Cell::Error(code.to_owned())));
        }
        // Excel and older programs save a failed formula as 0 or as a text. Only the text it displays
        // says that it failed. Without a formula, a text is just a text.
        if (head.formula || !matches!(head.kind, CellKind::Text | CellKind::Untyped))
            && let Some(code) = shown.error()
        {
            return Ok(Some(Cell::Error(code)));
        }
        let cell = match (head.kind, head.value) {
            (CellKind::Void, _) => None,
            (CellKind::Number, Some(_)) if head.constant.is_some() => {
                head.constant.map(|value| Cell::Value(Value::Bool(value)))
            }
            (CellKind::Number, Some(raw @ (b"0" | b"1")))
                if head.formula && shown.is_bool(raw == b"1") =>
            {
                Some(Cell::Value(Value::Bool(raw == b"1")))
            }
            (CellKind::Number, Some(raw)) => Some(self.number(raw, format)),
            (CellKind::Date, Some(raw)) => text_of(raw).map(|text| date(&text, format)),
            (CellKind::Time, Some(raw)) => text_of(raw).map(|text| self.time(&text, format)),
            (CellKind::Bool, Some(raw)) => match raw.trim_ascii() {
                b"true" | b"TRUE" | b"1" => Some(Cell::Value(Value::Bool(true))),
                b"false" | b"FALSE" | b"0" => Some(Cell::Value(Value::Bool(false))),
                b"" => None,
                _ => return Err("its value is neither true nor false"),
            },
            // A type without its value: what the cell displays is better than nothing.
            _ => {
                let mut text = pool.take();
                match head.text {
                    Some(own) if !own.is_empty() => normalized(own, &mut text),
                    _ => shown.append_to(&mut text),
                }
                text_cell(text)
            }
        };
        // An empty text is a valid result of a formula. A missing value is not.
        if cell.is_none() && head.formula && head.kind != CellKind::Text {
            return Ok(Some(Cell::Error(NO_RESULT.to_owned())));
        }
        Ok(cell)
    }

    /// A number. With a style for dates or times, it is one, as in the program that displays it.
    fn number(&self, raw: &[u8], format: FormatKind) -> Cell {
        let text = std::str::from_utf8(raw).unwrap_or_default().trim();
        let number = match text.parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            Ok(_) => return Cell::Error("#NUM!".to_owned()),
            // Keep what is not a number as text.
            Err(_) => return Cell::Value(Value::Text(String::from_utf8_lossy(raw).into_owned())),
        };
        let value = match format {
            FormatKind::Number => None,
            FormatKind::Duration => length(number).map(Value::Duration),
            FormatKind::Date | FormatKind::DateTime => {
                length(number).and_then(|length| self.moment(length, format))
            }
            FormatKind::Time | FormatKind::DateOrTime => {
                length(number).and_then(|length| self.clock(length))
            }
        };
        Cell::Value(value.unwrap_or(Value::Number(number)))
    }

    /// A time value. Only the style distinguishes times of day from durations. Without one, values
    /// below 24 hours are times of day, which they nearly always are.
    fn time(&self, text: &str, format: FormatKind) -> Cell {
        // Old versions of OpenOffice write a decimal comma.
        let text = text.replace(',', ".");
        let Some(Value::Duration(length)) = Value::parse(&text, Kind::Duration) else {
            return Cell::Value(Value::Text(text));
        };
        let below_a_day = (TimeDelta::zero()..TimeDelta::days(1)).contains(&length);
        let value = match format {
            FormatKind::Duration => None,
            FormatKind::Time | FormatKind::Date | FormatKind::DateTime => self.clock(length),
            _ if below_a_day => self.clock(length),
            _ => None,
        };
        Cell::Value(value.unwrap_or(Value::Duration(length)))
    }

    /// The time of day that a length stands for. From 24 hours on it is a moment, counted from the null
    /// date, of which a style for times displays only the time.
    fn clock(&self, length: TimeDelta) -> Option<Value> {
        if length < TimeDelta::zero() {
            return None;
        }
        if length < TimeDelta::days(1) {
            return Some(Value::Time(NaiveTime::MIN + length));
        }
        self.moment(length, FormatKind::DateTime)
    }

    /// The moment after a length of time, from the null date. `None` after the year 9999.
    fn moment(&self, length: TimeDelta, format: FormatKind) -> Option<Value> {
        let start = self.null_date.and_time(NaiveTime::MIN);
        let moment = start.checked_add_signed(length)?;
        let years = NaiveDate::from_ymd_opt(1, 1, 1)?..=NaiveDate::from_ymd_opt(9999, 12, 31)?;
        years
            .contains(&moment.date())
            .then(|| moment_value(moment, format))
    }
}

/// A moment at midnight is a date if the style displays no time.
fn moment_value(moment: NaiveDateTime, format: FormatKind) -> Value {
    if format == FormatKind::Date && moment.time() == NaiveTime::MIN {
        Value::Date(moment.date())
    } else {
        Value::DateTime(moment)
    }
}

/// A date value, or text if it is not one.
fn date(text: &str, format: FormatKind) -> Cell {
    let value = match Value::parse(text, Kind::Date) {
        // Programs leave out midnight.
        Some(Value::Date(date)) if format == FormatKind::DateTime => {
            Some(Value::DateTime(date.and_time(NaiveTime::MIN)))
        }
        Some(value) => Some(value),
        None => match Value::parse(text.trim_end_matches('Z'), Kind::DateTime) {
            Some(Value::DateTime(moment)) => Some(moment_value(moment, format)),
            other => other,
        },
    };
    Cell::Value(value.unwrap_or_else(|| Value::from(text)))
}

/// A number of days, to the millisecond.
fn length(days: f64) -> Option<TimeDelta> {
    let ms = (days * 86_400_000.0).round();
    // Above this, an f64 cannot represent single milliseconds.
    (ms.abs() < 9e15)
        .then(|| TimeDelta::try_milliseconds(ms as i64))
        .flatten()
}

/// The text of an attribute, trimmed; `None` if it is empty.
fn text_of(raw: &[u8]) -> Option<String> {
    let mut text = String::new();
    unescape(raw.trim_ascii(), &mut text);
    (!text.is_empty()).then_some(text)
}

/// Appends the text of an attribute. In an attribute, a line break or tab that is not written as a
/// reference is a space.
fn normalized(raw: &[u8], to: &mut String) {
    if memchr3(b'\n', b'\r', b'\t', raw).is_none() {
        return unescape(raw, to);
    }
    let mut spaced = Vec::with_capacity(raw.len());
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && raw[at - 1] == b'\r' => {}
            b'\n' | b'\r' | b'\t' => spaced.push(b' '),
            byte => spaced.push(*byte),
        }
    }
    unescape(&spaced, to);
}

/// A cell with a text, or `None` if the text is empty.
fn text_cell(text: String) -> Option<Cell> {
    (!text.is_empty()).then_some(Cell::Value(Value::Text(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attributes: &str, format: FormatKind, shown: &str) -> String {
        let context = CellContext {
            null_date: NULL_DATE,
        };
        let shown = match shown {
            "" => Shown::Nothing,
            shown => Shown::Raw(shown.as_bytes()),
        };
        let head = CellHead::parse(attributes.as_bytes());
        let mut pool = TextPool::default();
        match context.cell(&head, format, shown, &mut pool) {
            Ok(None) => String::new(),
            Ok(Some(Cell::Value(Value::Text(text)))) => format!("'{text}"),
            Ok(Some(Cell::Value(value))) => value.to_text(),
            Ok(Some(Cell::Error(error))) => format!("!{error}"),
            Ok(Some(Cell::Empty)) => "empty".to_owned(),
            Err(wrong) => format!("?{wrong}"),
        }
    }

    #[test]
    fn the_value_wins_over_the_text() {
        for (attributes, shown, want) in [
            ("value-type='float' value='1.25'", "1.3", "1.25"),
            ("value-type='percentage' value='0.5'", "50 %", "0.5"),
            (
                "value-type='currency' currency='EUR' value='-2E3'",
                "-2.000 €",
                "-2000",
            ),
            ("value-type='boolean' boolean-value='true'", "WAHR", "true"),
            ("value-type='boolean' boolean-value='0'", "", "false"),
            (
                "formula='of:=TRUE()' value-type='float' value='1'",
                "TRUE",
                "true",
            ),
            (
                "formula='of:=FALSE()' value-type='float' value='0'",
                "0",
                "false",
            ),
            (
                "formula='of:=[.A1]&gt;1' value-type='float' value='1'",
                "WAHR",
                "true",
            ),
            (
                "formula='of:=[.A1]&gt;1' value-type='float' value='0'",
                "FALSE",
                "false",
            ),
            // Not what the number means, and not a formula.
            (
                "formula='of:=[.A1]' value-type='float' value='0'",
                "TRUE",
                "0",
            ),
            ("value-type='float' value='1'", "TRUE", "1"),
            (
                "value-type='boolean' boolean-value='yes'",
                "",
                "?its value is neither true nor false",
            ),
            (
                "value-type='date' date-value='2024-03-01'",
                "01.03.24",
                "2024-03-01",
            ),
            (
                "value-type='date' date-value='2024-03-01T06:00:00.5'",
                "",
                "2024-03-01T06:00:00.500",
            ),
            (
                "value-type='date' date-value='2024-13-01'",
                "",
                "'2024-13-01",
            ),
            (
                "value-type='time' time-value='PT06H30M00S'",
                "6:30",
                "06:30:00",
            ),
            (
                "value-type='time' time-value='PT06H30M00,5S'",
                "6:30",
                "06:30:00.500",
            ),
            ("value-type='time' time-value='PT36H'", "36:00", "PT36H"),
            ("value-type='time' time-value='-PT1H'", "", "-PT1H"),
            (
                "value-type='string' string-value='a&#10;b\r\nc'",
                "shown",
                "'a\nb c",
            ),
            ("value-type='string' string-value=''", "shown", "'shown"),
            ("value-type='string'", "00501", "'00501"),
            ("value-type='string'", "", ""),
            ("", "a &amp; b", "'a & b"),
            ("value-type='number' value='3'", "3,0", "'3,0"),
            ("value-type='float'", "44", "'44"),
            ("value-type='float' value='x'", "", "'x"),
            ("value-type='float' value='INF'", "", "!#NUM!"),
            ("value-type='void'", "x", ""),
            // LibreOffice repeats the type in a namespace of its own, here first.
            ("x:value-type='string' o:value-type='string'", "x", "'x"),
        ] {
            let got = read(attributes, FormatKind::Number, shown);
            assert_eq!(got, want, "{attributes} {shown}");
        }
    }

    #[test]
    fn errors_are_never_values() {
        let zero = "value-type='float' value='0'";
        for (attributes, shown, want) in [
            (format!("{zero} formula='of:=1/0'"), "#DIV/0!", "!#DIV/0!"),
            (format!("{zero} formula='of:=A1'"), " Err:502 ", "!Err:502"),
            (format!("{zero} formula='of:=A1'"), "#WERT!", "!#WERT!"),
            (format!("{zero} formula='of:=A1'"), "#NV", "!#NV"),
            (
                format!("{zero} formula='of:=A1'"),
                "#¿NOMBRE?",
                "!#¿NOMBRE?",
            ),
            (format!("{zero} formula='of:=A1'"), "###", "0"),
            (format!("{zero} formula='of:=A1'"), "Err:5", "0"),
            (format!("{zero} formula='of:=A1'"), "", "0"),
            (zero.to_owned(), "#REF!", "!#REF!"),
            (zero.to_owned(), "#1", "0"),
            (
                "value-type='string' formula='of:=A1'".to_owned(),
                "#N/A",
                "!#N/A",
            ),
            (
                "value-type='string' formula='of:=A1'".to_owned(),
                "#N/A or so",
                "'#N/A or so",
            ),
            ("value-type='string' formula='of:=A1'".to_owned(), "", ""),
            ("formula='of:=A1'".to_owned(), "#NAME?", "!#NAME?"),
            ("value-type='string'".to_owned(), "#N/A", "'#N/A"),
            (
                "value-type='string' string-value='' x:value-type='error'".to_owned(),
                "#N/A",
                "!#N/A",
            ),
            (
                "value-type='string' x:value-type='error'".to_owned(),
                "Ошибка:502",
                "!Ошибка:502",
            ),
            (
                "x:value-type='error' string-value='#REF!'".to_owned(),
                "",
                "!#REF!",
            ),
            (
                "value-type='float' x:value-type='error' value='0'".to_owned(),
                "",
                "!a formula with an error",
            ),
            (
                "formula='of:=A1'".to_owned(),
                "",
                "!a formula without a saved result",
            ),
            (
                "value-type='float' formula='of:=A1'".to_owned(),
                "",
                "!a formula without a saved result",
            ),
            (
                "value-type='boolean' formula='of:=A1' boolean-value='false'".to_owned(),
                "#NULL!",
                "!#NULL!",
            ),
        ] {
            let got = read(&attributes, FormatKind::Number, shown);
            assert_eq!(got, want, "{attributes} {shown}");
        }
    }

    #[test]
    fn styles_decide_between_dates_times_and_durations() {
        let float = |value: &str| format!("value-type='float' value='{value}'");
        let date = |value: &str| format!("value-type='date' date-value='{value}'");
        let time = |value: &str| format!("value-type='time' time-value='{value}'");
        for (attributes, format, want) in [
            (float("45352"), FormatKind::Date, "2024-03-01"),
            (float("45352.25"), FormatKind::Date, "2024-03-01T06:00:00"),
            (float("45352"), FormatKind::DateTime, "2024-03-01T00:00:00"),
            (float("1"), FormatKind::Date, "1899-12-31"),
            (float("1e300"), FormatKind::Date, "1e300"),
            (float("-1e8"), FormatKind::Date, "-100000000"),
            (float("0.25"), FormatKind::Time, "06:00:00"),
            (float("1.5"), FormatKind::Duration, "PT36H"),
            (float("-0.5"), FormatKind::Time, "-0.5"),
            (
                date("2024-03-01"),
                FormatKind::DateTime,
                "2024-03-01T00:00:00",
            ),
            (date("2024-03-01T00:00:00"), FormatKind::Date, "2024-03-01"),
            (
                date("2024-03-01T00:00:00"),
                FormatKind::Number,
                "2024-03-01T00:00:00",
            ),
            (time("PT6H"), FormatKind::Duration, "PT6H"),
            (time("PT36H"), FormatKind::Time, "1899-12-31T12:00:00"),
            (time("PT1088454H"), FormatKind::Time, "2024-03-01T06:00:00"),
            (time("PT99999999999H"), FormatKind::Time, "PT99999999999H"),
        ] {
            assert_eq!(read(&attributes, format, ""), want, "{attributes}");
        }
        let null_date = NaiveDate::from_ymd_opt(1904, 1, 1).unwrap();
        let context = CellContext { null_date };
        let head = CellHead::parse(b"value-type='float' value='43890'");
        let cell = context.cell(
            &head,
            FormatKind::Date,
            Shown::Nothing,
            &mut TextPool::default(),
        );
        let want = Value::parse("2024-03-01", Kind::Date).map(Cell::Value);
        assert_eq!(cell, Ok(want));
    }
}
