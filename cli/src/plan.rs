//! `rowmill plan`: the children, time and cost of a run, without starting it.

use std::path::Path;

use chrono::Utc;
use rowmill_domain::PipelineName;
use rowmill_domain::job::Resources;
use rowmill_local::SqliteLedger;
use rowmill_pipeline::{BatchSettings, Pipeline};
use rowmill_planning::{Bottleneck, Estimate, Plan, Quotas, Work, plan as choose, prices};
use rowmill_runs::{MeasuredRun, measured_run};
use serde_json::{Value, json};

use crate::args::PlanArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, thousands};
use crate::pipeline_file::PipelineFile;
use crate::plan::chart::chart;
use crate::stack::STATE;
use crate::words::{limits, money, time};
use crate::workbook;

mod chart;

/// Points of the chart in `--json`.
const POINTS: u32 = 60;

/// What is planned.
struct Planned<'a> {
    workbook: Option<&'a Path>,
    /// The pipeline's name; `None` without a pipeline.
    pipeline: Option<PipelineName>,
    rejected: u64,
    work: Work,
    batch: BatchSettings,
    quotas: Quotas,
    /// Where the seconds per record come from: the run that measured them. `None`: the pipeline.
    measured: Option<MeasuredRun>,
}

/// Prints the plan as a table, or as JSON.
pub(crate) async fn plan(args: &PlanArgs) -> Result<Exit, CliError> {
    let mut rejected = 0;
    let (name, pipeline, records) = match (&args.workbook, args.rows) {
        (Some(path), _) => {
            workbook::require_file(path)?;
            let file = PipelineFile::optional(path, args.pipeline.as_deref())?;
            file.check_columns(path)?;
            // The same cut as in split, so that rejected rows do not count.
            let cut = workbook::cut(path, &file, args.limit)?;
            rejected = cut.rejected_total();
            (Some(file.name), file.pipeline, cut.records())
        }
        (None, rows) => {
            let file = args
                .pipeline
                .as_deref()
                .map(PipelineFile::read)
                .transpose()?;
            let name = file.as_ref().map(|file| file.name.clone());
            let pipeline = file.map_or_else(Pipeline::default, |file| file.pipeline);
            (name, pipeline, rows.unwrap_or_default())
        }
    };
    let measured = match &name {
        Some(name) => measured(&args.out, name, &pipeline).await?,
        None => None,
    };
    let planned = Planned {
        workbook: args.workbook.as_deref(),
        pipeline: name,
        rejected,
        work: pipeline.work(records, measured.as_ref().map(|run| &run.seconds[..])),
        batch: pipeline.batch.clone(),
        quotas: Quotas {
            max_vcpus: f64::from(args.max_vcpus),
            ..Quotas::default()
        },
        measured,
    };
    let plan = choose(&planned.work, &planned.quotas);
    if args.json {
        output::json(&as_json(&planned, &plan));
    } else {
        print(&planned, &plan);
    }
    Ok(Exit::Done)
}

/// What the latest run under `out` measured. `None`: no such run, or no such directory.
async fn measured(
    out: &Path,
    name: &PipelineName,
    pipeline: &Pipeline,
) -> Result<Option<MeasuredRun>, CliError> {
    let state = out.join(STATE);
    if !state.is_dir() {
        return Ok(None);
    }
    let kinds: Vec<&str> = pipeline.steps.iter().map(|step| step.kind_name()).collect();
    let cannot = |error: &dyn std::fmt::Display| {
        CliError::failed(
            format_args!("cannot read the runs in {}", state.display()),
            error.to_string(),
        )
    };
    let ledger = SqliteLedger::open(&state).map_err(|e| cannot(&e))?;
    let found = measured_run(&ledger, name, &kinds, Utc::now()).await;
    found.map_err(|e| cannot(&e))
}

fn as_json(planned: &Planned<'_>, plan: &Plan) -> Value {
    let estimate = |estimate: &Estimate| {
        let cost = &estimate.cost;
        json!({
            "records": planned.work.records,
            "records_per_child": estimate.division.most_records(),
            "children": estimate.children,
            "seconds_per_child": estimate.child_seconds,
            "launch_seconds": estimate.launch_seconds,
            "makespan_seconds": estimate.makespan_seconds,
            "cost_usd": cost.total(),
            "cost_usd_on_demand": cost.total_on_demand(),
            "cost_usd_per_10000_records": estimate.cost_per_10_000(&planned.work),
            "bottleneck": estimate.bottleneck.name(),
            "table_writes": estimate.table_writes,
        })
    };
    let chosen = &plan.chosen;
    let cost = &chosen.cost;
    let mut json = estimate(chosen);
    let points = (0..=POINTS).map(|point| {
        let at = chosen.makespan_seconds * f64::from(point) / f64::from(POINTS);
        json!({"seconds": at, "tasks": chosen.running(at)})
    });
    let seconds: f64 = planned
        .work
        .phases
        .iter()
        .map(|p| p.seconds_per_record)
        .sum();
    let more = json!({
        "workbook": planned.workbook,
        "pipeline": planned.pipeline,
        "rejected": planned.rejected,
        "chunks": plan.chunks().map(|(records, children)| json!({"records": records, "children": children})).collect::<Vec<_>>(),
        "phases": plan.phases,
        "phase_resources": planned.work.phases.iter().map(|phase| phase.resources).collect::<Vec<_>>(),
        "jobs": plan.jobs(),
        "seconds_per_record": seconds,
        "seconds_per_record_from": planned.measured.as_ref().map_or("pipeline", |_| "measured"),
        "measured_in": planned.measured.as_ref().map(|measured| &measured.run),
        "max_vcpus": planned.quotas.max_vcpus,
        "max_cost_usd": planned.batch.max_cost,
        "max_records": planned.batch.max_records,
        "within_seconds": planned.batch.within.map(|target| target.as_secs_f64()),
        "tolerate": planned.batch.tolerate.map(|bad| bad.to_string()),
        "stop_after": planned.batch.stop_after.map(|bad| bad.to_string()),
        "in_time": plan.in_time,
        "within_timeout": plan.within_timeout,
        "cost_usd_by": {
            "vcpu": cost.vcpu,
            "memory": cost.memory,
            "storage": cost.storage,
            "addresses": cost.addresses,
            "logs": cost.logs,
            "ledger": cost.ledger,
            "functions": cost.functions,
            "objects": cost.objects,
        },
        "prices": {"region": prices::REGION, "date": prices::DATE, "spot_share_of_list": prices::SPOT_SHARE_OF_LIST},
        "running": points.collect::<Vec<_>>(),
        "one_record_per_child": estimate(&plan.one_record_per_child),
    });
    if let (Value::Object(json), Value::Object(more)) = (&mut json, more) {
        json.extend(more);
    }
    json
}

fn print(planned: &Planned<'_>, plan: &Plan) {
    let (work, chosen, one) = (&planned.work, &plan.chosen, &plan.one_record_per_child);
    let rejected = match planned.rejected {
        0 => String::new(),
        rows => format!(", {} rejected", counted(rows, "row")),
    };
    output::line(format_args!(
        "{}{rejected}, {}, {}, {}",
        counted(work.records, "record"),
        counted(plan.phases.into(), "phase"),
        counted(chosen.division.chunk_count(), "chunk"),
        counted(plan.jobs(), "job"),
    ));
    let seconds: f64 = work.phases.iter().map(|p| p.seconds_per_record).sum();
    let source = match &planned.measured {
        Some(measured) => format!("p95, measured in run {}", measured.run),
        None => "as in the pipeline; no run has measured it".to_owned(),
    };
    output::line(format_args!(
        "{} s per record ({source}), {} at once in a child of {}, at most {} vCPU in use\n",
        (seconds * 1e6).round() / 1e6,
        work.concurrency,
        sizes(work),
        planned.quotas.max_vcpus,
    ));
    type Fact<'a> = (&'a str, Box<dyn Fn(&Estimate) -> String + 'a>);
    let facts: [Fact<'_>; 9] = [
        (
            "records per child",
            Box::new(|e| thousands(e.division.most_records().into())),
        ),
        ("children", Box::new(|e| thousands(e.children))),
        ("time of a child", Box::new(|e| time(e.child_seconds))),
        ("time of all launches", Box::new(|e| time(e.launch_seconds))),
        ("time of the run", Box::new(|e| time(e.makespan_seconds))),
        (
            "bottleneck",
            Box::new(|e| bottleneck(e.bottleneck).to_owned()),
        ),
        ("cost, on Spot", Box::new(|e| money(e.cost.total()))),
        (
            "cost, On-Demand",
            Box::new(|e| money(e.cost.total_on_demand())),
        ),
        (
            "per 10,000 records",
            Box::new(|e| money(e.cost_per_10_000(work))),
        ),
    ];
    let rows: Vec<[String; 3]> = facts
        .iter()
        .map(|(name, fact)| [(*name).to_owned(), fact(chosen), fact(one)])
        .collect();
    let header = ["", "this plan", "one record per child"].map(str::to_owned);
    for [name, plan, one] in std::iter::once(header).chain(rows) {
        output::line(format_args!("{name:20}  {plan:>16}  {one:>22}"));
    }
    let cost = &chosen.cost;
    let parts = [
        ("vCPU", cost.vcpu),
        ("memory", cost.memory),
        ("storage", cost.storage),
        ("addresses", cost.addresses),
        ("DynamoDB", cost.ledger),
        (
            "Lambda, logs, S3",
            cost.functions + cost.logs + cost.objects,
        ),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(name, usd)| *name != "storage" || *usd > 0.0)
        .map(|(name, usd)| format!("{name} {}", money(usd)))
        .collect();
    output::line(format_args!(
        "\nCost: {}. List prices of {}, {}; Spot at {:.0}% of them.",
        parts.join(", "),
        prices::REGION,
        prices::DATE,
        prices::SPOT_SHARE_OF_LIST * 100.0,
    ));
    output::line("\nTasks running over time:");
    for line in chart(chosen) {
        output::line(line);
    }
    let batch = &planned.batch;
    if let Some(limits) = limits(batch) {
        output::line(format_args!("\nLimits of the pipeline: {limits}."));
    }
    if let Some(most) = batch.max_cost
        && chosen.cost.total() > most
    {
        output::line(format_args!(
            "\nA run would be refused: it costs {}, and `max_cost` allows {}.",
            money(chosen.cost.total()),
            money(most),
        ));
    }
    if let Some(most) = batch.max_records
        && work.records > u64::from(most)
    {
        output::line(format_args!(
            "\nA run would be refused: it has {}, and `max_records` allows {}.",
            counted(work.records, "record"),
            thousands(most.into()),
        ));
    }
    if !plan.in_time {
        output::line(format_args!(
            "\nNo plan meets `within`: this one is the fastest. Its bottleneck is {}.",
            bottleneck(chosen.bottleneck)
        ));
    }
    if !plan.within_timeout {
        output::line(format_args!(
            "\nA child is expected to run for {}, more than half of [batch] timeout ({}). Records of a \
             child that exceeds it are lost: raise `timeout`.",
            time(chosen.child_seconds),
            time(f64::from(work.timeout_seconds)),
        ));
    }
}

fn bottleneck(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::LaunchRate => "launch rate",
        Bottleneck::Quota => "quota of vCPUs",
        Bottleneck::Source => "rate of the source",
        Bottleneck::LedgerWrites => "writes to DynamoDB",
        Bottleneck::Addresses => "addresses",
        Bottleneck::Work => "the work itself",
    }
}
/// The sizes of the children, phase by phase, if they differ.
fn sizes(work: &Work) -> String {
    let size = |resources: Resources| {
        let Resources {
            vcpu, memory_mib, ..
        } = resources;
        let storage = match resources.storage_gib {
            Some(gib) => format!(" and {gib} GiB of storage"),
            None => String::new(),
        };
        format!("{vcpu} vCPU and {memory_mib} MiB{storage}")
    };
    let mut sizes: Vec<String> = work.phases.iter().map(|p| size(p.resources)).collect();
    sizes.dedup();
    sizes.join(", then ")
}
