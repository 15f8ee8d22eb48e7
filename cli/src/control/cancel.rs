//! `rowmill cancel`.

use chrono::Utc;
use miette::miette;
use rowmill_domain::run::StopReason;
use rowmill_runs::{Stopped, stop};
use serde_json::json;

use super::deployment::{Deployment, Place};
use crate::args::OneRunArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::run::{self, Delivery};

/// Stops a run. The command that works on it then delivers what is done. If there is none, this one
/// does. `by` is the user.
pub(crate) async fn cancel(
    args: &OneRunArgs,
    by: Option<String>,
    relay: Option<String>,
) -> Result<Exit, CliError> {
    let (deployment, run) = Deployment::with_run(&args.at, &args.run).await?;
    let by = by.filter(|by| !by.is_empty());
    let reason = StopReason::Cancelled {
        by: by.unwrap_or_else(|| "a user of this machine".to_owned()),
    };
    let control = &deployment.control;
    let stopped = stop(&*control.runs, &*control.topic, &run.id, reason, Utc::now()).await;
    match stopped.map_err(|e| CliError::failed("cannot stop the run", e))? {
        Stopped::Now => {}
        Stopped::Before(stop) => say!("run {} was stopped before: {stop}", run.id),
        Stopped::TooLate(now) if now.is_terminal() => {
            let state = now.name().replace('_', " ");
            return Err(CliError::refused(miette!(
                "run {} cannot be cancelled: it has ended ({state})",
                run.id
            )));
        }
        Stopped::TooLate(_) => {
            return Err(CliError::refused(miette!(
                "run {} cannot be cancelled: all its rows are done, and its result is being written",
                run.id
            )));
        }
    }
    let (text, delivers) = match &deployment.place {
        Place::Stack(stack) => {
            let text = format!(
                "the stack {} finishes the records in progress and sends what is done",
                stack.name
            );
            (text, json!(stack.name))
        }
        Place::Local(state) => {
            let Some(holder) = &state.holder else {
                let to = Delivery {
                    out: &args.at.out,
                    json: args.json,
                };
                return run::to_the_end(&to, relay, &run).await;
            };
            let text = match state.works_on(&run.id) {
                true => {
                    format!("{holder} finishes the records in progress and delivers what is done")
                }
                false => format!(
                    "{holder} is working on another run; when it has ended, repeat this command to \
                     deliver what is done"
                ),
            };
            let delivers = state.works_on(&run.id).then_some(&holder.process);
            (text, json!(delivers))
        }
    };
    if args.json {
        output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "stopping": true,
            "delivers": delivers,
        }));
    } else {
        output::line(format_args!("run {} is cancelled: {text}", run.id));
    }
    Ok(Exit::Done)
}
