//! Delivers what a run left, and prints how it ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::miette;
use rowmill_domain::{RunItem, RunState, keys};
use rowmill_ports::{Location, Objects, Optional};
use serde_json::json;

use crate::args::RunArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::stack::{LocalStack, STATE, WORK};
use crate::{duration, output_file, report};

/// Copies the result and the email to the output directory, and prints a summary.
pub(super) async fn finish(
    args: &RunArgs,
    stack: &LocalStack,
    run: &RunItem,
    took: Duration,
) -> Result<Exit, CliError> {
    let stem = keys::stem(&run.source.key);
    let result = match &run.result {
        Some(key) => {
            let to = args.out.join(format!("{stem}-result.xlsx"));
            Some(match fetch(stack, key, &to).await? {
                Some(result) => result,
                None => rebuild(args, stack, run, to).await?,
            })
        }
        None => None,
    };
    let to = args.out.join(format!("{stem}-mail.eml"));
    let mail = fetch(stack, &keys::mail(&run.id), &to).await?;

    let exit = match run.state {
        RunState::Delivered => Exit::Done,
        RunState::DeliveredWithErrors => Exit::DeliveredWithErrors,
        _ => Exit::Failed,
    };
    if args.json {
        output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "records": run.counts.records,
            "ok": run.counts.ok,
            "failed": run.counts.failed,
            "missing": run.counts.missing,
            "rejected": run.counts.rejected,
            "result": result,
            "mail": mail,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }));
    } else {
        output::line(summary(run, took));
        for (name, path) in [("result", &result), ("mail", &mail)] {
            if let Some(path) = path {
                output::line(format_args!("  {name:7} {}", path.display()));
            }
        }
    }
    Ok(exit)
}

/// `delivered with errors: 330 records, 318 ok, 12 failed, 6 rows rejected, in 9.1 s`
fn summary(run: &RunItem, took: Duration) -> String {
    let counts = run.counts;
    let mut line = format!(
        "{}: {} records, {} ok",
        run.state.name().replace('_', " "),
        counts.records,
        counts.ok
    );
    for (count, word) in [
        (counts.failed, "failed"),
        (counts.missing, "missing"),
        (counts.rejected, "rows rejected"),
    ] {
        if count > 0 {
            line += &format!(", {count} {word}");
        }
    }
    line += &format!(", in {}", duration::human(took));
    if let Some(failure) = &run.failure {
        line += &format!(
            "\n  {}: {}\n  {}",
            failure.stage, failure.what, failure.advice
        );
    }
    line
}

/// Rebuilds a deleted result from the archived rows of its run.
async fn rebuild(
    args: &RunArgs,
    stack: &LocalStack,
    run: &RunItem,
    to: PathBuf,
) -> Result<PathBuf, CliError> {
    let folder = stack.state.join(WORK).join(keys::results_prefix(&run.id));
    if !folder.join(keys::ABOUT).is_file() {
        return Err(CliError::refused(miette!(
            help = "run it again with --force",
            "the result of run {} and its archived rows were removed from {}",
            run.id,
            args.out.join(STATE).display()
        )));
    }
    say!("the result was removed; rebuilding it from the archived rows");
    let rebuilt = tokio::task::spawn_blocking(move || report::rebuild(&folder, &to).map(|_| to));
    rebuilt
        .await
        .map_err(|e| CliError::failed("cannot write the workbook", e))?
}

/// Copies an object of the work bucket to a file, atomically. `None` if the object does not exist.
async fn fetch(stack: &LocalStack, key: &str, to: &Path) -> Result<Option<PathBuf>, CliError> {
    let part = stack.state.join("delivery.part");
    let at = Location::new(WORK, key);
    let found = stack.objects.download(&at, &part).await.optional();
    if found
        .map_err(|e| CliError::failed("cannot read the result", e))?
        .is_none()
    {
        return Ok(None);
    }
    output_file::replace(&part, to)
        .map_err(|e| CliError::failed(format_args!("cannot write {}", to.display()), e))?;
    Ok(Some(to.to_owned()))
}
