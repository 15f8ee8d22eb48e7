//! Classifies number formats: whether a cell displays a number, a date, a time, both or a duration.

/// What a number format displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatKind {
    /// A number or text.
    Number,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A date with a time of day.
    DateTime,
    /// A duration: `[h]:mm`.
    Duration,
    /// A date or a time of day. The format does not say which, so the value decides.
    DateOrTime,
}

/// The code of a built-in format. Source: ECMA-376 part 1, 18.8.30.
pub(crate) fn builtin_code(id: u32) -> Option<&'static str> {
    Some(match id {
        0 => "General",
        1 => "0",
        2 => "0.00",
        3 => "#,##0",
        4 => "#,##0.00",
        9 => "0%",
        10 => "0.00%",
        11 => "0.00E+00",
        12 => "# ?/?",
        13 => "# ??/??",
        14 => "mm-dd-yy",
        15 => "d-mmm-yy",
        16 => "d-mmm",
        17 => "mmm-yy",
        18 => "h:mm AM/PM",
        19 => "h:mm:ss AM/PM",
        20 => "h:mm",
        21 => "h:mm:ss",
        22 => "m/d/yy h:mm",
        // East Asian dates and times. Their codes depend on the language of Excel.
        27..=31 | 36 | 50 | 51 | 54 | 57 | 58 => "yyyy-mm-dd",
        32 | 33 => "h:mm:ss",
        37 => "#,##0 ;(#,##0)",
        38 => "#,##0 ;[Red](#,##0)",
        39 => "#,##0.00;(#,##0.00)",
        40 => "#,##0.00;[Red](#,##0.00)",
        41 => r#"_(* #,##0_);_(* \(#,##0\);_(* "-"_);_(@_)"#,
        42 => r#"_($* #,##0_);_($* \(#,##0\);_($* "-"_);_(@_)"#,
        43 => r#"_(* #,##0.00_);_(* \(#,##0.00\);_(* "-"??_);_(@_)"#,
        44 => r#"_($* #,##0.00_);_($* \(#,##0.00\);_($* "-"??_);_(@_)"#,
        45 => "mm:ss",
        46 => "[h]:mm:ss",
        47 => "mmss.0",
        48 => "##0.0E+0",
        49 => "@",
        // Thai formats, in other digits and in Buddhist years.
        59 => "0",
        60 => "0.00",
        61 => "#,##0",
        62 => "#,##0.00",
        67 => "0%",
        68 => "0.00%",
        69 => "# ?/?",
        70 => "# ??/??",
        71 | 81 => "d/m/yyyy",
        72 => "d-mmm-yy",
        73 => "d-mmm",
        74 => "mmm-yy",
        75 => "h:mm",
        76 => "h:mm:ss",
        77 => "d/m/yyyy h:mm",
        78 => "mm:ss",
        79 => "[h]:mm:ss",
        80 => "mm:ss.0",
        _ => return None,
    })
}

/// What a built-in format displays.
pub(crate) fn builtin_kind(id: u32) -> FormatKind {
    match id {
        // Dates in Japanese and Simplified Chinese, times in Traditional Chinese and Korean: the file
        // does not say which.
        34 | 35 | 52 | 53 | 55 | 56 => FormatKind::DateOrTime,
        _ => builtin_code(id).map_or(FormatKind::Number, classify),
    }
}

/// What a format code displays. Only the first section counts, because it applies to positive numbers.
/// Quoted and escaped characters are literal.
pub(crate) fn classify(code: &str) -> FormatKind {
    if code.eq_ignore_ascii_case("general") {
        return FormatKind::Number;
    }
    let (mut days, mut clock, mut months) = (false, false, false);
    let (mut years, mut digits) = (false, false);
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            // `\` escapes, `_` adds a space and `*` fills. In each case, the next character is literal.
            '\\' | '_' | '*' => {
                chars.next();
            }
            '"' => {
                chars.by_ref().find(|c| *c == '"');
            }
            '[' => {
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let unit = inner.trim().to_ascii_lowercase();
                // [h], [mm] or [ss], but not [Red], [$-409], [>100] or [Magenta].
                if !unit.is_empty()
                    && ["h", "m", "s"]
                        .iter()
                        .any(|u| unit.chars().all(|c| u.contains(c)))
                {
                    return FormatKind::Duration;
                }
            }
            ';' => break,
            'y' | 'Y' | 'd' | 'D' => days = true,
            'h' | 'H' | 's' | 'S' => clock = true,
            'm' | 'M' => months = true,
            // A/P and AM/PM belong to a time. Their M is not a month.
            // `aaa` is a weekday.
            'a' | 'A' => {
                let rest = chars.as_str();
                for tail in ["M/PM", "/P", "aa"] {
                    if starts_with(rest, tail) {
                        clock |= tail != "aa";
                        days |= tail == "aa";
                        chars = rest[tail.len()..].chars();
                        break;
                    }
                }
            }
            // An exponent: 0.00E+00.
            'e' | 'E' if matches!(chars.as_str().chars().next(), Some('+' | '-')) => {
                return FormatKind::Number;
            }
            'g' | 'G' if starts_with(chars.as_str(), "eneral") => {
                chars = chars.as_str()["eneral".len()..].chars();
            }
            // Years of an era and Buddhist years, unless they are part of an unquoted unit: `0 EUR`.
            'e' | 'E' | 'g' | 'G' | 'b' | 'B' => years = true,
            '0' | '#' | '?' => digits = true,
            _ => {}
        }
    }
    days |= years && !digits;
    match (days, clock) {
        (true, true) => FormatKind::DateTime,
        (true, false) => FormatKind::Date,
        // Next to hours or seconds, `m` means minutes.
        (false, true) => FormatKind::Time,
        (false, false) if months => FormatKind::Date,
        (false, false) => FormatKind::Number,
    }
}

/// Whether `text` starts with `start`, in upper or lower case.
fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|t| t.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_codes_are_classified() {
        for (code, want) in [
            ("General", FormatKind::Number),
            ("0.00", FormatKind::Number),
            ("#,##0.00 [$€-407]", FormatKind::Number),
            ("0.00E+00", FormatKind::Number),
            ("@", FormatKind::Number),
            ("[Red]0;[Magenta]-0", FormatKind::Number),
            (r#"0 "days""#, FormatKind::Number),
            (r"0\d", FormatKind::Number),
            (r#""Date: "0"#, FormatKind::Number),
            ("#,##0_d;(0)", FormatKind::Number),
            ("[>100]0;yyyy", FormatKind::Number),
            ("yyyy-mm-dd", FormatKind::Date),
            ("[$-409]d-mmm-yy;@", FormatKind::Date),
            ("mmm", FormatKind::Date),
            ("DD.MM.YYYY", FormatKind::Date),
            ("h:mm AM/PM", FormatKind::Time),
            ("hh:mm:ss.000", FormatKind::Time),
            ("h:mm A/P", FormatKind::Time),
            ("mm:ss", FormatKind::Time),
            ("m/d/yy h:mm", FormatKind::DateTime),
            ("yyyy-mm-dd\\Thh:mm:ss", FormatKind::DateTime),
            ("[h]:mm", FormatKind::Duration),
            ("[mm]:ss", FormatKind::Duration),
            ("[SS].00", FormatKind::Duration),
            ("[Red]General;[Blue]-General", FormatKind::Number),
            (r#"[$-411]ge"年""#, FormatKind::Date),
            ("#,##0 EUR", FormatKind::Number),
            ("0.0 GB", FormatKind::Number),
            ("bbbb", FormatKind::Date),
            ("aaaa", FormatKind::Date),
            (r#"上午/下午h"時"mm"分""#, FormatKind::Time),
        ] {
            assert_eq!(classify(code), want, "{code}");
        }
        for id in 0..200 {
            let want = match id {
                14..=17 | 27..=31 | 36 | 50 | 51 | 54 | 57 | 58 | 71..=74 | 81 => FormatKind::Date,
                18..=21 | 32 | 33 | 45 | 47 | 75 | 76 | 78 | 80 => FormatKind::Time,
                34 | 35 | 52 | 53 | 55 | 56 => FormatKind::DateOrTime,
                22 | 77 => FormatKind::DateTime,
                46 | 79 => FormatKind::Duration,
                _ => FormatKind::Number,
            };
            assert_eq!(builtin_kind(id), want, "{id}");
        }
    }
}
