//! `rowmill retry` of a run of a stack.

use miette::miette;
use rowmill_domain::message::{RetryRequest, RunMessage};
use rowmill_runs::{Retries, retries_of_upload};
use serde_json::json;

use super::deployment::Deployment;
use crate::args::RetryArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::named::no_run;
use crate::output;
use crate::pipeline_file::PipelineFile;
use crate::retry::rows;

/// Asks a stack to process rows of a run again. Repeated before the retry starts, it is the same retry.
pub(crate) async fn retry(
    args: &RetryArgs,
    corrected: Option<PipelineFile>,
) -> Result<Exit, CliError> {
    let (deployment, run) = Deployment::with_run(&args.at, &args.run).await?;
    let control = &deployment.control;
    let (runs, work) = (&*control.runs, &control.work);
    let retries = retries_of_upload(runs, work, &run.id)
        .await
        .map_err(|e| CliError::failed("cannot read the runs", e))?;
    let Some(Retries { latest, base, next }) = retries else {
        return Err(no_run(&args.at, &args.run));
    };
    let options = args.at.options();
    if !latest.state.is_terminal() {
        return Err(CliError::refused(miette!(
            help = format!(
                "`rowmill attach {id} {options}` waits for its end, and `rowmill cancel {id} {options}` ends it",
                id = latest.id
            ),
            "run {} has not ended: it is {}",
            latest.id,
            latest.state.name()
        )));
    }
    let (Some(base), Some(next)) = (base, next) else {
        return Err(CliError::refused(miette!(
            help = "upload the workbook again",
            "run {} cannot be retried: it has no archived rows",
            latest.id
        )));
    };
    let request = RetryRequest {
        run: base,
        retry: Some(next.clone()),
        rows: rows(args),
        pipeline: corrected.map(|file| file.toml),
    };
    let sent = control.topic.publish(&RunMessage::Retry(request)).await;
    sent.map_err(|e| CliError::failed("cannot ask for the retry", e))?;
    match args.json {
        true => output::json(&json!({ "run_id": next, "retries": latest.id })),
        false => output::line(format_args!(
            "run {next} is asked for. `rowmill runs {options}` lists it once it has started. To follow \
             it:\n  rowmill attach {next} {options}"
        )),
    }
    Ok(Exit::Done)
}
