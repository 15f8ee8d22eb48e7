//! `rowmill runs` and `rowmill status`.

use chrono::{DateTime, Local, Utc};
use futures::TryStreamExt;
use rowmill_domain::run::Counts;
use rowmill_domain::tally::Tally;
use rowmill_domain::{RunItem, RunState, keys};
use rowmill_ports::{Optional, PortError};
use rowmill_report::{sentence, verdict};
use rowmill_runs::all_runs;
use serde_json::{Value, json};

use super::Control;
use super::deployment::Deployment;
use crate::args::{OneRunArgs, RunsArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, thousands};
use crate::run::upload::is_over;
use crate::table::{Column, table};
use crate::words::{money, usd};

/// A run as the commands show it.
pub(super) struct View {
    run: RunItem,
    /// What its children have done so far, if it has not ended.
    tally: Tally,
    /// Whether a command is working on it. Otherwise, a run that has not ended was interrupted.
    active: bool,
}

impl View {
    pub(super) async fn of(
        control: &Control,
        run: RunItem,
        active: bool,
    ) -> Result<View, PortError> {
        let tally = match run.state {
            RunState::Running | RunState::Reporting => control.outcomes.tally(&run.id).await,
            _ => Ok(Tally::default()),
        };
        Ok(View {
            // The state changes before the table exists.
            tally: tally.optional()?.unwrap_or_default(),
            active: active && !is_over(&run),
            run,
        })
    }

    fn ended(&self) -> bool {
        self.run.state.is_terminal()
    }

    /// The rows by result, so far.
    fn counts(&self) -> Counts {
        match self.ended() {
            true => self.run.counts,
            false => Counts {
                ok: self.tally.ok,
                failed: self.tally.failed,
                ..self.run.counts
            },
        }
    }

    /// What the run has cost so far, in USD at list prices.
    fn cost(&self) -> Option<f64> {
        self.run.cost_usd(Some(&self.tally))
    }

    /// The state in words.
    fn state(&self) -> String {
        let words = self.run.state.name().replace('_', " ");
        match (self.ended(), self.active, &self.run.stop) {
            (true, ..) => words,
            (false, true, Some(_)) => format!("{words}, stopping"),
            (false, true, None) => words,
            (false, false, _) => format!("{words}, interrupted"),
        }
    }

    /// The object that `--json` prints.
    pub(super) fn json(&self) -> Value {
        let (run, counts) = (&self.run, self.counts());
        json!({
            "run_id": run.id,
            "state": run.state.name(),
            "active": self.active,
            "pipeline": run.id.pipeline(),
            "file": keys::file_name(&run.source.key),
            "created": run.created,
            "updated": run.updated,
            "records": counts.records,
            "ok": counts.ok,
            "failed": counts.failed,
            "missing": counts.missing,
            "rejected": counts.rejected,
            "cost_usd": self.cost(),
            "stop": run.stop.as_ref().map(|stop| json!({
                "reason": stop.to_string(),
                "at": stop.at,
            })),
            "failure": run.failure.as_ref().map(|failure| json!({
                "stage": failure.stage,
                "reason": failure.what,
                "advice": failure.advice,
            })),
            "result": run.result,
        })
    }
}

/// Lists the runs of a deployment, oldest first.
pub(crate) async fn runs(args: &RunsArgs) -> Result<Exit, CliError> {
    let views = match Deployment::find(&args.at).await? {
        Some(deployment) => views(&deployment).await.map_err(unreadable)?,
        None => Vec::new(),
    };
    if args.json {
        output::json(&views.iter().map(View::json).collect());
        return Ok(Exit::Done);
    }
    if views.is_empty() {
        output::line(format_args!("no runs in {}", args.at));
        return Ok(Exit::Done);
    }
    let cells = |cell: &dyn Fn(&View) -> String| views.iter().map(cell).collect::<Vec<_>>();
    let columns = [
        Column::required("run", cells(&|view| view.run.id.to_string())),
        Column::required("state", cells(&View::state)),
        Column::required("rows", cells(&|view| thousands(view.counts().records))),
        Column::required("ok", cells(&|view| thousands(view.counts().ok))),
        Column::required("failed", cells(&|view| thousands(view.counts().failed))),
        Column::optional("missing", cells(&|view| thousands(view.counts().missing))),
        Column::optional(
            "USD",
            cells(&|view| view.cost().map_or_else(String::new, usd)),
        ),
        Column::optional("started", cells(&|view| time(view.run.created))),
        Column::optional(
            "file",
            cells(&|view| keys::file_name(&view.run.source.key).to_owned()),
        ),
    ];
    let width = console::Term::stdout().size_checked();
    let width = width.map_or(usize::MAX / 2, |(_, width)| usize::from(width));
    for line in table(&columns, &vec![None; views.len()], width) {
        output::line(line);
    }
    Ok(Exit::Done)
}

/// All runs of a deployment.
async fn views(deployment: &Deployment) -> Result<Vec<View>, PortError> {
    let runs: Vec<RunItem> = all_runs(&*deployment.control.runs).try_collect().await?;
    let mut views = Vec::new();
    for run in runs {
        let active = deployment.works_on(&run.id);
        views.push(View::of(&deployment.control, run, active).await?);
    }
    Ok(views)
}

/// Shows one run.
pub(crate) async fn status(args: &OneRunArgs) -> Result<Exit, CliError> {
    let (deployment, run) = Deployment::with_run(&args.at, &args.run).await?;
    let active = deployment.works_on(&run.id);
    let view = View::of(&deployment.control, run, active).await;
    let view = view.map_err(unreadable)?;
    if args.json {
        output::json(&view.json());
        return Ok(Exit::Done);
    }
    let (run, counts) = (&view.run, view.counts());
    output::line(format_args!("{}: {}", run.id, view.state()));
    let mut facts = vec![
        ("file", keys::file_name(&run.source.key).to_owned()),
        ("started", time(run.created)),
        ("changed", time(run.updated)),
    ];
    facts.push((
        "rows",
        match view.ended() {
            true => verdict(counts, counts.records + counts.rejected),
            false => format!(
                "{} ok and {} failed of {}; {} rejected",
                thousands(counts.ok),
                thousands(counts.failed),
                thousands(counts.records),
                thousands(counts.rejected)
            ),
        },
    ));
    facts.extend(
        view.cost()
            .map(|cost| ("cost", format!("{} on AWS", money(cost)))),
    );
    facts.extend(run.stop.as_ref().map(|stop| ("stopped", stop.to_string())));
    if let Some(failure) = &run.failure {
        facts.push(("failure", format!("{}: {}", failure.stage, failure.what)));
        facts.push(("advice", failure.advice.clone()));
    }
    if !view.ended() && !view.active {
        let options = args.at.options();
        facts.push(("continue", "repeat its command".to_owned()));
        facts.push(("end", format!("rowmill cancel {} {options}", run.id)));
    }
    for (name, fact) in facts {
        output::line(format_args!("  {name:9} {}", sentence(&fact)));
    }
    Ok(Exit::Done)
}

pub(super) fn unreadable(error: PortError) -> CliError {
    CliError::failed("cannot read the runs", error)
}

/// A time on this machine's clock.
fn time(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local)
        .format("%Y-%m-%d %H:%M")
        .to_string()
}
