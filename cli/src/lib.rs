//! `rowmill`: the stages with local adapters, on one machine. A library so that the end-to-end
//! tests build the same program in their own profile.

mod args;
mod check;
mod child;
mod cloud;
mod exit;
mod file;
mod input;
mod new;
mod output;
mod plan;
mod predict;
mod preview;
mod progress;
mod report;
mod run;
mod signals;
mod split;
mod stages;
mod table;
mod train;
mod upload;

use std::process::ExitCode;

use clap::Parser;
use rowmill_domain::config;
use rowmill_domain::environment::Environment;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Pipeline;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Stop};

/// The program: reads the command line, carries it out, and answers with an exit code of the table
/// in `rowmill --help`.
pub fn main() -> ExitCode {
    // clap itself ends the process on wrong usage, with exit code 2.
    let cli = Cli::parse();
    let exit = carry_out(&cli.command).unwrap_or_else(|stop| {
        stop.show();
        stop.exit
    });
    exit.into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main: the one place of the command line that reads the environment"
)]
fn carry_out(command: &Command) -> Result<Exit, Stop> {
    exit::set_up_reports();
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
        // Steps may open clients, which belong to a runtime.
        Command::Check(args) => on_runtime(async { check::check(args, &secrets()) }),
        Command::New(args) => new::new(args),
        Command::Train(args) => train::train(args),
        Command::Predict(args) => predict::predict(args),
        Command::Schema => {
            output::json(&Pipeline::json_schema());
            Ok(Exit::Done)
        }
        Command::Enrich => {
            // Its stderr is the job's log.
            log("info");
            let environment = Environment::new(|name| std::env::var(name).ok());
            on_runtime(child::enrich(&environment, secrets()))
        }
    }
}

/// The secrets of the environment.
fn secrets() -> Secrets {
    Secrets::of_environment(std::env::vars_os())
}

/// Logs to stderr, from `level` up; `RUST_LOG` says otherwise.
fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell of a closed standard error on standard error, and panic.
        .log_internal_errors(false)
        .init();
}

fn on_runtime(work: impl Future<Output = Result<Exit, Stop>>) -> Result<Exit, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::failed("cannot start the runtime", e))?;
    let result = runtime.block_on(work);
    // A blocking call that is still at work must not hold the exit up.
    runtime.shutdown_background();
    result
}
