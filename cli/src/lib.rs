//! `rowmill`: all stages on one machine, with local adapters.
//!
//! [`main`] parses the command line (`args`), runs one command and returns its exit code
//! (`exit`). Each command has its own module. `run` needs the most: it opens a local stack
//! (`stack`: the adapters under a state directory, the stages wired to them, and their
//! dispatcher), uploads the workbook and watches until the run ends.
//!
//! It is a library so that the end-to-end tests build the same program in their own profile. The
//! terms are defined in `docs/glossary.md`.

mod args;
mod check;
mod child;
mod duration;
mod error;
mod exit;
mod new;
mod output;
mod output_file;
mod pipeline_file;
mod plan;
mod predict;
mod preview;
mod report;
mod run;
mod signals;
mod split;
mod stack;
mod table;
mod train;
mod workbook;

use std::process::ExitCode;

use clap::Parser;
use rowmill_domain::config;
use rowmill_domain::environment::Environment;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Pipeline;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::error::CliError;
use crate::exit::Exit;

/// Runs the command in the process's arguments and returns an exit code from the table in
/// `rowmill --help`.
///
/// Wrong usage ends the process with exit code 2 before this function returns.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = execute(&cli.command).unwrap_or_else(|error| {
        error.show();
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
    match command {
        Command::Run(args) => {
            log(if args.verbose { "info" } else { "off" });
            let relay = std::env::var(config::ROWMILL_SMTP).ok();
            on_runtime(run::run(args, relay, &secrets()))
        }
        Command::Split(args) => on_runtime(split::split(args)),
        Command::Report(args) => report::report(args),
        Command::Plan(args) => plan::plan(args),
        Command::Preview(args) => {
            log("off");
            on_runtime(preview::preview(args, &secrets()))
        }
        // Steps may open clients, which need a runtime.
        Command::Check(args) => on_runtime(async { check::check(args, &secrets()) }),
        Command::New(args) => new::new(args),
        Command::Train(args) => train::train(args),
        Command::Predict(args) => predict::predict(args),
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

/// The secrets of the environment.
fn secrets() -> Secrets {
    Secrets::from_environment(std::env::vars_os())
}

/// Logs to standard error, from `level` up. `RUST_LOG` overrides the level.
fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
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
