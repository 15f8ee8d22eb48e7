//! `rowmill check`: everything that is wrong with a pipeline file, before it runs.

use miette::miette;
use rowmill_steps::{Setup, runner};

use crate::args::CheckArgs;
use crate::exit::{Exit, Stop};
use crate::input::{self, Chosen};
use crate::output;

/// Reads the pipeline, sets its steps up, and looks for its columns in the workbook.
pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Stop> {
    let chosen = input::read(&args.pipeline)?;
    set_up(&chosen)?;
    let mut fits = String::new();
    if let Some(workbook) = &args.workbook {
        input::is_file(workbook)?;
        let header = chosen.check_columns(workbook)?;
        fits = format!(
            "; {}, sheet `{}`, has the columns it needs",
            workbook.display(),
            header.sheet
        );
    }
    output::line(format_args!(
        "{}: ok, {} steps, {} checks, adds {}{fits}",
        args.pipeline.display(),
        chosen.pipeline.steps.len(),
        chosen.pipeline.checks.len(),
        match chosen.pipeline.added_columns() {
            added if added.is_empty() => "no columns".to_owned(),
            added => added.join(", "),
        },
    ));
    Ok(Exit::Done)
}

/// Sets every step up, as a child will: what is wrong with an expression or a program is told
/// before the first record.
pub(crate) fn set_up(chosen: &Chosen) -> Result<(), Stop> {
    let setup = Setup {
        concurrency: 1,
        directory: chosen.directory.clone(),
    };
    let wrong: Vec<miette::Report> = (1..)
        .zip(&chosen.pipeline.steps)
        .filter_map(|(n, step)| {
            let e = runner(step, &setup).err()?;
            let kind = step.kind_name();
            Some(miette!("pipeline {}: step {n} ({kind}): {e}", chosen.name))
        })
        .collect();
    Stop::all_refused(wrong).map_or(Ok(()), Err)
}
