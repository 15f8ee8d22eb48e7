//! Quantities in pipeline files.

use std::time::Duration;

/// Splits `"512 MiB"` into the number, which must be above 0, and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    (number > 0.0 && number.is_finite()).then(|| (number, text[end..].trim_start()))
}

/// Parses `"20s"`, `"500ms"`, `"2m"` or `"1h"`, up to a day.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const DAY: f64 = 86_400.0;
    let (number, unit) = split(text)?;
    let seconds = number
        * match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
    (0.001..=DAY)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// Parses `"50/s"`, `"10/m"` or `"1000/h"` into requests per second.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let seconds = match unit.strip_prefix('/')?.trim_start() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(number / seconds)
}

/// Parses `"512 MiB"` or `"2 GiB"` into a whole number of MiB.
pub(super) fn memory(text: &str) -> Option<u32> {
    let (number, unit) = split(text)?;
    let mib = number
        * match unit {
            "MiB" => 1.0,
            "GiB" => 1024.0,
            _ => return None,
        };
    (mib.fract() == 0.0 && mib <= f64::from(u32::MAX)).then_some(mib as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_need_a_number_above_zero_and_a_known_unit() {
        for (text, milliseconds) in [
            ("20s", Some(20_000)),
            ("500ms", Some(500)),
            ("1.5 s", Some(1500)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("20", None),
            ("s", None),
            ("0s", None),
            ("-1s", None),
            ("1e3s", None),
            ("48h", None),
            ("1..5s", None),
            ("20 S", None),
        ] {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(duration(text), expected, "{text}");
        }
        assert_eq!(rate("50/s"), Some(50.0));
        assert_eq!(rate("30 / m"), Some(0.5));
        assert_eq!(rate("50"), None);
        assert_eq!(rate("50/d"), None);
        assert_eq!(memory("512 MiB"), Some(512));
        assert_eq!(memory("2GiB"), Some(2048));
        assert_eq!(memory("0.5 GiB"), Some(512));
        assert_eq!(memory("512 MB"), None);
        assert_eq!(memory("0.3 MiB"), None);
    }
}
