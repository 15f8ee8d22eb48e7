//! Excel's serial numbers as dates, times and durations.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use rowmill_domain::Value;

use super::number_format::Shown;

const DAY_MS: i64 = 86_400_000;
/// 9999-12-31T23:59:59.999 in the 1900 system, the last that Excel shows.
const SERIAL_MAX: f64 = 2_958_466.0;
/// Days between the 1900 and the 1904 system.
const DAYS_1904: f64 = 1462.0;

/// A number as what its format shows: a date that has a time of day is a date with time, and a
/// time beyond a day has its date. Numbers that Excel cannot show so stay numbers.
pub(crate) fn value(serial: f64, shown: Shown, is_1904: bool) -> Value {
    let number = Value::Number(serial);
    match shown {
        Shown::Number => number,
        Shown::Duration => duration(serial).map_or(number, Value::Duration),
        Shown::Time if (0.0..1.0).contains(&serial) => time(serial).map_or(number, Value::Time),
        Shown::Date | Shown::Time | Shown::DateTime => match date_time(serial, is_1904) {
            Some(t) if shown == Shown::Date && t.time() == NaiveTime::MIN => Value::Date(t.date()),
            Some(t) => Value::DateTime(t),
            None => number,
        },
        Shown::Moment if (0.0..1.0).contains(&serial) => time(serial).map_or(number, Value::Time),
        Shown::Moment => value(serial, Shown::Date, is_1904),
    }
}

fn duration(serial: f64) -> Option<TimeDelta> {
    let ms = (serial * DAY_MS as f64).round();
    // Beyond that a double no longer tells milliseconds.
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
    // Below 1 is day 0 of the 1900 system, which Excel shows as 1900-01-00: no day at all, and
    // mostly a formula's reference to an empty cell.
    if !(1.0..SERIAL_MAX).contains(&serial) {
        return None;
    }
    // In the 1900 system day 60 is 29 February 1900, a day that never was; the days before it are
    // one off. It is read as 28 February.
    let serial = if serial < 60.0 { serial + 1.0 } else { serial };
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    let ms = (serial * DAY_MS as f64).round() as i64;
    epoch.checked_add_signed(TimeDelta::try_milliseconds(ms)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_as_excel_shows_them() {
        for (serial, shown, is_1904, text) in [
            (45_352.0, Shown::Date, false, "2024-03-01"),
            (45_352.5, Shown::Date, false, "2024-03-01T12:00:00"),
            (45_352.0, Shown::DateTime, false, "2024-03-01T00:00:00"),
            (43_890.0, Shown::Date, true, "2024-03-01"),
            (0.0, Shown::Date, true, "1904-01-01"),
            (1.0, Shown::Date, false, "1900-01-01"),
            (0.0, Shown::Date, false, "0"),
            (0.0, Shown::DateTime, false, "0"),
            (0.5, Shown::Date, false, "0.5"),
            (59.0, Shown::Date, false, "1900-02-28"),
            (61.0, Shown::Date, false, "1900-03-01"),
            (0.75, Shown::Time, false, "18:00:00"),
            (0.999_999_999, Shown::Time, false, "23:59:59.999"),
            (1.5, Shown::Time, false, "1900-01-01T12:00:00"),
            (1.5, Shown::Duration, false, "PT36H"),
            (-0.5, Shown::Duration, false, "-PT12H"),
            (-1.0, Shown::Date, false, "-1"),
            (
                2_958_465.999,
                Shown::DateTime,
                false,
                "9999-12-31T23:58:33.600",
            ),
            (2_958_466.0, Shown::Date, false, "2958466"),
            (0.25, Shown::Moment, false, "06:00:00"),
            (45_352.0, Shown::Moment, false, "2024-03-01"),
        ] {
            assert_eq!(value(serial, shown, is_1904).to_text(), text, "{serial}");
        }
    }
}
