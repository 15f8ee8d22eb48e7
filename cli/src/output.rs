//! The one place that writes to standard output (what a command was asked for) and to standard
//! error (progress, warnings, errors). A failing stream never ends a run.

use std::io::Write;

/// Writes a text and a line end to standard output.
pub(crate) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A reader that went away (`| head`) ends the output, not the run.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a JSON value, indented, and a line end to standard output.
pub(crate) fn json(value: &serde_json::Value) {
    line(format_args!("{value:#}"));
}

/// A number with separators of thousands: `200,001`.
pub(crate) fn thousands(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// A number of things: `1 row`, `200,001 rows`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(n))
}

/// An argument, quoted for a shell if necessary.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Writes a line to standard error. Unlike `eprintln!` it does not panic if a pager was closed or
/// the disk under a log is full.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::to_stderr(format_args!($($text)*))
    };
}
pub(crate) use say;

/// Implements [`say`].
pub(crate) fn to_stderr(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_thousands_are_separated() {
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(200_001, "row"), "200,001 rows");
    }
}
