//! `rowmill plan`: the jobs, children and time of a run, without starting it.

use rowmill_pipeline::{Plan, table_usd};
use serde_json::json;

use crate::args::PlanArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::pipeline_file::PipelineFile;
use crate::workbook;

/// Prints the plan as a table, or as JSON.
pub(crate) fn plan(args: &PlanArgs) -> Result<Exit, CliError> {
    workbook::require_file(&args.workbook)?;
    let file = PipelineFile::optional(&args.workbook, args.pipeline.as_deref())?;
    file.check_columns(&args.workbook)?;

    // The same cut as in split, so that rejected rows do not count.
    let cut = workbook::cut(&args.workbook, &file, args.limit)?;
    let (records, rejected) = (cut.records(), cut.rejected_total());

    let batch = &file.pipeline.batch;
    let plan = Plan::new(records, batch, file.pipeline.phase_count());
    let seconds = plan.child_seconds(batch);
    let writes = plan.table_writes(batch);
    let (least, most) = range(plan.chunks.iter().map(|(records, _)| *records));
    let (slice_least, slice_most) = range(
        plan.chunks
            .iter()
            .flat_map(|(records, children)| [records / children, records.div_ceil(*children)]),
    );
    let children = plan.children() * u64::from(plan.phases);

    if args.json {
        output::json(&json!({
            "workbook": args.workbook,
            "pipeline": file.name,
            "records": records,
            "rejected": rejected,
            "chunks": plan.chunks.iter().map(|(records, children)| json!({"records": records, "children": children})).collect::<Vec<_>>(),
            "phases": plan.phases,
            "jobs": plan.jobs(),
            "children": children,
            "records_per_child": slice_most,
            "seconds_per_child": seconds,
            "table_writes": writes,
            "table_usd": table_usd(writes),
        }));
        return Ok(Exit::Done);
    }
    let mut facts = vec![
        ("records", format!("{records}, {rejected} rows rejected")),
        (
            "chunks",
            format!("{} of {}", plan.chunks.len(), span(least, most, "records")),
        ),
        ("phases", plan.phases.to_string()),
        ("jobs", format!("{} (chunks x phases)", plan.jobs())),
        (
            "children",
            format!("{children} in total, {} per phase", plan.children()),
        ),
        ("records per child", span(slice_least, slice_most, "")),
        (
            "seconds per child",
            format!(
                "{seconds:.1} expected ({} s per record, {} at once)",
                batch.seconds_per_record, batch.concurrency
            ),
        ),
    ];
    if table_usd(writes) > 0.0 {
        let usd = table_usd(writes);
        let fact = format!(
            "{writes} writes per second, {usd:.2} USD on AWS for each run (batch.table_writes)"
        );
        facts.push(("table", fact));
    }
    for (name, fact) in facts {
        output::line(format_args!("{name:18} {}", fact.trim_end()));
    }
    Ok(Exit::Done)
}

fn range(numbers: impl Iterator<Item = u32> + Clone) -> (u32, u32) {
    let least = numbers.clone().min().unwrap_or(0);
    (least, numbers.max().unwrap_or(0))
}

fn span(least: u32, most: u32, unit: &str) -> String {
    if least == most {
        format!("{most} {unit}")
    } else {
        format!("{least} to {most} {unit}")
    }
}
