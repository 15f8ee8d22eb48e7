//! `rowmill preview`: the pipeline on the first records of a workbook, before anyone pays for the
//! rest.

use std::ops::ControlFlow;

use miette::miette;
use rowmill_domain::manifest::RejectReason;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Columns, Outcome, Record, Row, Status};
use rowmill_enrich::{HostResources, preview as run_steps, preview_json};
use rowmill_split::{Cut, cut};

use crate::args::PreviewArgs;
use crate::exit::{Exit, Stop};
use crate::input::{self, Chosen};
use crate::table::{Column, table};
use crate::{output, signals};

/// Columns of a table where the output is no terminal.
const WIDTH: usize = 120;

/// Cleans the rows as split does, works on the first records as enrich does, in memory, and prints
/// what came of them.
pub(crate) async fn preview(args: &PreviewArgs, secrets: &Secrets) -> Result<Exit, Stop> {
    input::is_file(&args.workbook)?;
    let chosen = input::required(&args.workbook, args.pipeline.as_deref())?;
    let given = args.given.values();
    chosen.parameters(&given)?;
    chosen.check_columns(&args.workbook)?;
    let mut stop = signals::stop(Exit::Interrupted)?;

    let limit = Some(args.rows.into());
    let name = args.workbook.display().to_string();
    let cut = cut(&args.workbook, &name, &chosen.pipeline, limit, |_| {
        ControlFlow::Continue(())
    })
    .map_err(input::refusal)?;
    let sample = cut.sample(args.rows.into());
    let (columns, records) = sample.map_err(|e| Stop::failed("cannot read the records", e))?;

    let host = HostResources {
        program_directory: chosen.directory.clone(),
        secrets: secrets.clone(),
        amazon: None,
        ..HostResources::default()
    };
    let stopped = async {
        // This fails only without its sender, which lives as long as the process.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let outcomes = run_steps(
        &chosen.pipeline,
        &columns,
        records.clone(),
        &given,
        &host,
        stopped,
    )
    .await
    .map_err(|wrong| refused(&chosen, wrong))?;
    let Some(outcomes) = outcomes else {
        return Ok(Exit::Interrupted);
    };

    if args.json {
        output::json(&preview_json(
            &chosen.pipeline,
            &columns,
            &records,
            &outcomes,
        ));
    } else {
        print(&chosen, &cut, &columns, &records, &outcomes);
    }
    match outcomes.iter().all(|outcome| outcome.status == Status::Ok) {
        true => Ok(Exit::Done),
        false => Ok(Exit::DeliveredWithErrors),
    }
}

fn refused(chosen: &Chosen, wrong: Vec<String>) -> Stop {
    let name = &chosen.name;
    Stop {
        reports: wrong
            .into_iter()
            .map(|wrong| miette!("pipeline {name}: {wrong}"))
            .collect(),
        exit: Exit::Refused,
    }
}

fn print(chosen: &Chosen, cut: &Cut, columns: &Columns, records: &[Record], all: &[Outcome]) {
    let added = chosen.pipeline.added_columns();
    let shown = rows(columns, records, all);
    let cells = |name: &str| -> Vec<String> {
        let text = |row: &Row<'_>| row.get(name).map_or_else(String::new, |v| v.to_text());
        shown.iter().map(text).collect()
    };
    let mut table_columns = vec![Column::must(
        "row",
        records.iter().map(|r| r.row.to_string()),
    )];
    for name in columns.names() {
        // An output of the same name takes its place.
        if !added.iter().any(|a| **a == **name) {
            table_columns.push(Column::may(name, cells(name)));
        }
    }
    for name in &added {
        table_columns.push(Column::must(name, cells(name)));
    }
    let states = all.iter().map(|outcome| outcome.status.name().to_owned());
    table_columns.push(Column::must("status", states));
    let notes: Vec<Option<&str>> = all.iter().map(|o| o.error.as_deref()).collect();

    let term = console::Term::stdout();
    let width = term
        .size_checked()
        .map_or(WIDTH, |(_, width)| usize::from(width));
    for line in table(&table_columns, &notes, width) {
        output::line(line);
    }
    output::line(summary(cut, all));
}

/// Each record with what was added to it.
fn rows<'a>(columns: &'a Columns, records: &'a [Record], outcomes: &'a [Outcome]) -> Vec<Row<'a>> {
    let both = records.iter().zip(outcomes);
    both.map(|(record, outcome)| Row {
        columns,
        record,
        outputs: &outcome.outputs,
    })
    .collect()
}

/// `5 of 333 records, 4 ok, 1 failed; 6 rows rejected`
fn summary(cut: &Cut, outcomes: &[Outcome]) -> String {
    let count = |reason| cut.rejected.get(&reason).copied().unwrap_or(0);
    let beyond = count(RejectReason::BeyondLimit);
    let ok = outcomes.iter().filter(|o| o.status == Status::Ok).count();
    let mut line = format!(
        "\n{} of {} records, {ok} ok",
        cut.records(),
        cut.records() + beyond
    );
    if ok < outcomes.len() {
        line += &format!(", {} failed", outcomes.len() - ok);
    }
    match cut.rejected_total() - beyond {
        0 => line,
        1 => line + "; 1 row rejected",
        rejected => line + &format!("; {rejected} rows rejected"),
    }
}
