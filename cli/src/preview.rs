//! `rowmill preview`: runs the pipeline on the first records of a workbook and shows the results.

use miette::miette;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Columns, Outcome, Record, Row, Status};
use rowmill_enrich::{HostResources, preview as run_steps, preview_json};
use rowmill_split::Cut;

use crate::args::PreviewArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, thousands};
use crate::pipeline_file::PipelineFile;
use crate::table::{Column, table};
use crate::{signals, workbook};

/// The width of a table if the output is not a terminal.
const WIDTH: usize = 120;

/// Cleans the rows as split does, processes the first records as enrich does, in memory, and prints
/// the results.
pub(crate) async fn preview(args: &PreviewArgs, secrets: &Secrets) -> Result<Exit, CliError> {
    workbook::require_file(&args.workbook)?;
    let file = PipelineFile::required(&args.workbook, args.pipeline.as_deref())?;
    let given = args.given.values();
    file.parameters(&given)?;
    file.check_columns(&args.workbook)?;
    let mut stop = signals::stop(Exit::Interrupted)?;

    // Without a limit, so that the totals are those of a run.
    let cut = workbook::cut(&args.workbook, &file, None)?;
    let sample = cut.sample(args.rows.into());
    let (columns, records) = sample.map_err(|e| CliError::failed("cannot read the records", e))?;

    let host = HostResources {
        program_directory: file.directory.clone(),
        secrets: secrets.clone(),
        amazon: None,
        ..HostResources::default()
    };
    let stopped = async {
        // Fails only if the sender is gone, and that lives as long as the process.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let outcomes = run_steps(
        &file.pipeline,
        &columns,
        records.clone(),
        &given,
        &host,
        stopped,
    )
    .await
    .map_err(|wrong| refused(&file, wrong))?;
    let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
    let Some(outcomes) = outcomes else {
        return Ok(Exit::Interrupted);
    };

    if args.json {
        output::json(&preview_json(&file.pipeline, &columns, &records, &outcomes));
    } else {
        print(&file, &cut, &columns, &records, &outcomes);
    }
    match outcomes.iter().all(|outcome| outcome.status == Status::Ok) {
        true => Ok(Exit::Done),
        false => Ok(Exit::DeliveredWithErrors),
    }
}

fn refused(file: &PipelineFile, wrong: Vec<String>) -> CliError {
    let name = &file.name;
    CliError {
        reports: wrong
            .into_iter()
            .map(|wrong| miette!("pipeline {name}: {wrong}"))
            .collect(),
        exit: Exit::Refused,
    }
}

fn print(file: &PipelineFile, cut: &Cut, columns: &Columns, records: &[Record], all: &[Outcome]) {
    let added = file.pipeline.added_columns();
    let shown = rows(columns, records, all);
    let cells = |name: &str| -> Vec<String> {
        let text = |row: &Row<'_>| row.get(name).map_or_else(String::new, |v| v.to_text());
        shown.iter().map(text).collect()
    };
    let mut table_columns = vec![Column::required(
        "row",
        records.iter().map(|r| r.row.to_string()),
    )];
    for name in columns.names() {
        // An output of the same name replaces it.
        if !added.iter().any(|a| **a == **name) {
            table_columns.push(Column::optional(name, cells(name)));
        }
    }
    for name in &added {
        table_columns.push(Column::required(name, cells(name)));
    }
    let states = all.iter().map(|outcome| outcome.status.name().to_owned());
    table_columns.push(Column::required("status", states));
    let notes: Vec<Option<&str>> = all.iter().map(|o| o.error.as_deref()).collect();

    let term = console::Term::stdout();
    let width = term
        .size_checked()
        .map_or(WIDTH, |(_, width)| usize::from(width));
    for line in table(&table_columns, &notes, width) {
        output::line(line);
    }
    output::line(summary(cut.records(), cut.rejected_total(), all));
}

/// Each record with its outputs.
fn rows<'a>(columns: &'a Columns, records: &'a [Record], outcomes: &'a [Outcome]) -> Vec<Row<'a>> {
    let both = records.iter().zip(outcomes);
    both.map(|(record, outcome)| Row {
        columns,
        record,
        outputs: &outcome.outputs,
    })
    .collect()
}

/// `5 of 333 records: 4 ok, 1 failed. 6 rows of the workbook are rejected.`
fn summary(records: u64, rejected: u64, outcomes: &[Outcome]) -> String {
    let ok = outcomes.iter().filter(|o| o.status == Status::Ok).count();
    let mut line = format!(
        "\n{} of {}: {ok} ok",
        thousands(outcomes.len() as u64),
        counted(records, "record")
    );
    if ok < outcomes.len() {
        line += &format!(", {} failed", outcomes.len() - ok);
    }
    line.push('.');
    match rejected {
        0 => line,
        1 => line + " 1 row of the workbook is rejected.",
        rejected => {
            line + &format!(
                " {} rows of the workbook are rejected.",
                thousands(rejected)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_those_of_the_workbook() {
        assert_eq!(
            summary(1, 1, &[]),
            "\n0 of 1 record: 0 ok. 1 row of the workbook is rejected."
        );
        let many = summary(12_345, 1_000, &[]);
        assert_eq!(
            many,
            "\n0 of 12,345 records: 0 ok. 1,000 rows of the workbook are rejected."
        );
    }
}
