//! `rowmill download`.

use miette::miette;
use rowmill_domain::keys;
use rowmill_ports::Optional;
use serde_json::json;

use super::local::LocalState;
use crate::args::DownloadArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::{output, output_file};

/// Writes the result of a run to a file.
pub(crate) async fn download(args: &DownloadArgs) -> Result<Exit, CliError> {
    let (state, run) = LocalState::with_run(&args.one.out, &args.one.run).await?;
    let Some(key) = &run.result else {
        let advice = match &run.failure {
            Some(failure) => failure.advice.clone(),
            None => {
                let out = output::quoted(&args.one.out.display().to_string());
                format!(
                    "`rowmill status {} --out {out}` shows how far it is",
                    run.id
                )
            }
        };
        return Err(CliError::refused(miette!(
            help = advice,
            "run {} has no result: it is {}",
            run.id,
            run.state.name().replace('_', " ")
        )));
    };
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
    let found = state.control.work.download(key, &to).await.optional();
    if found.map_err(cannot)?.is_none() {
        return Err(CliError::refused(miette!(
            help = "retry the run, or run the workbook again",
            "the result of run {} was removed",
            run.id
        )));
    }
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
