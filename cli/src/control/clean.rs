//! `rowmill clean`.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rowmill_domain::{RunItem, keys};
use rowmill_local::{LocalError, StateLock};
use rowmill_runs::all_runs;
use serde_json::json;

use super::list::unreadable;
use super::local::LocalState;
use super::logs::folders;
use crate::args::CleanArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted};
use crate::run::upload::is_over;
use crate::stack::{LOGS, WORK};

/// Removes what the state directory has of runs that ended long ago.
pub(crate) async fn clean(args: &CleanArgs) -> Result<Exit, CliError> {
    let Some((control, state)) = LocalState::open(&args.out)? else {
        match args.json {
            true => output::json(&json!([])),
            false => output::line(format_args!("no runs in {}", args.out.display())),
        }
        return Ok(Exit::Done);
    };
    // No command may read what is removed.
    let _lock = StateLock::take(&state.path).map_err(|e| match e {
        e @ LocalError::Locked { .. } => CliError::refused(miette::miette!("{e}")),
        e => CliError::failed("cannot lock the state directory", e),
    })?;
    let runs: Vec<RunItem> = all_runs(&*control.runs)
        .try_collect()
        .await
        .map_err(unreadable)?;
    let now = Utc::now();
    let mut removed = Vec::new();
    for run in runs {
        let Some(ended) = ended(&run) else { continue };
        if now - ended < args.older_than {
            continue;
        }
        let failed = |e: &dyn std::fmt::Display| {
            CliError::failed(format_args!("cannot remove run {}", run.id), e)
        };
        let prefix = keys::results_prefix(&run.id);
        let results = state.path.join(WORK).join(&prefix).exists();
        let mut logs = Vec::new();
        let jobs = control.runs.jobs(&run.id).await;
        for job in jobs.map_err(|e| failed(&e))? {
            logs.extend(folders(&state.path.join(LOGS), &job.id.0));
        }
        if !results && logs.is_empty() {
            continue;
        }
        if !args.dry_run {
            let deleted = control.work.delete_all(&prefix).await;
            deleted.map_err(|e| failed(&e))?;
            for folder in logs {
                let gone = std::fs::remove_dir_all(&folder);
                gone.map_err(|e| failed(&format_args!("{}: {e}", folder.display())))?;
            }
        }
        removed.push((run, ended));
    }
    let count = removed.len() as u64;
    if args.json {
        let object = |(run, ended): &(RunItem, DateTime<Utc>)| json!({ "run_id": run.id, "state": run.state.name(), "ended": ended });
        output::json(&removed.iter().map(object).collect());
        return Ok(Exit::Done);
    }
    for (run, _) in &removed {
        output::line(format_args!(
            "{}  {}",
            run.id,
            keys::file_name(&run.source.key)
        ));
    }
    output::line(match args.dry_run {
        true => format!("{} would be removed", counted(count, "run")),
        false => format!("removed {}", counted(count, "run")),
    });
    Ok(Exit::Done)
}

/// When a run was over. `None`: it is not.
fn ended(run: &RunItem) -> Option<DateTime<Utc>> {
    run.cleaned.filter(|_| is_over(run))
}
