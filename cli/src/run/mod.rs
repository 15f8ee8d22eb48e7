//! `rowmill run`: uploads the workbook to the inbox and watches until its run ends.

mod finish;
pub(crate) mod progress;
mod reevaluate;
pub(crate) mod upload;
mod watch;

use std::path::Path;
use std::pin::pin;
use std::time::Instant;

use futures::TryStreamExt;
use miette::miette;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{RunItem, RunState, config, keys};
use rowmill_local::{LocalError, RunScope, SmtpMailer};
use rowmill_ports::{PortError, Runs};
use rowmill_runs::{WorkBucket, all_runs, find_manifest};
use tokio::sync::watch::Receiver;

use self::finish::deliver_result;
pub(crate) use self::finish::{Delivery, finish};
use self::progress::ProgressDisplay;
use self::upload::{Found, is_over};
use self::watch::{WatchEnd, watch};
use crate::args::RunArgs;
use crate::check;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::pipeline_file::PipelineFile;
use crate::signals;
use crate::stack::{LocalStack, STATE, StackOptions, WORK};
use crate::workbook;

/// Runs the workbook, or resumes its unfinished run, or shows the result of its last one.
pub(crate) async fn run(
    args: &RunArgs,
    relay: Option<String>,
    secrets: &Secrets,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    workbook::require_file(&args.workbook)?;
    let file = PipelineFile::required(&args.workbook, args.pipeline.as_deref())?;
    let given = args.given.values();
    let needs = check::set_up(&file, file.parameters(&given)?, secrets)?;
    let needs = needs.iter().map(|need| miette!("{need}"));
    let mut unmet = CliError::all_refused(needs.collect());
    // Without an earlier run, every step runs.
    if (args.force || !args.out.join(STATE).is_dir())
        && let Some(error) = unmet.take()
    {
        return Err(error);
    }
    file.check_columns(&args.workbook)?;

    let stop = signals::stop(Exit::Interrupted)?;
    let stack = open_stack(&args.out, args.slots, args.chaos, relay)?;
    let to = Delivery {
        out: &args.out,
        json: args.json,
    };
    let failed = |e: PortError| CliError::failed("cannot put the workbook into the inbox", e);
    let options = upload::RunOptions {
        limit: args.limit,
        parameters: &given,
    };
    let (objects, ledger) = (&*stack.objects, &*stack.ledger);
    upload::pipeline(objects, &file).await.map_err(failed)?;
    upload::tiers(objects, &file.directory)
        .await
        .map_err(failed)?;
    let found = upload::find(objects, ledger, &args.workbook, &file, options, args.force);
    let found = found.await.map_err(failed)?;
    let mut phases = file.pipeline.phase_count();
    let scope = match found {
        Found::Run { run, .. } if is_over(&run) => {
            say!(
                "already {} run {} of {}; --force runs it again",
                if run.state == RunState::Failed {
                    "failed in"
                } else {
                    "delivered by"
                },
                run.id,
                run.created
                    .with_timezone(&chrono::Local)
                    .format("%Y-%m-%d %H:%M"),
            );
            return finish(&to, &stack, &run, began.elapsed()).await;
        }
        Found::Run {
            run,
            same_files,
            reevaluates,
        } => {
            if let Some(error) = unmet.filter(|_| !reevaluates) {
                return Err(error);
            }
            say!("resuming run {}", run.id);
            if !same_files {
                say!("a program or model has changed; rows that are done keep their results");
            }
            resume(&stack, &run).await?;
            RunScope::of(&run)
        }
        Found::New(new) => {
            let base = match args.force {
                true => None,
                false => reevaluate::base(&stack, &file, &given, &new.earlier).await?,
            };
            if let Some(error) = unmet.filter(|_| base.is_none()) {
                return Err(error);
            }
            let of = base.as_ref().map(|plan| &plan.base.manifest.run);
            let put = new.put(objects, &args.workbook, &file, of).await;
            let (object, id) = put.map_err(failed)?;
            let sent = stack.announce(&object);
            sent.map_err(|e| CliError::failed("cannot send the upload's event", e))?;
            say!("run {id}");
            if let Some(plan) = base {
                phases = 1;
                reevaluate::announce(&plan, &id, &args.out);
            }
            RunScope {
                id,
                key: object.key,
                version: object.version.unwrap_or(object.etag),
            }
        }
    };
    others(&args.out, &stack, &scope).await?;
    follow(&stack, &to, &scope, phases, stop, began).await
}

/// Opens the local stack in the output directory.
pub(crate) fn open_stack(
    out: &Path,
    slots: Option<u16>,
    chaos: Option<u64>,
    relay: Option<String>,
) -> Result<LocalStack, CliError> {
    let relay = relay.map(|url| SmtpMailer::new(&url)).transpose();
    let relay = relay.map_err(|e| CliError::refused(miette!("{}: {e}", config::ROWMILL_SMTP)))?;
    let options = StackOptions {
        slots,
        chaos,
        relay,
    };
    LocalStack::open(out, options).map_err(|e| match e {
        LocalError::Locked { .. } => CliError::refused(miette!("{e}")),
        e => CliError::refused(miette!(
            help = "make this directory writable, or choose another one with --out",
            "cannot open the state directory in {}: {e}",
            out.display()
        )),
    })
}

/// Puts what failed of a run back on the queue, and checks the run.
pub(crate) async fn resume(stack: &LocalStack, run: &RunItem) -> Result<(), CliError> {
    let again = stack.redrive(run).and_then(|()| stack.check(&run.id));
    again.map_err(|e| CliError::failed("cannot write to the queue", e))?;
    let nudged = stack.nudge(run).await;
    nudged.map_err(|e| CliError::failed("cannot continue the run", e))
}

/// Names the other runs that have not ended. They stay as they are.
pub(crate) async fn others(
    out: &Path,
    stack: &LocalStack,
    scope: &RunScope,
) -> Result<(), CliError> {
    let failed = |e: PortError| CliError::failed("cannot read the ledger", e);
    let mut others = Vec::new();
    let mut runs = pin!(all_runs(&*stack.ledger));
    while let Some(run) = runs.try_next().await.map_err(failed)? {
        if !is_over(&run) && run.id != scope.id {
            others.push(run);
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    let out = output::quoted(&out.display().to_string());
    say!(
        "{} in {out} not ended and stay as they are. Each continues when its command is repeated. To \
         end one and deliver what is done:",
        match others.len() {
            1 => "1 other run has".to_owned(),
            n => format!("{n} other runs have"),
        }
    );
    for run in others {
        let file = keys::file_name(&run.source.key);
        say!("  rowmill cancel {} --out {out}   ({file})", run.id);
    }
    Ok(())
}

/// Continues a run that is stopped, without its command, until it has ended.
pub(crate) async fn to_the_end(
    to: &Delivery<'_>,
    relay: Option<String>,
    run: &RunItem,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    let stop = signals::stop(Exit::Interrupted)?;
    let stack = open_stack(to.out, None, None, relay)?;
    resume(&stack, run).await?;
    let manifest = find_manifest(&WorkBucket::new(WORK, stack.objects.clone()), &run.id).await;
    // Only for the display.
    let phases = manifest
        .ok()
        .flatten()
        .map_or(1, |manifest| manifest.phases);
    follow(&stack, to, &RunScope::of(run), phases, stop, began).await
}

/// Works on a run until it has ended, and delivers its result.
pub(crate) async fn follow(
    stack: &LocalStack,
    to: &Delivery<'_>,
    scope: &RunScope,
    phases: u16,
    stop: Receiver<bool>,
    began: Instant,
) -> Result<Exit, CliError> {
    let mut progress = ProgressDisplay::new();
    let running = stack
        .start_run(scope)
        .map_err(|e| CliError::failed("cannot write the lock file", e))?;
    let end = watch(stack, &running, scope, phases, stop, &mut progress).await;
    match end? {
        WatchEnd::Over(run) => {
            progress.finish(run.counts);
            // Anything that still runs does not belong to this run.
            let _ = running.stop().await;
            finish(to, stack, &run, began.elapsed()).await
        }
        WatchEnd::Stopped => {
            progress.abandon();
            say!(
                "stopping: finishing the records in progress (press Ctrl-C again to stop immediately)"
            );
            let stopped = running.stop().await;
            stopped.map_err(|e| CliError::failed("cannot read or write the state directory", e))?;
            say!(
                "stopped. To resume, run the same command again:\n  {}",
                command_line()
            );
            Ok(Exit::Interrupted)
        }
        WatchEnd::CannotContinue(why) => {
            progress.abandon();
            let why = running.stop().await.err().unwrap_or(why);
            // Report records the result before it sends the email.
            let run = stack.ledger.find_run(&scope.id).await;
            let run = run.map_err(|e| CliError::failed("cannot read the ledger", e))?;
            if let Some(run) = run
                && let Some(result) = deliver_result(to, stack, &run).await?
            {
                return Err(CliError::failed(
                    format_args!(
                        "run {}: the result is written to {}, but its email is not sent",
                        scope.id,
                        result.display()
                    ),
                    format_args!(
                        "{why}\nTo send it, run the same command again:\n  {}",
                        command_line()
                    ),
                ));
            }
            Err(CliError::failed(
                format_args!("run {} cannot continue", scope.id),
                format_args!(
                    "{why}\nTo retry, run the same command again:\n  {}",
                    command_line()
                ),
            ))
        }
    }
}

/// The command as it was given, quoted for a shell.
fn command_line() -> String {
    let mut words = vec!["rowmill".to_owned()];
    words.extend(
        std::env::args_os()
            .skip(1)
            .map(|arg| output::quoted(&arg.to_string_lossy())),
    );
    words.join(" ")
}
