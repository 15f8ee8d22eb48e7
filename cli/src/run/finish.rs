//! Delivers what a run left, and prints how it ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::miette;
use rowmill_domain::{Reason, RunItem, RunState, keys};
use rowmill_ports::{Location, Objects, Optional};
use rowmill_report::{archive_info, sentence, verdict};
use serde_json::json;

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, say};
use crate::run::upload;
use crate::stack::{LOGS, LocalStack, STATE, WORK};
use crate::table::{one_line, wrapped};
use crate::{delivered, duration, report};

/// The most reasons that are shown. The email has more, and the result all of them.
const REASONS: usize = 3;

/// A file on its way to the output directory, in the state directory.
const PART: &str = "delivery.part";

/// Where and how a command delivers the result of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The directory for the result and the email.
    pub(crate) out: &'a Path,
    /// Whether to print one JSON object.
    pub(crate) json: bool,
}

/// Copies the result and the email to the output directory, and prints a summary.
pub(crate) async fn finish(
    args: &Delivery<'_>,
    stack: &LocalStack,
    run: &RunItem,
    took: Duration,
) -> Result<Exit, CliError> {
    let result = deliver_result(args, stack, run).await?;
    let mail = match fetch(stack, &keys::mail(&run.id)).await? {
        Some(part) => Some(deliver(args, stack, run, &part, "-mail.eml").await?),
        None => None,
    };

    let exit = match run.state {
        RunState::Delivered => Exit::Done,
        RunState::DeliveredWithErrors => Exit::DeliveredWithErrors,
        _ => Exit::Failed,
    };
    let reasons = reasons(stack, run);
    // The logs of jobs have what a failed job or a program wrote.
    let logs = stack.state.join(LOGS);
    let logs = (exit != Exit::Done && logs.is_dir()).then(|| args.out.join(STATE).join(LOGS));
    if args.json {
        output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "records": run.counts.records,
            "ok": run.counts.ok,
            "failed": run.counts.failed,
            "missing": run.counts.missing,
            "rejected": run.counts.rejected,
            "reasons": reasons,
            "cost_usd": run.cost_usd(None),
            "stop": run.stop.as_ref().map(ToString::to_string),
            "failure": run.failure.as_ref().map(|failure| json!({
                "stage": failure.stage,
                "reason": failure.what,
                "advice": failure.advice,
            })),
            "result": result,
            "mail": mail,
            "logs": logs,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }));
    } else {
        output::line(summary(run, took));
        // Whole lines for programs that read them.
        let width = console::Term::stdout()
            .size_checked()
            .map(|(_, width)| width);
        for line in reason_lines(&reasons, width.map_or(usize::MAX, usize::from)) {
            output::line(line);
        }
        for (name, path) in [("result", &result), ("mail", &mail), ("logs", &logs)] {
            if let Some(path) = path {
                output::line(format_args!("  {name:7} {}", path.display()));
            }
        }
    }
    Ok(exit)
}

/// Writes the result of a run to the output directory, if the run has one.
pub(super) async fn deliver_result(
    args: &Delivery<'_>,
    stack: &LocalStack,
    run: &RunItem,
) -> Result<Option<PathBuf>, CliError> {
    let Some(key) = &run.result else {
        return Ok(None);
    };
    let part = match fetch(stack, key).await? {
        Some(part) => part,
        None => rebuild(args, stack, run).await?,
    };
    let written = deliver(args, stack, run, &part, "-result.xlsx").await?;
    Ok(Some(written))
}

/// Moves a file to the output directory, under a name that replaces no file of the user.
async fn deliver(
    args: &Delivery<'_>,
    stack: &LocalStack,
    run: &RunItem,
    part: &Path,
    end: &str,
) -> Result<PathBuf, CliError> {
    let about = upload::workbook_of(&*stack.objects, run).await;
    let about = about.map_err(|e| CliError::failed("cannot read the upload", e))?;
    let name = (keys::stem(&run.source.key), end);
    let written = delivered::deliver(&stack.state, part, args.out, name, &about);
    let written = written
        .map_err(|e| CliError::failed(format_args!("cannot write to {}", args.out.display()), e))?;
    if let Some(why) = written.instead {
        say!("{why}; this one is {}", written.path.display());
    }
    Ok(written.path)
}

/// The most frequent reasons why rows have no result.
fn reasons(stack: &LocalStack, run: &RunItem) -> Vec<Reason> {
    let folder = stack.state.join(WORK).join(keys::results_prefix(&run.id));
    // They are in the result and in the mail, too. A run that failed early has none.
    let info = archive_info(&folder);
    let mut reasons = info.map_or_else(|_| Vec::new(), |info| info.reasons);
    reasons.truncate(REASONS);
    reasons
}

/// Each reason with an example, and what to do, in lines of at most this width.
fn reason_lines(reasons: &[Reason], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for reason in reasons {
        let example = match (reason.rows.first(), reason.count) {
            (Some(row), 1) => format!(" (row {row})"),
            (Some(row), _) => format!(" (sample: row {row})"),
            (None, _) => String::new(),
        };
        let text = format!(
            "{} {}{example}: {}",
            counted(reason.count, "row"),
            reason.status,
            one_line(&reason.text)
        );
        lines.extend(wrapped(&text, "  ", width));
        if !reason.advice.is_empty() {
            lines.extend(wrapped(&reason.advice, "    ", width));
        }
    }
    lines
}

/// `Delivered with errors: 318 of 336 rows done, 12 failed, 6 rejected, in 9.1 s`
fn summary(run: &RunItem, took: Duration) -> String {
    let counts = run.counts;
    let state = run.state.name().replace('_', " ");
    let how = match &run.failure {
        Some(_) if run.result.is_none() => state,
        _ => format!(
            "{state}: {}",
            verdict(counts, counts.records + counts.rejected)
        ),
    };
    let mut line = format!(
        "{}, in {}",
        sentence(&how).trim_end_matches('.'),
        duration::human(took)
    );
    if let Some(failure) = &run.failure {
        line += &format!(
            "\n  {}: {}\n  {}",
            failure.stage,
            sentence(&failure.what),
            sentence(&failure.advice)
        );
    }
    line
}

/// Rebuilds a deleted result from the archived rows of its run.
async fn rebuild(
    args: &Delivery<'_>,
    stack: &LocalStack,
    run: &RunItem,
) -> Result<PathBuf, CliError> {
    let to = stack.state.join(PART);
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

/// Downloads an object of the work bucket. `None` if it does not exist.
async fn fetch(stack: &LocalStack, key: &str) -> Result<Option<PathBuf>, CliError> {
    let part = stack.state.join(PART);
    let at = Location::new(WORK, key);
    let found = stack.objects.download(&at, &part).await.optional();
    let found = found.map_err(|e| CliError::failed("cannot read the result", e))?;
    Ok(found.map(|_| part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_a_sample_and_advice() {
        let reason = |count, rows: &[u32], advice: &str| Reason {
            status: "failed".into(),
            text: "404\nNot Found".into(),
            count,
            rows: rows.to_vec(),
            advice: advice.into(),
        };
        let reasons = [
            reason(1_200, &[7, 9], "Check them."),
            reason(1, &[3], ""),
            reason(2, &[], ""),
        ];
        assert_eq!(
            reason_lines(&reasons, usize::MAX),
            [
                "  1,200 rows failed (sample: row 7): 404 Not Found",
                "    Check them.",
                "  1 row failed (row 3): 404 Not Found",
                "  2 rows failed: 404 Not Found",
            ]
        );
    }
}
