//! `rowmill retry`: processes rows of a run again, as a run whose result has all rows.

use std::time::Instant;

use miette::miette;
use rowmill_domain::message::{RetryRequest, RetryRows};
use rowmill_domain::secret::Secrets;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_local::RunScope;
use rowmill_pipeline::ColumnChange;
use rowmill_ports::{Location, Objects, Optional, PortError};
use rowmill_runs::{Retries, WorkBucket, retries_of, uploads_with_prefix};
use rowmill_split::{RetryPlan, SplitError};

use crate::args::RetryArgs;
use crate::check;
use crate::control;
use crate::error::CliError;
use crate::exit::Exit;
use crate::named::{no_run, several_runs};
use crate::output::{counted, say, thousands};
use crate::pipeline_file::PipelineFile;
use crate::run::upload::{self, DIRECTORY, is_over};
use crate::run::{self as runs, Delivery, finish, follow, open_stack, others};
use crate::signals;
use crate::stack::{LocalStack, STATE, WORK};

/// Retries rows of a run, or resumes its unfinished retry.
pub(crate) async fn retry(
    args: &RetryArgs,
    relay: Option<String>,
    secrets: &Secrets,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    let corrected = args
        .pipeline
        .as_deref()
        .map(PipelineFile::read)
        .transpose()?;
    if args.at.stack.is_some() {
        return control::retry(args, corrected).await;
    }
    let stop = signals::stop(Exit::Interrupted)?;
    if !args.at.out.join(STATE).is_dir() {
        return Err(no_run(&args.at, &args.run));
    }
    let stack = open_stack(&args.at.out, args.slots, args.chaos, relay)?;
    let to = Delivery {
        out: &args.at.out,
        json: args.json,
    };
    let failed = |e: PortError| CliError::failed("cannot read the runs", e);
    let work = WorkBucket::new(WORK, stack.objects.clone());
    let upload = the_upload(&stack, args).await?;
    let retries = retries_of(&*stack.ledger, &work, &upload)
        .await
        .map_err(failed)?;
    let Some(Retries { latest, base, next }) = retries else {
        return Err(no_run(&args.at, &args.run));
    };
    // Of a run that only has to be cleaned up, everything is archived.
    let ended = latest.state.is_terminal() && latest.id.retry_number().is_none();
    if !ended && !is_over(&latest) {
        let request = base.map(|run| RetryRequest {
            run,
            retry: Some(latest.id.clone()),
            rows: rows(args),
            pipeline: corrected.map(|file| file.toml),
        });
        return resume(&stack, &to, (latest, request), stop, began).await;
    }
    let (Some(base), Some(next)) = (base, next) else {
        return Err(CliError::refused(miette!(
            help = "run the workbook again with `rowmill run`",
            "run {} cannot be retried: it has no archived rows",
            latest.id
        )));
    };
    let request = RetryRequest {
        run: base,
        retry: Some(next.clone()),
        rows: rows(args),
        pipeline: corrected.as_ref().map(|file| file.toml.clone()),
    };
    let plan = stack
        .plan_retry(&request)
        .await
        .map_err(|error| match error {
            SplitError::Refused(refusal) => {
                CliError::refused(miette!(help = refusal.advice.clone(), "{}", refusal.what))
            }
            error => CliError::failed("cannot read the archived rows", error),
        })?;
    for note in &plan.notes {
        say!("{note}");
    }
    if plan.records() == 0 {
        say!("nothing to retry in run {}: {}", latest.id, nothing(args));
        finish(&to, &stack, &latest, began.elapsed()).await?;
        return Ok(Exit::Done);
    }
    let file = pipeline_file(&stack, &plan, corrected, &next).await?;
    let needs = check::set_up(&file, plan.parameters().clone(), secrets)?;
    let needs = needs.iter().map(|need| miette!("{need}")).collect();
    if let Some(error) = CliError::all_refused(needs) {
        return Err(error);
    }
    for line in differing(&plan) {
        say!("{line}");
    }
    if args.pipeline.is_some() {
        let stored = upload::pipeline(&*stack.objects, &file).await;
        stored.map_err(|e| CliError::failed("cannot store the pipeline", e))?;
    }
    say!(
        "run {next}: retrying {} of {}",
        thousands(plan.records()),
        counted(plan.base.manifest.records, "row"),
    );
    let phases = file.pipeline.phase_count();
    // Its rows are read again by split, which may start later.
    drop(plan);
    let sent = stack.request_retry(&request);
    sent.map_err(|e| CliError::failed("cannot write to the queue", e))?;
    let scope = RunScope {
        id: next,
        ..RunScope::of(&latest)
    };
    others(&args.at.out, &stack, &scope).await?;
    follow(&stack, &to, &scope, phases, stop, began).await
}

/// Continues a retry that was interrupted. The run of an upload is continued by `rowmill run`.
async fn resume(
    stack: &LocalStack,
    to: &Delivery<'_>,
    (run, request): (RunItem, Option<RetryRequest>),
    stop: tokio::sync::watch::Receiver<bool>,
    began: Instant,
) -> Result<Exit, CliError> {
    if run.id.retry_number().is_none() {
        return Err(CliError::refused(miette!(
            help = "repeat its `rowmill run` command to finish it, then retry it",
            "run {} has not ended: it is {}",
            run.id,
            run.state.name()
        )));
    }
    say!("resuming run {}", run.id);
    runs::resume(stack, &run).await?;
    if let Some(request) = request.filter(|_| run.state == RunState::Splitting) {
        let sent = stack.request_retry(&request);
        sent.map_err(|e| CliError::failed("cannot write to the queue", e))?;
    }
    // For the progress display only.
    let phases = run.definitions.len().max(1) as u16;
    follow(stack, to, &RunScope::of(&run), phases, stop, began).await
}

/// The run of the upload that the command names.
async fn the_upload(stack: &LocalStack, args: &RetryArgs) -> Result<RunId, CliError> {
    let prefix = &args.run;
    let found = uploads_with_prefix(&*stack.ledger, prefix).await;
    let found = found.map_err(|e| CliError::failed("cannot read the runs", e))?;
    match &found[..] {
        [] => Err(no_run(&args.at, prefix)),
        [run] => Ok(run.clone()),
        several => Err(several_runs(prefix, several)),
    }
}

pub(crate) fn rows(args: &RetryArgs) -> RetryRows {
    match (&args.rows_where, args.failed, args.missing) {
        (Some(rule), ..) => RetryRows::Where(rule.clone()),
        (None, true, false) => RetryRows::Failed,
        (None, false, true) => RetryRows::Missing,
        _ => RetryRows::Unfinished,
    }
}

fn nothing(args: &RetryArgs) -> &'static str {
    match rows(args) {
        RetryRows::Unfinished => "no row is failed or missing",
        RetryRows::Failed => "no row is failed",
        RetryRows::Missing => "no row is missing",
        RetryRows::Where(_) => "the expression is true for no row",
    }
}

/// The pipeline of the retry, and the folder of its programs.
async fn pipeline_file(
    stack: &LocalStack,
    plan: &RetryPlan,
    corrected: Option<PipelineFile>,
    run: &RunId,
) -> Result<PipelineFile, CliError> {
    let name = run.pipeline();
    if let Some(file) = corrected {
        return Ok(PipelineFile { name, ..file });
    }
    let at = Location::new(WORK, keys::pipeline(&name));
    let stored = stack.objects.head(&at).await.optional();
    let stored = stored.map_err(|e| CliError::failed("cannot read the pipeline", e))?;
    let directory = stored.and_then(|mut info| info.metadata.remove(DIRECTORY));
    Ok(PipelineFile {
        shown: format!("{name}.toml"),
        name,
        toml: plan.base.manifest.pipeline_toml.clone(),
        pipeline: plan.pipeline().clone(),
        directory: directory.map(Into::into).unwrap_or_default(),
    })
}

/// Which columns mean something else in the rows that are not retried.
fn differing(plan: &RetryPlan) -> Vec<String> {
    let names = |of: fn(&ColumnChange) -> Option<&String>| {
        let names: Vec<String> = plan
            .changes
            .columns
            .iter()
            .filter_map(of)
            .map(|name| format!("`{name}`"))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let others = plan.base.manifest.records - plan.records();
    if plan.changes.columns.is_empty() || others == 0 {
        return Vec::new();
    }
    let new = names(|change| match change {
        ColumnChange::New(name) => Some(name),
        _ => None,
    });
    let redefined = names(|change| match change {
        ColumnChange::Redefined(name) => Some(name),
        _ => None,
    });
    let gone = names(|change| match change {
        ColumnChange::Gone(name) => Some(name),
        _ => None,
    });
    let mut lines = Vec::new();
    if let Some(names) = new {
        lines.push(format!(
            "new columns, empty in the rows that are not retried: {names}"
        ));
    }
    if let Some(names) = redefined {
        lines.push(format!(
            "columns with another definition, whose values stay in the rows that are not retried: {names}"
        ));
    }
    if let Some(names) = gone {
        lines.push(format!("columns that the result no longer has: {names}"));
    }
    lines
}
