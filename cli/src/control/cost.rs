//! `rowmill cost`: what a run used and cost, compared with its plan.

use rowmill_domain::RunItem;
use rowmill_domain::cost::CostReport;
use serde_json::json;

use super::deployment::Deployment;
use crate::args::OneRunArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, thousands};
use crate::words::{money, time, usd};

/// Shows what a run used and cost.
pub(crate) async fn cost(args: &OneRunArgs) -> Result<Exit, CliError> {
    let (_, run) = Deployment::with_run(&args.at, &args.run).await?;
    let Some(report) = run.cost_report() else {
        return Err(CliError::refused(unknown(&run)));
    };
    if args.json {
        output::json(&json!({
            "run_id": run.id,
            "state": run.state.name(),
            "records": run.counts.records,
            "cost": report,
        }));
        return Ok(Exit::Done);
    }
    output::line(format_args!(
        "{}: {} at the list prices of AWS",
        run.id,
        money(report.usd)
    ));
    for (name, fact) in facts(&report, &run) {
        output::line(format_args!("  {name:20} {fact}"));
    }
    Ok(Exit::Done)
}

/// Why the cost of a run is not known.
fn unknown(run: &RunItem) -> miette::Report {
    match run.state.is_terminal() {
        false => miette::miette!(
            help = format!("`rowmill status {}` shows the cost so far", run.id),
            "run {} has not ended",
            run.id
        ),
        true => miette::miette!(
            help = "runs with a result record what they used",
            "run {} has no result, so its cost was not recorded",
            run.id
        ),
    }
}

/// The facts, each with its name.
fn facts(report: &CostReport, run: &RunItem) -> Vec<(&'static str, String)> {
    let parts = &report.usd_by;
    let mut facts = vec![
        ("records", thousands(run.counts.records)),
        (
            "per 10,000 records",
            report
                .usd_per_record
                .map_or_else(String::new, |each| money(each * 10_000.0)),
        ),
    ];
    facts.extend(report.planned.into_iter().flat_map(|planned| {
        [
            ("planned", money(planned.cost)),
            ("one record per child", money(planned.cost_one_per_child)),
            ("planned time", time(planned.seconds)),
        ]
    }));
    facts.extend([
        (
            "children",
            format!(
                "{} for {} billed seconds",
                thousands(report.tasks),
                thousands(report.task_seconds.round() as u64)
            ),
        ),
        (
            "vCPU seconds",
            thousands(report.vcpu_seconds.round() as u64),
        ),
        ("GiB seconds", thousands(report.gib_seconds.round() as u64)),
    ]);
    let costs = [
        ("USD for vCPUs", parts.vcpu),
        ("USD for memory", parts.memory),
        ("USD for storage", parts.storage),
        ("USD for addresses", parts.addresses),
        ("USD for DynamoDB", parts.ledger),
        ("USD for Lambda", parts.functions),
        ("USD for S3", parts.objects),
        ("USD for logs", parts.logs),
    ];
    facts.extend(costs.map(|(name, amount)| (name, usd(amount))));
    facts.retain(|(_, fact)| !fact.is_empty());
    facts
}
