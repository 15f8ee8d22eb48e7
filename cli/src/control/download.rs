//! `rowmill download`.

use std::path::PathBuf;

use miette::miette;
use rowmill_domain::{RunItem, keys};
use rowmill_ports::Optional;
use rowmill_runs::WorkBucket;
use serde_json::json;

use super::deployment::Deployment;
use crate::args::{DownloadArgs, ToArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::{output, output_file};

/// Writes the result of a run to a file.
pub(crate) async fn download(args: &DownloadArgs) -> Result<Exit, CliError> {
    let (deployment, run) = Deployment::with_run(&args.one.at, &args.one.run).await?;
    let Some(key) = &run.result else {
        let advice = match &run.failure {
            Some(failure) => failure.advice.clone(),
            None => {
                let options = args.one.at.options();
                format!("`rowmill status {} {options}` shows how far it is", run.id)
            }
        };
        return Err(CliError::refused(miette!(
            help = advice,
            "run {} has no result: it is {}",
            run.id,
            run.state.name().replace('_', " ")
        )));
    };
    let to = result_to(&deployment.control.work, &run, key, &args.to).await?;
    match args.one.json {
        true => output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "result": to,
        })),
        false => output::line(to.display()),
    }
    Ok(Exit::Done)
}

/// Downloads the result of a run, which has this key. Returns the path of the file.
pub(super) async fn result_to(
    work: &WorkBucket,
    run: &RunItem,
    key: &str,
    args: &ToArgs,
) -> Result<PathBuf, CliError> {
    let to = args.to.join(keys::file_name(key));
    let exists = to.symlink_metadata().is_ok();
    if exists && !args.force {
        return Err(CliError::refused(miette!(
            help = "choose another directory with --to, or replace the file with --force",
            "{} exists",
            to.display()
        )));
    }
    let to = output_file::target(&to)?;
    let cannot = |e| CliError::failed(format_args!("cannot download {}", to.display()), e);
    let found = work.download(key, &to).await.optional();
    if found.map_err(cannot)?.is_none() {
        return Err(CliError::refused(miette!(
            help = "retry the run, or run the workbook again",
            "the result of run {} was removed",
            run.id
        )));
    }
    Ok(to)
}
