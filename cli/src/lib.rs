//! `rowmill`: all stages on one machine, with local adapters.
//!
//! [`main`] parses the command line (`args`), runs one command and returns its exit code
//! (`exit`). Each command has its own module. `run` needs the most: it opens a local stack
//! (`stack`: the adapters under a state directory, the stages wired to them, and their
//! dispatcher), uploads the workbook and watches until the run ends.
//!
//! It is a library so that the end-to-end tests build the same program in their own profile. The
//! terms are defined in `docs/glossary.md`.

mod address_space;
mod args;
mod check;
mod child;
mod control;
mod delivered;
mod duration;
mod error;
mod exit;
mod named;
mod new;
mod output;
mod output_file;
mod pipeline_file;
mod plan;
mod predict;
mod preview;
mod report;
mod retry;
mod run;
mod serve;
mod shell;
mod signals;
mod split;
mod stack;
mod table;
mod train;
mod words;
mod workbook;

use std::process::ExitCode;

use clap::Parser;
use rowmill_domain::config;
use rowmill_domain::environment::Environment;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Pipeline;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, TierCommand};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::say;

/// Runs the command in the process's arguments and returns an exit code from the table in
/// `rowmill --help`.
///
/// Wrong usage ends the process with exit code 2 before this function returns.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = execute(&cli.command).unwrap_or_else(|error| {
        error.show(cli.command.prints_json());
        error.exit
    });
    exit.into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main: the one place of the command line that reads the environment"
)]
fn execute(command: &Command) -> Result<Exit, CliError> {
    error::set_up_reports();
    address_space::check()?;
    exit_without_threads(match command {
        // Another attempt follows.
        Command::Enrich => Exit::Child(config::child_exit::UNAVAILABLE),
        _ => Exit::Failed,
    });
    match command {
        Command::Run(args) => {
            log(if args.verbose { "info" } else { "off" });
            let relay = std::env::var(config::ROWMILL_SMTP).ok();
            on_runtime(run::run(args, relay, &secrets()))
        }
        Command::Serve(args) => {
            log(if args.verbose { "info" } else { "off" });
            let relay = std::env::var(config::ROWMILL_SMTP).ok();
            on_runtime(serve::serve(args, relay, &secrets()))
        }
        Command::Retry(args) => {
            log(if args.verbose { "info" } else { "off" });
            let relay = std::env::var(config::ROWMILL_SMTP).ok();
            on_runtime(retry::retry(args, relay, &secrets()))
        }
        Command::Upload(args) => on_runtime(control::upload(args)),
        Command::Attach(args) => on_runtime(control::attach(args)),
        Command::Info(args) => {
            let environment = Environment::new(|name| std::env::var(name).ok());
            on_runtime(control::info(args, environment))
        }
        Command::Split(args) => on_runtime(split::split(args)),
        Command::Runs(args) => on_runtime(control::runs(args)),
        Command::Status(args) => on_runtime(control::status(args)),
        Command::Cost(args) => on_runtime(control::cost(args)),
        Command::Cancel(args) => {
            log("off");
            let relay = std::env::var(config::ROWMILL_SMTP).ok();
            let by = std::env::var(config::USER).ok();
            on_runtime(control::cancel(args, by, relay))
        }
        Command::Download(args) => on_runtime(control::download(args)),
        Command::Logs(args) => on_runtime(control::logs(args)),
        Command::Clean(args) => on_runtime(control::clean(args)),
        Command::Sweep(args) => on_runtime(control::sweep(args)),
        Command::Tier(TierCommand::Show(args)) => on_runtime(control::show_tiers(args)),
        Command::Tier(TierCommand::Set(args)) => on_runtime(control::set_tier(args)),
        Command::Report(args) => report::report(args),
        Command::Plan(args) => on_runtime(plan::plan(args)),
        Command::Preview(args) => {
            log("off");
            on_runtime(preview::preview(args, &secrets()))
        }
        // Steps may open clients, which need a runtime.
        Command::Check(args) => on_runtime(async { check::check(args, &secrets()) }),
        Command::New(args) => new::new(args),
        Command::Train(args) => train::train(args),
        Command::Predict(args) => predict::predict(args),
        Command::Completions(args) => Ok(shell::completions(args)),
        Command::Man(args) => shell::man(args),
        Command::Schema => {
            output::json(&Pipeline::json_schema());
            Ok(Exit::Done)
        }
        Command::Enrich => {
            // Standard error is the log of the job.
            log("info");
            let environment = Environment::new(|name| std::env::var(name).ok());
            on_runtime(child::enrich(&environment, secrets()))
        }
    }
}

/// Ends the process with `exit` if a thread cannot be started. The runtime panics then, on one of its
/// threads or while it is dropped, and can wait forever for threads that do not exist.
fn exit_without_threads(exit: Exit) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = match payload.downcast_ref::<String>() {
            Some(text) => text.as_str(),
            None => payload.downcast_ref::<&str>().copied().unwrap_or_default(),
        };
        if is_without_thread(text) {
            say!("cannot start a thread; raise the process limit: {text}");
            std::process::exit(exit.code().into());
        }
        report(panic);
    }));
}

/// Whether a panic of the runtime or the standard library says that a thread could not be started.
fn is_without_thread(panic: &str) -> bool {
    panic.starts_with("OS can't spawn worker thread") || panic.starts_with("failed to spawn thread")
}

/// The secrets of the environment.
fn secrets() -> Secrets {
    Secrets::from_environment(std::env::vars_os())
}

/// Logs to standard error, from `level` up. `RUST_LOG` overrides the level.
fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console::colors_enabled_stderr())
        .with_writer(std::io::stderr)
        // Otherwise it reports a closed standard error on standard error, and panics.
        .log_internal_errors(false)
        .init();
}

fn on_runtime(work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed("cannot start the runtime", e))?;
    let result = runtime.block_on(work);
    // A blocking call that still runs must not delay the exit.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_about_a_missing_thread_is_recognized() {
        // A stack larger than the address space cannot be allocated.
        let failed = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_stack_size(1 << 60)
                .build();
            drop(runtime);
        });
        let payload = failed.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(is_without_thread(text), "{text}");
        assert!(is_without_thread("failed to spawn thread: Os { code: 11 }"));
        assert!(!is_without_thread("index out of bounds"));
    }
}
