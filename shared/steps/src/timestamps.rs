//! Times as APIs write them: RFC 3339, and ISO 8601 with an offset.

use rowmill_domain::{Kind, Value};

/// Parses a value as [`Value::parse`] does. A date and time can also have an offset, and a date can be
/// that of a date and time. A cell has no offset: the value is what a clock at that place shows.
pub(crate) fn parse(text: &str, kind: Kind) -> Option<Value> {
    let parsed = Value::parse(text, kind);
    if parsed.is_some() || !matches!(kind, Kind::DateTime | Kind::Date) {
        return parsed;
    }
    let text = text.trim().to_ascii_uppercase();
    match Value::parse(without_offset(&text)?, Kind::DateTime)? {
        Value::DateTime(time) if kind == Kind::Date => Some(Value::Date(time.date())),
        time => Some(time),
    }
}

/// A date and time without its offset: `Z`, `+02:00`, `+0200` or `+02`.
fn without_offset(text: &str) -> Option<&str> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some(time.trim_end());
    }
    // The date has hyphens, too.
    let (day, clock) = text.split_once(['T', ' '])?;
    let Some(at) = clock.rfind(['+', '-']) else {
        return Some(text);
    };
    let (hours, minutes) = match clock[at + 1..].split_once(':') {
        Some(parts) => parts,
        None => clock[at + 1..].split_at_checked(2)?,
    };
    let below = |digits: &str, max: u32| {
        let is_number = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        is_number && digits.parse::<u32>().is_ok_and(|n| n < max)
    };
    let is_offset = below(hours, 24) && (minutes.is_empty() || below(minutes, 60));
    is_offset.then(|| text[..day.len() + 1 + at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_can_have_an_offset() {
        for (text, expected) in [
            ("2026-01-04T10:00:00Z", "2026-01-04T10:00:00"),
            ("2026-01-04t10:00:00z", "2026-01-04T10:00:00"),
            ("2026-01-04 10:00:00 Z", "2026-01-04T10:00:00"),
            ("2026-01-04T10:00:00+02:00", "2026-01-04T10:00:00"),
            ("2026-01-04T10:00:00-00:00", "2026-01-04T10:00:00"),
            ("2026-01-04T10:00:00.250+0530", "2026-01-04T10:00:00.250"),
            ("2026-01-04T10:00-08", "2026-01-04T10:00:00"),
            ("2026-01-04 10:00:00 +01:00", "2026-01-04T10:00:00"),
            ("2026-01-04T10:00:00", "2026-01-04T10:00:00"),
        ] {
            let time = parse(text, Kind::DateTime);
            assert_eq!(time, Value::parse(expected, Kind::DateTime), "{text}");
            assert!(time.is_some());
            let day = parse(text, Kind::Date);
            assert_eq!(day, Value::parse("2026-01-04", Kind::Date), "{text}");
        }
        assert_eq!(
            parse("2026-01-04", Kind::Date),
            Value::parse("2026-01-04", Kind::Date)
        );
    }

    #[test]
    fn other_texts_are_not_times() {
        for text in [
            "",
            "Z",
            "2026-01-04Z",
            "2026-01-04",
            "2026-13-04T10:00:00Z",
            "2026-01-04T10:00:00+24:00",
            "2026-01-04T10:00:00+02:60",
            "2026-01-04T10:00:00+2",
            "2026-01-04T10:00:00+02:000",
            "2026-01-04T10:00:00+\u{661}\u{661}",
            "2026-01-04T10:00:00+1\u{e9}",
            "2026-01-04T10:00:00 UTC",
            "10:00:00Z",
        ] {
            assert_eq!(parse(text, Kind::DateTime), None, "{text}");
        }
        assert_eq!(parse("2026-01-04T10:00:00Z", Kind::Number), None);
    }
}
