//! `rowmill sweep`.

use std::io;
use std::path::{Path, PathBuf};

use miette::miette;
use rowmill_cleanup::Mode;
use rowmill_local::LocalError;
use serde_json::json;

use super::amazon;
use super::local::LocalState;
use crate::args::SweepArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, quoted, say};
use crate::stack::{LocalStack, StackOptions};

/// Finds what killed commands left in the state directory, and removes it.
pub(crate) async fn sweep(args: &SweepArgs) -> Result<Exit, CliError> {
    let mode = match args.dry_run {
        true => Mode::DryRun,
        false => Mode::Repair,
    };
    if let Some(stack) = &args.at.stack {
        return sweep_stack(stack, args).await;
    }
    let out = &args.at.out;
    if LocalState::open(out)?.is_none() {
        match args.json {
            true => output::json(&rowmill_cleanup::Swept::default().json(mode)),
            false => output::line(format_args!("no runs in {}", out.display())),
        }
        return Ok(Exit::Done);
    }
    let options = StackOptions {
        slots: None,
        chaos: None,
        relay: None,
    };
    let stack = LocalStack::open(out, options).map_err(|e| match e {
        e @ (LocalError::Locked { .. } | LocalError::Format { .. }) => {
            CliError::refused(miette!("{e}"))
        }
        e => CliError::failed("cannot open the state directory", e),
    })?;
    let unreadable = |e| CliError::failed("cannot read the state directory", e);
    let (swept, interrupted) = stack.sweep_leftovers(mode).await.map_err(unreadable)?;
    let files = partial_files(&stack.state).map_err(unreadable_file(&stack.state))?;
    if mode == Mode::Repair {
        for file in &files {
            std::fs::remove_file(file).map_err(unreadable_file(file))?;
        }
    }
    let exit = match swept.errors.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if args.json {
        let mut object = swept.json(mode);
        if let Some(findings) = object["findings"].as_array_mut() {
            findings.extend(files.iter().map(|file| {
                json!({
                    "kind": "partial_file",
                    "path": file,
                    "what": format!("{}: a file that was not written to its end", file.display()),
                    "repair": "delete the file",
                })
            }));
        }
        object["interrupted"] = json!(interrupted);
        output::json(&object);
        return Ok(exit);
    }
    for finding in &swept.findings {
        output::line(format_args!("{}; {}", finding.what(), finding.repair()));
    }
    for file in &files {
        output::line(format_args!("{}; delete the file", file.display()));
    }
    for error in &swept.errors {
        say!("error: {error}");
    }
    let found = (swept.findings.len() + files.len()) as u64;
    output::line(match (found, mode) {
        (0, _) => "nothing is left behind".to_owned(),
        (_, Mode::DryRun) => format!("{} would be removed", counted(found, "leftover")),
        (_, Mode::Repair) if !swept.errors.is_empty() => "not everything is removed".to_owned(),
        (_, Mode::Repair) => format!("removed {}", counted(found, "leftover")),
    });
    for run in &interrupted {
        let out = quoted(&out.display().to_string());
        output::line(format_args!(
            "run {run} was interrupted: repeat its command, or end it with \
             `rowmill cancel {run} --out {out}`"
        ));
    }
    Ok(exit)
}

/// Lets a stack sweep, and waits for what it says.
async fn sweep_stack(stack: &str, args: &SweepArgs) -> Result<Exit, CliError> {
    let payload = json!({ "dry_run": args.dry_run });
    let swept = amazon::invoke(stack, "cleanup", &payload).await?;
    let list = |name: &str| swept[name].as_array().cloned().unwrap_or_default();
    let (findings, errors) = (list("findings"), list("errors"));
    let exit = match errors.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if args.json {
        output::json(&swept);
        return Ok(exit);
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    for finding in &findings {
        output::line(format_args!(
            "{}; {}",
            text(&finding["what"]),
            text(&finding["repair"])
        ));
    }
    for error in &errors {
        say!("error: {}", text(error));
    }
    let found = findings.len() as u64;
    output::line(match (found, args.dry_run) {
        (0, _) => "nothing is left behind".to_owned(),
        (_, true) => format!("{} would be repaired", counted(found, "finding")),
        (_, false) => format!("repaired {}", counted(found, "finding")),
    });
    Ok(exit)
}

fn unreadable_file(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.display().to_string();
    move |e| CliError::failed(format_args!("cannot clean {path}"), e)
}

/// Files that a killed command did not finish. Nobody writes them, because this command holds the lock.
/// Other unfinished files are removed whenever a command opens the directory.
fn partial_files(state: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(state)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "part")
    });
    Ok(paths)
}
