//! The one place that writes to standard output: what a command was asked for. Everything else
//! (progress, warnings, errors) goes to stderr.

use std::io::Write;

/// Writes a text and a line end. A reader that went away (`| head`) is no error.
pub(crate) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A closed pipe ends the output, not the run.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a JSON value, indented, and a line end.
pub(crate) fn json(value: &serde_json::Value) {
    line(format_args!("{value:#}"));
}
