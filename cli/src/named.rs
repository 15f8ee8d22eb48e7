//! Errors about the run that a command names.

use miette::miette;
use rowmill_domain::RunId;

use crate::args::Where;
use crate::error::CliError;

/// No run of a directory or stack has an id that starts with `text`.
pub(crate) fn no_run(at: &Where, text: &str) -> CliError {
    CliError::refused(miette!(
        help = format!("`rowmill runs {}` lists them", at.options()),
        "no run in {at} has an id that starts with `{text}`"
    ))
}

/// Several runs have an id that starts with `text`.
pub(crate) fn several_runs(text: &str, ids: &[RunId]) -> CliError {
    let ids: Vec<&str> = ids.iter().map(RunId::as_str).collect();
    CliError::refused(miette!(
        help = format!("write more of one of them:\n{}", ids.join("\n")),
        "`{text}` is the start of the ids of {} runs",
        ids.len()
    ))
}
