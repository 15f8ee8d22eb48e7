//! Numbers, sizes and times as people read them.

use chrono::TimeDelta;

/// `200,001`
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `200,001 rows`
pub(crate) fn rows(n: u64) -> String {
    match n {
        1 => "1 row".to_owned(),
        n => format!("{} rows", thousands(n)),
    }
}

/// Bytes: `812 KB`, `7.3 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const MB: f64 = 1024.0 * 1024.0;
    match bytes as f64 {
        b if b < MB => format!("{} KB", (b / 1024.0).ceil()),
        b => format!("{:.1} MB", b / MB),
    }
}

/// A text as a sentence: `upload it again` becomes `Upload it again.`
pub(crate) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut out: String = match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => return String::new(),
    };
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// `850 ms`, `2.4 s`
pub(crate) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => "<1 ms".to_owned(),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// `under a second`, `45 s`, `3 min 12 s`, `2 h 5 min`
pub(crate) fn duration(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => "under a second".to_owned(),
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_readable() {
        assert_eq!(sentence("upload it again"), "Upload it again.");
        assert_eq!(sentence("Add rows. Then go on."), "Add rows. Then go on.");
        assert_eq!(sentence(""), "");
        let seconds = |s| duration(TimeDelta::seconds(s));
        for (s, text) in [
            (-1, "under a second"),
            (45, "45 s"),
            (60, "1 min"),
            (192, "3 min 12 s"),
            (7200, "2 h"),
            (7500, "2 h 5 min"),
        ] {
            assert_eq!(seconds(s), text);
        }
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(size(1), "1 KB");
        assert_eq!(size(7 * 1024 * 1024 + 300_000), "7.3 MB");
        assert_eq!(milliseconds(0.2), "<1 ms");
        assert_eq!(milliseconds(2400.0), "2.4 s");
    }
}
