//! Quantities in pipeline files.

use std::time::Duration;

use rowmill_domain::quantity::{seconds, split};

/// Parses `"20s"`, `"500ms"`, `"2m"` or `"1h"`, up to a day.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const DAY: f64 = 86_400.0;
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => number * 0.001,
        unit => number * seconds(unit)?,
    };
    (0.001..=DAY)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// Parses `"50/s"`, `"10/m"` or `"1000/h"` into requests per second.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    Some(number / seconds(unit.strip_prefix('/')?.trim_start())?)
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

/// Parses `"100 GiB"` into a whole number of GiB.
pub(super) fn gib(text: &str) -> Option<u32> {
    let mib = memory(text)?;
    mib.is_multiple_of(1024).then_some(mib / 1024)
}

/// Parses `"5%"` into 0.05. At most `"100%"`.
pub(super) fn share(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().ok().filter(|_| plain)?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_up_to_100() {
        assert_eq!(share("5%"), Some(0.05));
        assert_eq!(share(" 12.5 % "), Some(0.125));
        assert_eq!((share("0%"), share("100%")), (Some(0.0), Some(1.0)));
        for wrong in ["5", "101%", "-1%", "%", "5%%", "inf%", "1e1%", "0.05"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
    }

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
        assert_eq!(gib("100 GiB"), Some(100));
        assert_eq!(gib("2048 MiB"), Some(2));
        assert_eq!(gib("100.5 GiB"), None);
    }
}
