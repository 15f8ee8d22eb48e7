//! Errors about the run that a command names.

use std::path::Path;

use miette::miette;
use rowmill_domain::RunId;

use crate::error::CliError;
use crate::output::quoted;

/// No run of a directory has an id that starts with `text`.
pub(crate) fn no_run(out: &Path, text: &str) -> CliError {
    CliError::refused(miette!(
        help = format!(
            "`rowmill runs --out {}` lists them",
            quoted(&out.display().to_string())
        ),
        "no run in {} has an id that starts with `{text}`",
        out.display()
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
