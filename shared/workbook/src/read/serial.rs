//! Converts Excel serial numbers to dates, times and durations.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use rowmill_domain::Value;

use super::number_format::FormatKind;

const DAY_MS: i64 = 86_400_000;
/// One day after 9999-12-31, the last date that Excel displays (1900 date system).
const SERIAL_MAX: f64 = 2_958_466.0;
/// Days between the epochs of the 1900 and 1904 date systems.
const DAYS_1904: f64 = 1462.0;

/// Converts a number to the kind of value that its format displays. A date with a time of day becomes
/// a date-time, and so does a time of 24 hours or more. Numbers that Excel cannot display as such stay
/// numbers.
pub(crate) fn value(serial: f64, kind: FormatKind, is_1904: bool) -> Value {
    let number = Value::Number(serial);
    match kind {
        FormatKind::Number => number,
        FormatKind::Duration => duration(serial).map_or(number, Value::Duration),
        FormatKind::Time if (0.0..1.0).contains(&serial) => {
            time(serial).map_or(number, Value::Time)
        }
        FormatKind::Date | FormatKind::Time | FormatKind::DateTime => {
            match date_time(serial, is_1904) {
                Some(t) if kind == FormatKind::Date && t.time() == NaiveTime::MIN => {
                    Value::Date(t.date())
                }
                Some(t) => Value::DateTime(t),
                None => number,
            }
        }
        FormatKind::DateOrTime if (0.0..1.0).contains(&serial) => {
            time(serial).map_or(number, Value::Time)
        }
        FormatKind::DateOrTime => value(serial, FormatKind::Date, is_1904),
    }
}

fn duration(serial: f64) -> Option<TimeDelta> {
    let ms = (serial * DAY_MS as f64).round();
    // Above this, an f64 cannot represent single milliseconds.
    (ms.abs() < 9e15)
        .then(|| TimeDelta::try_milliseconds(ms as i64))
        .flatten()
}

fn time(serial: f64) -> Option<NaiveTime> {
    let ms = ((serial * DAY_MS as f64).round() as i64).min(DAY_MS - 1);
    NaiveTime::from_num_seconds_from_midnight_opt(
        u32::try_from(ms / 1000).ok()?,
        u32::try_from(ms % 1000).ok()? * 1_000_000,
    )
}

fn date_time(serial: f64, is_1904: bool) -> Option<NaiveDateTime> {
    let serial = if is_1904 { serial + DAYS_1904 } else { serial };
    // Values below 1 are day 0 of the 1900 system, which Excel displays as 1900-01-00. This is not a
    // date; usually it comes from a formula that refers to an empty cell.
    if !(1.0..SERIAL_MAX).contains(&serial) {
        return None;
    }
    // In the 1900 system, day 60 is 29 February 1900, which did not exist, and earlier days are off
    // by one. Day 60 is read as 28 February.
    let serial = if serial < 60.0 { serial + 1.0 } else { serial };
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    let ms = (serial * DAY_MS as f64).round() as i64;
    epoch.checked_add_signed(TimeDelta::try_milliseconds(ms)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_convert_to_what_excel_displays() {
        for (serial, kind, is_1904, text) in [
            (45_352.0, FormatKind::Date, false, "2024-03-01"),
            (45_352.5, FormatKind::Date, false, "2024-03-01T12:00:00"),
            (45_352.0, FormatKind::DateTime, false, "2024-03-01T00:00:00"),
            (43_890.0, FormatKind::Date, true, "2024-03-01"),
            (0.0, FormatKind::Date, true, "1904-01-01"),
            (1.0, FormatKind::Date, false, "1900-01-01"),
            (0.0, FormatKind::Date, false, "0"),
            (0.0, FormatKind::DateTime, false, "0"),
            (0.5, FormatKind::Date, false, "0.5"),
            (59.0, FormatKind::Date, false, "1900-02-28"),
            (61.0, FormatKind::Date, false, "1900-03-01"),
            (0.75, FormatKind::Time, false, "18:00:00"),
            (0.999_999_999, FormatKind::Time, false, "23:59:59.999"),
            (1.5, FormatKind::Time, false, "1900-01-01T12:00:00"),
            (1.5, FormatKind::Duration, false, "PT36H"),
            (-0.5, FormatKind::Duration, false, "-PT12H"),
            (-1.0, FormatKind::Date, false, "-1"),
            (
                2_958_465.999,
                FormatKind::DateTime,
                false,
                "9999-12-31T23:58:33.600",
            ),
            (2_958_466.0, FormatKind::Date, false, "2958466"),
            (0.25, FormatKind::DateOrTime, false, "06:00:00"),
            (45_352.0, FormatKind::DateOrTime, false, "2024-03-01"),
        ] {
            assert_eq!(value(serial, kind, is_1904).to_text(), text, "{serial}");
        }
    }
}
