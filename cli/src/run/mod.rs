//! `rowmill run`: uploads the workbook to the inbox and watches until its run ends.

mod finish;
pub(crate) mod progress;
pub(crate) mod upload;
mod watch;

use std::time::Instant;

use miette::miette;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{RunState, config};
use rowmill_local::{LocalError, SmtpMailer};
use rowmill_ports::PortError;

use self::finish::finish;
use self::progress::ProgressDisplay;
use self::upload::{Upload, is_over};
use self::watch::{WatchEnd, watch};
use crate::args::RunArgs;
use crate::check;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::pipeline_file::PipelineFile;
use crate::signals;
use crate::stack::{LocalStack, StackOptions};
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
    let needs = needs
        .iter()
        .map(|need| miette!("{need}"))
        .collect::<Vec<_>>();
    if let Some(error) = CliError::all_refused(needs) {
        return Err(error);
    }
    file.check_columns(&args.workbook)?;

    let stop = signals::stop(Exit::Interrupted)?;
    let relay = relay.map(|url| SmtpMailer::new(&url)).transpose();
    let relay = relay.map_err(|e| CliError::refused(miette!("{}: {e}", config::ROWMILL_SMTP)))?;
    let options = StackOptions {
        slots: args.slots,
        chaos: args.chaos,
        relay,
    };
    let stack = LocalStack::open(&args.out, options).map_err(|e| match e {
        LocalError::Locked { .. } => CliError::refused(miette!("{e}")),
        e => CliError::refused(miette!(
            help = "make this directory writable, or choose another one with --out",
            "cannot open the state directory in {}: {e}",
            args.out.display()
        )),
    })?;
    let failed = |e: PortError| CliError::failed("cannot put the workbook into the inbox", e);
    upload::pipeline(&*stack.objects, &file)
        .await
        .map_err(failed)?;
    let uploaded = upload::workbook(
        &*stack.objects,
        &*stack.ledger,
        &args.workbook,
        &file,
        upload::RunOptions {
            limit: args.limit,
            parameters: &given,
        },
        args.force,
    )
    .await
    .map_err(failed)?;

    let (id, version) = match uploaded {
        Upload::Known(run) if is_over(&run) => {
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
            return finish(args, &stack, &run, began.elapsed()).await;
        }
        Upload::Known(run) => {
            say!("resuming run {}", run.id);
            let again = stack.redrive(&run).and_then(|()| stack.sweep());
            again.map_err(|e| CliError::failed("cannot write to the queue", e))?;
            (run.id, run.source.version)
        }
        Upload::New(object, id) => {
            let sent = stack.announce(&object);
            sent.map_err(|e| CliError::failed("cannot send the upload's event", e))?;
            say!("run {id}");
            let version = object.version.unwrap_or(object.etag);
            (id, version)
        }
    };

    let mut progress = ProgressDisplay::new();
    let running = stack.start();
    let phases = file.pipeline.phase_count();
    let end = watch(&stack, &running, &id, &version, phases, stop, &mut progress).await;
    match end? {
        WatchEnd::Over(run) => {
            progress.finish(run.counts);
            // Anything that still runs does not belong to this run.
            let _ = running.stop().await;
            finish(args, &stack, &run, began.elapsed()).await
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
            Err(CliError::failed(
                format_args!("run {id} cannot continue"),
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
