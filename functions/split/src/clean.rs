//! The cleaning rules, row by row and pure.
//!
//! In this order:
//! 1. Text is trimmed: Unicode white space (the no-break space too) and byte order marks at both
//!    ends go. A text with nothing left is an empty cell.
//! 2. A row without a value is rejected as blank.
//! 3. A row beyond `--limit` is rejected without a further look.
//! 4. An error cell (`#N/A`, `#DIV/0!`) in any column rejects the row as unreadable: it is a
//!    reason, never a value, and a record without it would look whole.
//! 5. A cell of a column with a declared type is converted ([`convert`]); one that cannot be
//!    rejects the row as unreadable. Other columns keep each cell's own kind.
//! 6. A required column that is empty rejects the row.
//! 7. A row with the key of an earlier record is rejected. Keys are compared by kind and value
//!    (the text `7` is not the number 7); an empty cell is part of a key, but a key of empty cells
//!    only is none.

use std::collections::HashMap;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::value::number_text;
use rowmill_domain::{Columns, Kind, Value};
use rowmill_pipeline::Input;
use rowmill_workbook::Cell;

/// Columns or problems that a message lists at most.
pub(crate) const LISTED: usize = 5;
/// Characters of a value that a message shows.
const SHOWN: usize = 60;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
/// The day after 9999-12-31, the last that Excel shows, as a serial number of the 1900 system.
const SERIAL_END: f64 = 2_958_466.0;

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a record; its cells are clean.
    Record,
    /// It is rejected: why, and why in words with the column and the value.
    Rejected(RejectReason, String),
}

/// Applies the rules of a pipeline's `[input]`.
#[derive(Debug)]
pub(crate) struct Cleaner {
    columns: Columns,
    types: Vec<(usize, Kind)>,
    required: Vec<usize>,
    key: Vec<usize>,
    /// 128 bits of a key's hash, and the row that has it: 20 bytes a record whatever the key is.
    seen: HashMap<[u32; 4], u32>,
    left: u64,
}

impl Cleaner {
    /// Rules for these columns. At most `limit` rows become records.
    ///
    /// The error is the name of a column that the rules mention and the workbook lacks.
    pub(crate) fn new(
        columns: Columns,
        input: &Input,
        limit: Option<u64>,
    ) -> Result<Cleaner, String> {
        let at = |name: &String| columns.position(name).ok_or_else(|| name.clone());
        let types = input
            .types
            .iter()
            .map(|(name, kind)| Ok((at(name)?, *kind)));
        Ok(Cleaner {
            types: types.collect::<Result<_, String>>()?,
            required: input.required.iter().map(at).collect::<Result<_, _>>()?,
            key: input.key.iter().map(at).collect::<Result<_, _>>()?,
            seen: HashMap::new(),
            left: limit.unwrap_or(u64::MAX),
            columns,
        })
    }

    /// The declared type of a column.
    pub(crate) fn declared(&self, column: usize) -> Option<Kind> {
        let mut types = self.types.iter();
        types.find(|(c, _)| *c == column).map(|(_, kind)| *kind)
    }

    /// Cleans a row in place, and says what it is. Cells of a rejected row are trimmed and
    /// perhaps converted.
    pub(crate) fn clean(&mut self, row: u32, cells: &mut [Cell]) -> Verdict {
        let mut blank = true;
        let mut error = false;
        for cell in cells.iter_mut() {
            match cell {
                Cell::Empty => {}
                Cell::Value(Value::Text(text)) => {
                    if trim(text) {
                        blank = false;
                    } else {
                        *cell = Cell::Empty;
                    }
                }
                Cell::Value(_) => blank = false,
                Cell::Error(_) => (blank, error) = (false, true),
            }
        }
        if blank {
            return Verdict::Rejected(RejectReason::Blank, RejectReason::Blank.text().into());
        }
        if self.left == 0 {
            let reason = RejectReason::BeyondLimit;
            return Verdict::Rejected(reason, reason.text().into());
        }
        if error {
            return self.unreadable(
                cells
                    .iter()
                    .enumerate()
                    .filter_map(|(at, cell)| match cell {
                        Cell::Error(code) => Some((at, code.clone())),
                        _ => None,
                    }),
            );
        }
        let mut bad = Vec::new();
        for (at, kind) in &self.types {
            if let Cell::Value(value) = &mut cells[*at]
                && !convert(value, *kind)
            {
                bad.push((*at, format!("`{}` is no {kind}", shown(value))));
            }
        }
        if !bad.is_empty() {
            return self.unreadable(bad.into_iter());
        }
        let missing: Vec<String> = self
            .required
            .iter()
            .filter(|at| cells[**at] == Cell::Empty)
            .map(|at| format!("`{}`", self.columns.names()[*at]))
            .collect();
        if !missing.is_empty() {
            return Verdict::Rejected(
                RejectReason::MissingRequired,
                format!("no value in {}", missing.join(", ")),
            );
        }
        if let Some(first) = self.earlier(row, cells) {
            let key: Vec<String> = self
                .key
                .iter()
                .map(|at| match &cells[*at] {
                    Cell::Value(value) => {
                        format!("`{}` = `{}`", self.columns.names()[*at], shown(value))
                    }
                    _ => format!("`{}` empty", self.columns.names()[*at]),
                })
                .collect();
            return Verdict::Rejected(
                RejectReason::DuplicateKey,
                format!("{}, as in row {first}", key.join(", ")),
            );
        }
        self.left -= 1;
        Verdict::Record
    }

    fn unreadable(&self, bad: impl Iterator<Item = (usize, String)>) -> Verdict {
        let mut bad = bad.map(|(at, why)| format!("column `{}`: {why}", self.columns.names()[at]));
        let mut texts: Vec<String> = bad.by_ref().take(LISTED).collect();
        let more = bad.count();
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        Verdict::Rejected(RejectReason::Unreadable, texts.join("; "))
    }

    /// The earlier row with this row's key; else keeps the key as this row's.
    fn earlier(&mut self, row: u32, cells: &[Cell]) -> Option<u32> {
        if self.key.iter().all(|at| cells[*at] == Cell::Empty) {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for at in &self.key {
            match &cells[*at] {
                Cell::Value(value) => hash_value(value, &mut hasher),
                _ => hash_part(&mut hasher, u8::MAX, &[]),
            }
        }
        let hash = hasher.finalize();
        let mut key = [0; 4];
        for (word, bytes) in key.iter_mut().zip(hash.as_bytes().as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let first = *self.seen.entry(key).or_insert(row);
        (first != row).then_some(first)
    }
}

/// Trims in place; `false` where nothing is left.
fn trim(text: &mut String) -> bool {
    // Most texts begin and end with a visible ASCII character.
    if let (Some(first), Some(last)) = (text.as_bytes().first(), text.as_bytes().last())
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return true;
    }
    let outer = |c: char| c.is_whitespace() || c == '\u{feff}';
    let kept = text.trim_end_matches(outer).len();
    text.truncate(kept);
    let cut = kept - text.trim_start_matches(outer).len();
    if cut > 0 {
        text.drain(..cut);
    }
    !text.is_empty()
}

fn hash_value(value: &Value, hasher: &mut blake3::Hasher) {
    let kind = value.kind() as u8;
    match value {
        Value::Bool(b) => hash_part(hasher, kind, &[u8::from(*b)]),
        // 0.0 + 0.0 and 0.0 + -0.0 are the same zero.
        Value::Number(n) => hash_part(hasher, kind, &(n + 0.0).to_bits().to_le_bytes()),
        Value::Text(t) => hash_part(hasher, kind, t.as_bytes()),
        Value::Date(d) => hash_part(hasher, kind, &d.num_days_from_ce().to_le_bytes()),
        Value::DateTime(t) => {
            hash_part(hasher, kind, &t.and_utc().timestamp_micros().to_le_bytes())
        }
        Value::Time(t) => {
            let nanos = u64::from(t.num_seconds_from_midnight()) * 1_000_000_000
                + u64::from(t.nanosecond());
            hash_part(hasher, kind, &nanos.to_le_bytes());
        }
        Value::Duration(d) => hash_part(hasher, kind, &d.num_milliseconds().to_le_bytes()),
    }
}

/// One column of a key. The length keeps ("ab", "c") and ("a", "bc") apart.
fn hash_part(hasher: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hasher.update(&[kind]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Makes a value one of `kind`; `false`, and the value as it was, where that would change what it
/// says.
///
/// | to | from |
/// |---|---|
/// | text | any: numbers as their shortest text, dates and times as ISO 8601, `true`, `false` |
/// | number | text that is a number with a point and without separators (`007` is 7) |
/// | bool | the texts `true` and `false` in any case; the numbers 1 and 0 |
/// | date | ISO 8601 text; a date and time at midnight; a whole serial number |
/// | datetime | ISO 8601 text; a date (midnight); a serial number |
/// | time | text `13:37` or `13:37:00`; a duration under a day; a serial number from 0 to below 1 |
/// | duration | ISO 8601 text (`PT36H15M`); a time; a number of days |
///
/// Serial numbers are those of the 1900 system, counted as Excel counts (day 60 never was, and is
/// refused), and rounded to milliseconds.
pub fn convert(value: &mut Value, kind: Kind) -> bool {
    if value.kind() == kind {
        return true;
    }
    let converted = match (&*value, kind) {
        (Value::Number(n), Kind::Text) => Some(Value::Text(number_text(*n))),
        (other, Kind::Text) => Some(Value::Text(other.to_text())),
        (Value::Text(text), kind) => Value::parse(text, kind),
        (Value::Number(n), Kind::Bool) if *n == 0.0 || *n == 1.0 => Some(Value::Bool(*n == 1.0)),
        (Value::Number(n), Kind::Date) if n.fract() == 0.0 => {
            serial(*n).map(|t| Value::Date(t.date()))
        }
        (Value::Number(n), Kind::DateTime) => serial(*n).map(Value::DateTime),
        (Value::Number(n), Kind::Time) if (0.0..1.0).contains(n) => {
            time((n * DAY_MS).round() as i64).map(Value::Time)
        }
        (Value::Number(n), Kind::Duration) if n.abs() < SERIAL_END => {
            TimeDelta::try_milliseconds((n * DAY_MS).round() as i64).map(Value::Duration)
        }
        (Value::DateTime(t), Kind::Date) if t.time() == NaiveTime::MIN => {
            Some(Value::Date(t.date()))
        }
        (Value::Date(d), Kind::DateTime) => Some(Value::DateTime(d.and_time(NaiveTime::MIN))),
        (Value::Duration(d), Kind::Time) => time(d.num_milliseconds()).map(Value::Time),
        (Value::Time(t), Kind::Duration) => {
            Some(Value::Duration(t.signed_duration_since(NaiveTime::MIN)))
        }
        _ => None,
    };
    match converted {
        Some(converted) => {
            *value = converted;
            true
        }
        None => false,
    }
}

/// A serial number of the 1900 system as day and time.
fn serial(n: f64) -> Option<NaiveDateTime> {
    if !(1.0..SERIAL_END).contains(&n) || n.floor() == 60.0 {
        return None;
    }
    // Excel counts a 29 February 1900, so its days before that are one off.
    let days = if n < 60.0 { n + 1.0 } else { n };
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    epoch.checked_add_signed(TimeDelta::try_milliseconds((days * DAY_MS).round() as i64)?)
}

/// A time of day so many milliseconds after midnight.
fn time(ms: i64) -> Option<NaiveTime> {
    let ms = u32::try_from(ms).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000)
}

/// A value for a message: cut where it is long.
fn shown(value: &Value) -> String {
    cut_text(&value.to_text(), SHOWN)
}

/// At most so many characters of a text, with a mark where it was longer.
pub(crate) fn cut_text(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
