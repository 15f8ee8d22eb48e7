//! Values of cells, and their text and JSON forms.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use serde::{Deserialize, Serialize};

/// The value of a cell or of an output. An empty cell has no value; it is absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// TRUE or FALSE.
    Bool(bool),
    /// A finite double, as in Excel.
    Number(f64),
    /// Text. It stays text even if it looks like a number, so leading zeros and all digits are kept.
    Text(String),
    /// A date without a time.
    Date(NaiveDate),
    /// A date and a time, without a time zone.
    DateTime(NaiveDateTime),
    /// A time of day.
    Time(NaiveTime),
    /// A duration with milliseconds, as in Excel's `[h]:mm:ss`.
    Duration(TimeDelta),
}

/// The kind of a value, or the declared type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`Value::Bool`]
    Bool,
    /// [`Value::Number`]
    Number,
    /// [`Value::Text`]
    Text,
    /// [`Value::Date`]
    Date,
    /// [`Value::DateTime`]
    DateTime,
    /// [`Value::Time`]
    Time,
    /// [`Value::Duration`]
    Duration,
}

impl Kind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Kind; 7] = [
        Kind::Bool,
        Kind::Number,
        Kind::Text,
        Kind::Date,
        Kind::DateTime,
        Kind::Time,
        Kind::Duration,
    ];

    /// Returns the name in pipeline files, manifests and chunks: `bool`, `number`, `text`, `date`,
    /// `datetime`, `time`, `duration`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Number => "number",
            Kind::Text => "text",
            Kind::Date => "date",
            Kind::DateTime => "datetime",
            Kind::Time => "time",
            Kind::Duration => "duration",
        }
    }

    /// Returns the kind with this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether JSON cannot express this kind, so that a line of a chunk must name it.
    pub fn is_temporal(self) -> bool {
        matches!(
            self,
            Kind::Date | Kind::DateTime | Kind::Time | Kind::Duration
        )
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Value {
    /// Returns the kind of the value.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Bool(_) => Kind::Bool,
            Value::Number(_) => Kind::Number,
            Value::Text(_) => Kind::Text,
            Value::Date(_) => Kind::Date,
            Value::DateTime(_) => Kind::DateTime,
            Value::Time(_) => Kind::Time,
            Value::Duration(_) => Kind::Duration,
        }
    }

    /// Returns the value as text: dates and times in ISO 8601, numbers as in [`number_text`], booleans
    /// as `true` and `false`.
    pub fn to_text(&self) -> String {
        match self {
            Value::Bool(b) => b.to_string(),
            Value::Number(n) => number_text(*n),
            Value::Text(t) => t.clone(),
            Value::Date(d) => d.format("%Y-%m-%d").to_string(),
            Value::DateTime(t) => date_time_text(t),
            Value::Time(t) => time_text(t),
            Value::Duration(d) => duration_text(*d),
        }
    }

    /// Returns the value as JSON: booleans, numbers and text as such, dates and times as ISO 8601 text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Bool(b) => serde_json::Value::Bool(*b),
            Value::Number(n) => number_json(*n),
            other => serde_json::Value::String(other.to_text()),
        }
    }

    /// Returns the value in JSON. `None`: it is `null`, an array or an object.
    pub fn from_json(json: &serde_json::Value) -> Option<Value> {
        match json {
            serde_json::Value::Bool(b) => Some(Value::Bool(*b)),
            serde_json::Value::Number(n) => n.as_f64().map(Value::Number),
            serde_json::Value::String(s) => Some(Value::Text(s.clone())),
            _ => None,
        }
    }

    /// Parses a text as [`Value::to_text`] writes it. `None`: it is not of this kind. Numbers must be
    /// finite; booleans are `true` or `false`, ignoring case.
    pub fn parse(text: &str, kind: Kind) -> Option<Value> {
        Some(match kind {
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Bool if text.eq_ignore_ascii_case("true") => Value::Bool(true),
            Kind::Bool if text.eq_ignore_ascii_case("false") => Value::Bool(false),
            Kind::Bool => return None,
            Kind::Number => {
                let t = text.trim();
                // `f64::from_str` also accepts "inf", "nan" and "infinity".
                if !t.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
                    return None;
                }
                Value::Number(t.parse().ok().filter(|n: &f64| n.is_finite())?)
            }
            Kind::Date => Value::Date(NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()?),
            Kind::DateTime => {
                let t = text.trim();
                Value::DateTime(
                    NaiveDateTime::parse_from_str(t, "%Y-%m-%dT%H:%M:%S%.f")
                        .or_else(|_| NaiveDateTime::parse_from_str(t, "%Y-%m-%d %H:%M:%S%.f"))
                        .or_else(|_| NaiveDateTime::parse_from_str(t, "%Y-%m-%dT%H:%M"))
                        .or_else(|_| NaiveDateTime::parse_from_str(t, "%Y-%m-%d %H:%M"))
                        .ok()?,
                )
            }
            Kind::Time => {
                let t = text.trim();
                Value::Time(
                    NaiveTime::parse_from_str(t, "%H:%M:%S%.f")
                        .or_else(|_| NaiveTime::parse_from_str(t, "%H:%M"))
                        .ok()?,
                )
            }
            Kind::Duration => Value::Duration(parse_duration(text.trim())?),
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

/// Returns a number as text: whole numbers up to 2^53 without a decimal point, others as the shortest
/// text that reads back as the same double.
pub fn number_text(n: f64) -> String {
    match whole(n) {
        Some(i) => i.to_string(),
        None => format!("{n:?}"),
    }
}

/// Returns a number as JSON, with the same text as [`number_text`].
pub fn number_json(n: f64) -> serde_json::Value {
    match whole(n) {
        Some(i) => serde_json::Value::from(i),
        None => serde_json::Value::from(n),
    }
}

/// Returns `n` as an integer if it is a whole number up to 2^53 and not -0.0.
pub fn whole(n: f64) -> Option<i64> {
    // Above 2^53 doubles do not represent every integer, so the last digits have no meaning.
    let exact = n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0;
    (exact && !(n == 0.0 && n.is_sign_negative())).then_some(n as i64)
}

fn date_time_text(t: &NaiveDateTime) -> String {
    if t.nanosecond() == 0 {
        t.format("%Y-%m-%dT%H:%M:%S").to_string()
    } else {
        t.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
    }
}

fn time_text(t: &NaiveTime) -> String {
    if t.nanosecond() == 0 {
        t.format("%H:%M:%S").to_string()
    } else {
        t.format("%H:%M:%S%.3f").to_string()
    }
}

/// Returns ISO 8601 text with hours, minutes and seconds only: `PT36H15M`, `-PT0.5S`, `PT0S`.
fn duration_text(d: TimeDelta) -> String {
    let millis = d.num_milliseconds();
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    let mut text = format!("{sign}PT");
    if hours > 0 {
        text += &format!("{hours}H");
    }
    if minutes > 0 {
        text += &format!("{minutes}M");
    }
    if rest > 0 {
        text += &format!("{seconds}.{rest:03}S");
    } else if seconds > 0 || (hours == 0 && minutes == 0) {
        text += &format!("{seconds}S");
    }
    text
}

fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut rest = text.strip_prefix("PT")?;
    let mut millis: i64 = 0;
    let mut seen = false;
    for (unit, scale) in [('H', 3_600_000_i64), ('M', 60_000)] {
        if let Some((number, after)) = rest.split_once(unit) {
            millis = millis.checked_add(number.parse::<i64>().ok()?.checked_mul(scale)?)?;
            rest = after;
            seen = true;
        }
    }
    if let Some(number) = rest.strip_suffix('S') {
        let seconds: f64 = number.parse().ok().filter(|s: &f64| s.is_finite())?;
        millis = millis.checked_add((seconds * 1000.0).round() as i64)?;
        rest = "";
        seen = true;
    }
    (seen && rest.is_empty()).then(|| TimeDelta::try_milliseconds(sign * millis))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_excel() {
        for (n, text) in [
            (5.0, "5"),
            (-0.25, "-0.25"),
            (1e15, "1000000000000000"),
            (-1_234_567_890_123_456.0, "-1234567890123456"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (9_007_199_254_740_994.0, "9007199254740994.0"),
            (1e16, "1e16"),
            (1e21, "1e21"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(number_text(n), text);
            assert_eq!(
                Value::parse(text, Kind::Number).map(|v| v.to_text()),
                Some(text.to_owned())
            );
        }
        assert_eq!(Value::parse("inf", Kind::Number), None);
        assert_eq!(Value::parse("NaN", Kind::Number), None);
        assert_eq!(Value::parse("1e999", Kind::Number), None);
    }

    #[test]
    fn temporal_values_round_trip() {
        for (text, kind) in [
            ("2024-02-29", Kind::Date),
            ("2024-02-29T23:59:59", Kind::DateTime),
            ("2024-02-29T23:59:59.250", Kind::DateTime),
            ("00:00:00", Kind::Time),
            ("13:37:00.500", Kind::Time),
            ("PT36H15M", Kind::Duration),
            ("PT0S", Kind::Duration),
            ("-PT0.500S", Kind::Duration),
            ("PT1M1S", Kind::Duration),
        ] {
            let value = Value::parse(text, kind).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(value.to_text(), text);
            assert_eq!(value.kind(), kind);
        }
        assert_eq!(Value::parse("2023-02-29", Kind::Date), None);
        assert_eq!(Value::parse("PT", Kind::Duration), None);
    }
}
