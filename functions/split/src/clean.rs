//! The cleaning rules: pure functions on one row at a time.
//!
//! In this order:
//! 1. Text is trimmed: Unicode white space (including the no-break space) and byte order marks are
//!    removed at both ends. A cell whose text is empty after that is an empty cell.
//! 2. A row without a value is rejected as blank.
//! 3. A row beyond the limit is rejected without further checks.
//! 4. An error cell (`#N/A`, `#DIV/0!`) in any column rejects the row as unreadable. An error is
//!    not a value, and a record without it would look complete.
//!    A row with values outside the columns of the header is rejected as unreadable too: without
//!    them the record would look complete.
//! 5. A cell of a column with a declared type is converted ([`convert`], and texts by the column's
//!    locale). If that is not possible, the row is rejected as unreadable. In other columns each cell keeps its own type.
//! 6. An empty required column rejects the row.
//! 7. A row with the same key as an earlier record is rejected. Keys are compared by type and value
//!    (the text `7` is not the number 7). An empty cell is part of a key, but a row whose key cells
//!    are all empty has no key.

mod typed;

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::value::number_text;
use rowmill_domain::{Columns, Kind, Value};
use rowmill_pipeline::Input;
use rowmill_workbook::{Cell, OutsideCell};
use typed::Typed;

use crate::cell::CleanCell;

/// Maximum number of columns or problems that a message lists.
pub(crate) const LISTED: usize = 5;
/// Maximum number of characters of a value that a message shows.
const SHOWN: usize = 60;
/// Milliseconds per day.
const DAY_MS: f64 = 86_400_000.0;
/// The day after 9999-12-31, the last day in Excel, as a serial number of the 1900 date system.
const SERIAL_END: f64 = 2_958_466.0;

/// What a row is after cleaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A record with clean cells.
    Record,
    /// A rejected row: the reason, and a message that names the column and the value.
    Rejected(RejectReason, String),
}

/// Applies the rules of a pipeline's `[input]`.
#[derive(Debug)]
pub(crate) struct Cleaner {
    columns: Columns,
    types: Vec<Typed>,
    required: Vec<usize>,
    key: Vec<usize>,
    /// 128 bits of the hash of each key, and the row that has it. Each takes 20 bytes, whatever the
    /// length of the key.
    seen: HashMap<[u32; 4], u32>,
    /// How many more rows may become records.
    left: u64,
}

impl Cleaner {
    /// The rules for these columns. At most `limit` rows become records.
    ///
    /// # Errors
    /// The name of a column that the rules use and the workbook does not have.
    pub(crate) fn new(
        columns: Columns,
        input: &Input,
        limit: Option<u64>,
    ) -> Result<Cleaner, String> {
        let at = |name: &String| columns.position(name).ok_or_else(|| name.clone());
        let types = input
            .types
            .iter()
            .map(|(name, kind)| Ok(Typed::new(at(name)?, *kind, input.locale_of(name))));
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
        types
            .find(|typed| typed.column == column)
            .map(|typed| typed.kind)
    }

    /// Cleans a row in place and decides what it is. The cells of a rejected row are trimmed, and
    /// some of them may be converted.
    pub(crate) fn clean(&mut self, row: u32, cells: &mut [CleanCell]) -> Verdict {
        let mut blank = true;
        let mut error = false;
        for cell in cells.iter_mut() {
            match cell {
                CleanCell::Empty => {}
                CleanCell::Text(text) => {
                    trim(text);
                    if text.is_empty() {
                        *cell = CleanCell::Empty;
                    } else {
                        blank = false;
                    }
                }
                CleanCell::Value(_) => blank = false,
                CleanCell::Error(_) => (blank, error) = (false, true),
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
                        CleanCell::Error(code) => Some((at, format!("error value {code}"))),
                        _ => None,
                    }),
            );
        }
        let mut bad = Vec::new();
        for typed in &mut self.types {
            let cell = &mut cells[typed.column];
            if let Some(mut value) = cell.value() {
                match typed.convert(row, &mut value) {
                    Ok(()) => *cell = value.into(),
                    Err(why) => bad.push((typed.column, why)),
                }
            }
        }
        if !bad.is_empty() {
            return self.unreadable(bad.into_iter());
        }
        let missing: Vec<String> = self
            .required
            .iter()
            .filter(|at| cells[**at] == CleanCell::Empty)
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
                .map(|at| match cells[*at].value() {
                    Some(value) => {
                        format!("`{}` = `{}`", self.columns.names()[*at], shown(&value))
                    }
                    None => format!("`{}` is empty", self.columns.names()[*at]),
                })
                .collect();
            return Verdict::Rejected(
                RejectReason::DuplicateKey,
                format!("same key as row {first} ({})", key.join(", ")),
            );
        }
        self.left -= 1;
        Verdict::Record
    }

    /// Why a row with values outside the columns is rejected. `None` if they are only white space.
    pub(crate) fn overflow(&self, outside: &mut [OutsideCell]) -> Option<(RejectReason, String)> {
        let mut found = Vec::new();
        for OutsideCell { column, cell } in outside {
            let value = match cell {
                Cell::Value(Value::Text(text)) => {
                    *text = trimmed(text).to_owned();
                    if text.is_empty() {
                        *cell = Cell::Empty;
                        continue;
                    }
                    truncate(text, SHOWN)
                }
                Cell::Empty => continue,
                Cell::Value(value) => shown(value),
                Cell::Error(code) => code.clone(),
            };
            found.push(format!("`{value}` in column {column}"));
        }
        if found.is_empty() {
            return None;
        }
        if self.left == 0 {
            let reason = RejectReason::BeyondLimit;
            return Some((reason, reason.text().to_owned()));
        }
        let more = found.len().saturating_sub(LISTED);
        found.truncate(LISTED);
        if more > 0 {
            found.push(format!("and {more} more"));
        }
        let count = self.columns.len();
        let detail = format!(
            "values outside the columns: {}; the header has {count} {}",
            found.join(", "),
            if count == 1 { "column" } else { "columns" },
        );
        Some((RejectReason::Unreadable, detail))
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

    /// The earlier row with the same key. If there is none, remembers the key for this row.
    fn earlier(&mut self, row: u32, cells: &[CleanCell]) -> Option<u32> {
        if self.key.iter().all(|at| cells[*at] == CleanCell::Empty) {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for at in &self.key {
            match &cells[*at] {
                CleanCell::Text(text) => {
                    hash_part(&mut hasher, Kind::Text as u8, text.as_bytes());
                }
                CleanCell::Value(value) => hash_value(value, &mut hasher),
                CleanCell::Empty | CleanCell::Error(_) => hash_part(&mut hasher, u8::MAX, &[]),
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

/// Trims in place.
fn trim(text: &mut Cow<'_, str>) {
    let kept = trimmed(text);
    if kept.len() < text.len() {
        *text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
            Cow::Owned(_) => Cow::Owned(kept.to_owned()),
        };
    }
}

/// The text without white space and byte order marks at its ends.
fn trimmed(text: &str) -> &str {
    // Most texts start and end with a visible ASCII character.
    if let (Some(first), Some(last)) = (text.as_bytes().first(), text.as_bytes().last())
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return text;
    }
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
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

/// Adds one column of a key. The length distinguishes ("ab", "c") from ("a", "bc").
fn hash_part(hasher: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hasher.update(&[kind]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Converts a value to `kind`. Returns `false` and leaves the value unchanged if the conversion
/// would change its meaning.
///
/// | to | from |
/// |---|---|
/// | text | any value: numbers as their shortest text, dates and times as ISO 8601, `true`, `false` |
/// | number | text that is a number with a decimal point and without separators (`007` is 7) |
/// | bool | the texts `true` and `false` in upper or lower case; the numbers 1 and 0 |
/// | date | ISO 8601 text; a date and time at midnight; a whole serial number |
/// | datetime | ISO 8601 text; a date (midnight); a serial number |
/// | time | text `13:37` or `13:37:00`; a duration below one day; a serial number from 0 to below 1 |
/// | duration | ISO 8601 text (`PT36H15M`); a time; a number of days |
///
/// Serial numbers are those of the 1900 date system, rounded to milliseconds. Day 60, Excel's
/// 29 February 1900, did not exist and is refused.
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

/// A serial number of the 1900 date system as date and time.
fn serial(n: f64) -> Option<NaiveDateTime> {
    if !(1.0..SERIAL_END).contains(&n) || n.floor() == 60.0 {
        return None;
    }
    // Excel counts a 29 February 1900, so the days before it are off by one.
    let days = if n < 60.0 { n + 1.0 } else { n };
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    epoch.checked_add_signed(TimeDelta::try_milliseconds((days * DAY_MS).round() as i64)?)
}

/// The time of day `ms` milliseconds after midnight.
fn time(ms: i64) -> Option<NaiveTime> {
    let ms = u32::try_from(ms).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000)
}

/// A value for a message, truncated if it is long.
fn shown(value: &Value) -> String {
    truncate(&value.to_text(), SHOWN)
}

/// The text, or its first `characters` characters followed by `...`.
pub(crate) fn truncate(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
