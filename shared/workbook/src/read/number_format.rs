//! What a number format shows: a number, a date, a time, both, or a duration.

/// What a number is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A number, or text.
    Number,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A day and a time of day.
    DateTime,
    /// A length of time: `[h]:mm`.
    Duration,
    /// A day or a time of day, where the format is not known: the value tells.
    Moment,
}

/// The codes of built-in formats. Source: ECMA-376 part 1, 18.8.30.
pub(crate) fn builtin(id: u32) -> Option<&'static str> {
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
        // East Asian dates and times, whose codes depend on the locale of the program.
        27..=31 | 36 | 50..=54 | 57 | 58 => "yyyy-mm-dd",
        32..=35 | 55 | 56 => "h:mm:ss",
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
        _ => return None,
    })
}

/// What a format code shows. Only its first section counts, as it is that of positive numbers;
/// quoted and escaped characters are literal.
pub(crate) fn shown(code: &str) -> Shown {
    if code.eq_ignore_ascii_case("general") {
        return Shown::Number;
    }
    let (mut days, mut clock, mut months) = (false, false, false);
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            // `\` escapes, `_` leaves a width, `*` fills: the next character is literal.
            '\\' | '_' | '*' => {
                chars.next();
            }
            '"' => {
                chars.by_ref().find(|c| *c == '"');
            }
            '[' => {
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let unit = inner.trim().to_ascii_lowercase();
                // [h], [mm], [ss]; but not [Red], [$-409], [>100] or [Magenta].
                if !unit.is_empty()
                    && ["h", "m", "s"]
                        .iter()
                        .any(|u| unit.chars().all(|c| u.contains(c)))
                {
                    return Shown::Duration;
                }
            }
            ';' => break,
            'y' | 'Y' | 'd' | 'D' => days = true,
            'h' | 'H' | 's' | 'S' => clock = true,
            'm' | 'M' => months = true,
            // A/P and AM/PM belong to a clock, and their M is no month.
            'a' | 'A' => {
                let rest = chars.as_str();
                for tail in ["M/PM", "/P"] {
                    if rest.len() >= tail.len()
                        && rest.is_char_boundary(tail.len())
                        && rest[..tail.len()].eq_ignore_ascii_case(tail)
                    {
                        clock = true;
                        chars = rest[tail.len()..].chars();
                        break;
                    }
                }
            }
            // A text placeholder or digits with an exponent: 0.00E+00.
            'e' | 'E' if matches!(chars.as_str().chars().next(), Some('+' | '-')) => {
                return Shown::Number;
            }
            _ => {}
        }
    }
    match (days, clock) {
        (true, true) => Shown::DateTime,
        (true, false) => Shown::Date,
        // Beside a clock `m` is minutes.
        (false, true) => Shown::Time,
        (false, false) if months => Shown::Date,
        (false, false) => Shown::Number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_show() {
        for (code, want) in [
            ("General", Shown::Number),
            ("0.00", Shown::Number),
            ("#,##0.00 [$€-407]", Shown::Number),
            ("0.00E+00", Shown::Number),
            ("@", Shown::Number),
            ("[Red]0;[Magenta]-0", Shown::Number),
            (r#"0 "days""#, Shown::Number),
            (r"0\d", Shown::Number),
            (r#""Date: "0"#, Shown::Number),
            ("#,##0_d;(0)", Shown::Number),
            ("[>100]0;yyyy", Shown::Number),
            ("yyyy-mm-dd", Shown::Date),
            ("[$-409]d-mmm-yy;@", Shown::Date),
            ("mmm", Shown::Date),
            ("DD.MM.YYYY", Shown::Date),
            ("h:mm AM/PM", Shown::Time),
            ("hh:mm:ss.000", Shown::Time),
            ("h:mm A/P", Shown::Time),
            ("mm:ss", Shown::Time),
            ("m/d/yy h:mm", Shown::DateTime),
            ("yyyy-mm-dd\\Thh:mm:ss", Shown::DateTime),
            ("[h]:mm", Shown::Duration),
            ("[mm]:ss", Shown::Duration),
            ("[SS].00", Shown::Duration),
        ] {
            assert_eq!(shown(code), want, "{code}");
        }
        for id in 0..60 {
            if let Some(code) = builtin(id) {
                let want = match id {
                    14..=17 | 27..=31 | 36 | 50..=54 | 57 | 58 => Shown::Date,
                    18..=21 | 32..=35 | 45 | 47 | 55 | 56 => Shown::Time,
                    22 => Shown::DateTime,
                    46 => Shown::Duration,
                    _ => Shown::Number,
                };
                assert_eq!(shown(code), want, "{id} {code}");
            }
        }
    }
}
