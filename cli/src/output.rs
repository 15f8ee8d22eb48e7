//! The one place that writes to standard output, what a command was asked for, and to standard
//! error, everything else (progress, warnings, errors). Neither's failure ends a run.

use std::io::Write;

/// Writes a text and a line end. A reader that went away (`| head`) is no error.
pub(crate) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A closed pipe ends the output, not the run.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A word of a command, quoted for a shell where it needs to be.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Writes a JSON value, indented, and a line end.
pub(crate) fn json(value: &serde_json::Value) {
    line(format_args!("{value:#}"));
}

/// Writes a line to standard error, as `eprintln!` but without its panic where a pager was closed
/// or the disk under a log is full.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::to_stderr(format_args!($($text)*))
    };
}
pub(crate) use say;

/// What [`say`] does.
pub(crate) fn to_stderr(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
