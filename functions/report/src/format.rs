//! Numbers, sizes and times as people read them.

use chrono::TimeDelta;
use rowmill_domain::run::Counts;

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

/// A text as a sentence: `upload it again` becomes `Upload it again.` The first word stays as it is if
/// it is a name, such as `reviews.xlsx`.
pub fn sentence(text: &str) -> String {
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_word = first
        .trim_end_matches([',', ':', ';'])
        .chars()
        .all(|c| c.is_lowercase() || c == '-');
    let mut characters = text.chars();
    let mut out: String = match characters.next() {
        Some(letter) if is_word => letter.to_uppercase().chain(characters).collect(),
        Some(_) => text.to_owned(),
        None => return String::new(),
    };
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// A word of a command line, quoted for a shell if it needs to be.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
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

/// `all 1,200 rows done`, or `7 of 13 rows done, 2 failed, 1 missing, 3 rejected`.
pub fn verdict(counts: Counts, rows_in: u64) -> String {
    let Counts {
        ok,
        failed,
        missing,
        rejected,
        ..
    } = counts;
    if ok == rows_in {
        return match ok {
            1 => "1 row done".to_owned(),
            _ => format!("all {} done", rows(ok)),
        };
    }
    let mut text = format!("{} of {} done", thousands(ok), rows(rows_in));
    for (count, status) in [
        (failed, "failed"),
        (missing, "missing"),
        (rejected, "rejected"),
    ] {
        if count > 0 {
            text += &format!(", {} {status}", thousands(count));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_readable() {
        assert_eq!(sentence("upload it again"), "Upload it again.");
        assert_eq!(sentence("Add rows. Then go on."), "Add rows. Then go on.");
        assert_eq!(sentence(""), "");
        assert_eq!(sentence("all 3 rows done"), "All 3 rows done.");
        assert_eq!(sentence("a.csv, sheet `b`: no"), "a.csv, sheet `b`: no.");
        assert_eq!(sentence("`a` is empty"), "`a` is empty.");
        assert_eq!(quoted("my result.xlsx"), "'my result.xlsx'");
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
