//! `rowmill attach`, and the rest of `rowmill upload`: follows a run to its end.

use std::time::Duration;

use miette::miette;
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{Optional, PortError};
use rowmill_report::{sentence, verdict};
use rowmill_runs::find_manifest;
use serde_json::json;
use tokio::sync::watch::Receiver;

use super::Control;
use super::deployment::Deployment;
use super::download::result_to;
use super::list::{View, unreadable};
use crate::args::{AttachArgs, ToArgs, Where};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::run::progress::{ProgressDisplay, RunProgress};
use crate::signals;

/// How often to look at a run of a state directory.
const LOOK_HERE: Duration = Duration::from_millis(200);
/// How often to look at a run of a stack. A look reads two items.
const LOOK_THERE: Duration = Duration::from_secs(2);

/// Follows a run to its end, and downloads its result.
pub(crate) async fn attach(args: &AttachArgs) -> Result<Exit, CliError> {
    let detach = signals::detach()?;
    let (deployment, run) = Deployment::with_run(&args.one.at, &args.one.run).await?;
    if !run.state.is_terminal() && !deployment.works_on(&run.id) {
        let options = args.one.at.options();
        return Err(CliError::refused(miette!(
            help = format!(
                "repeat its command to continue it, or deliver what is done with `rowmill cancel {} {options}`",
                run.id
            ),
            "run {} was interrupted: no command is working on it",
            run.id
        )));
    }
    let following = Following {
        control: &deployment.control,
        at: &args.one.at,
        to: &args.to,
        json: args.one.json,
    };
    following.follow(&run.id, detach).await
}

/// A run that a command follows.
pub(super) struct Following<'a> {
    pub(super) control: &'a Control,
    pub(super) at: &'a Where,
    pub(super) to: &'a ToArgs,
    pub(super) json: bool,
}

impl Following<'_> {
    /// Shows progress until the run has ended, downloads its result and says how it ended. If `detach`
    /// becomes true, the run goes on without this command.
    pub(super) async fn follow(
        &self,
        id: &RunId,
        mut detach: Receiver<bool>,
    ) -> Result<Exit, CliError> {
        let every = match self.at.stack {
            Some(_) => LOOK_THERE,
            None => LOOK_HERE,
        };
        let mut progress = ProgressDisplay::new();
        let run = loop {
            let run = self.control.runs.find_run(id).await.map_err(unreadable)?;
            let run = run.ok_or_else(|| {
                CliError::failed(
                    format_args!("run {id}"),
                    "it was deleted while this command followed it",
                )
            })?;
            if run.state.is_terminal() {
                break run;
            }
            let at = self.progress(&run).await.map_err(unreadable)?;
            progress.show(at, run.counts);
            tokio::select! {
                _ = detach.wait_for(|detach| *detach) => {
                    progress.abandon();
                    say!(
                        "detached from run {id}, which goes on. To follow it again:\n  \
                         rowmill attach {id} {}",
                        self.at.options()
                    );
                    if self.json {
                        let view = View::of(self.control, run, true).await;
                        output::json(&view.map_err(unreadable)?.json());
                    }
                    return Ok(Exit::Interrupted);
                }
                () = tokio::time::sleep(every) => {}
            }
        };
        progress.finish(run.counts);
        self.ended(run).await
    }

    async fn progress(&self, run: &RunItem) -> Result<RunProgress, PortError> {
        let records = run.counts.records;
        Ok(match run.state {
            RunState::Splitting => RunProgress::Split(0),
            RunState::Running => {
                // The state changes before the table exists.
                let tally = self.control.outcomes.tally(&run.id).await.optional()?;
                let tally = tally.unwrap_or_default();
                let manifest = find_manifest(&self.control.work, &run.id).await;
                // Only for the display.
                let phases = manifest
                    .ok()
                    .flatten()
                    .map_or(1, |manifest| manifest.phases);
                let of = records * u64::from(phases);
                RunProgress::Enrich {
                    done: (tally.ok + tally.failed).min(of),
                    of,
                    phases,
                }
            }
            _ => RunProgress::Report(0, records),
        })
    }

    async fn ended(&self, run: RunItem) -> Result<Exit, CliError> {
        let exit = match run.state {
            RunState::Delivered => Exit::Done,
            RunState::DeliveredWithErrors => Exit::DeliveredWithErrors,
            _ => Exit::Failed,
        };
        let result = match &run.result {
            Some(key) => Some(result_to(&self.control.work, &run, key, self.to).await?),
            None => None,
        };
        let state = run.state.name().replace('_', " ");
        let (counts, failure) = (run.counts, run.failure.clone());
        let view = View::of(self.control, run, false).await;
        if self.json {
            let mut object = view.map_err(unreadable)?.json();
            object["result"] = json!(result);
            output::json(&object);
            return Ok(exit);
        }
        let how = format!(
            "{state}: {}",
            verdict(counts, counts.records + counts.rejected)
        );
        output::line(sentence(match result {
            Some(_) => &how,
            None => &state,
        }));
        if let Some(failure) = failure {
            output::line(format_args!(
                "  {}: {}\n  {}",
                failure.stage,
                sentence(&failure.what),
                sentence(&failure.advice)
            ));
        }
        if let Some(result) = result {
            output::line(format_args!("  result  {}", result.display()));
        }
        Ok(exit)
    }
}
