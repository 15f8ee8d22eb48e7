//! `rowmill check`: everything that is wrong with a pipeline file, before it runs.

use std::sync::Arc;

use miette::miette;
use rowmill_domain::Pipeline;
use rowmill_domain::pipeline::{CommandStep, ParameterFrom, ParameterValues, StepKind};
use rowmill_domain::secret::{Secrets, Unusable};
use rowmill_enrich::check_local;
use rowmill_steps::{Setup, runner};

use crate::args::CheckArgs;
use crate::exit::{Exit, Stop};
use crate::input::{self, Chosen};
use crate::output::{self, say};

/// Reads the pipeline, sets its steps up, and looks for its columns in the workbook.
pub(crate) fn check(args: &CheckArgs, secrets: &Secrets) -> Result<Exit, Stop> {
    let chosen = input::read(&args.pipeline)?;
    // On AWS they are set by Batch, so here they are only told.
    let parameters = stand_ins(&chosen.pipeline);
    for unusable in set_up(&chosen, parameters, secrets)? {
        say!("{unusable}");
    }
    for parameter in &chosen.pipeline.parameters {
        if let ParameterFrom::Upload { default: None, .. } = parameter.from {
            let name = &parameter.name;
            say!("each upload must give the parameter `{name}`: --set {name}=VALUE");
        }
    }
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

/// Values of the parameters, of which nobody can know those that an upload must give: no program
/// is started with them.
fn stand_ins(pipeline: &Pipeline) -> ParameterValues {
    let parameters = pipeline.parameters.iter();
    parameters
        .filter_map(|parameter| match &parameter.from {
            ParameterFrom::Pipeline(_) => None,
            ParameterFrom::Upload { default, .. } => {
                Some((parameter.name.clone(), default.clone().unwrap_or_default()))
            }
        })
        .collect()
}

/// Sets every step up, as a child will: what is wrong with an expression or a program is told
/// before the first record. Gives what is wrong with the secrets that it declares.
pub(crate) fn set_up(
    chosen: &Chosen,
    parameters: ParameterValues,
    secrets: &Secrets,
) -> Result<Vec<Unusable>, Stop> {
    let (secrets, unusable) = secrets.declared(&chosen.pipeline);
    let mut setup = Setup::new(1, &chosen.directory);
    setup.secrets = Arc::new(secrets);
    setup.parameters = Arc::new(parameters);
    let wrong: Vec<miette::Report> = (1..)
        .zip(&chosen.pipeline.steps)
        .filter_map(|(n, step)| {
            let e = match &step.kind {
                // What is not fetched yet cannot be set up.
                StepKind::Command(CommandStep {
                    fetch: Some(fetch), ..
                }) => check_local(fetch, &chosen.directory).err()?,
                _ => runner(step, &setup).err()?.to_string(),
            };
            let kind = step.kind_name();
            let e = setup.secrets.redact(&e);
            Some(miette!("pipeline {}: step {n} ({kind}): {e}", chosen.name))
        })
        .collect();
    Stop::all_refused(wrong).map_or(Ok(unusable), Err)
}
