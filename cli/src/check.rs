//! `rowmill check`: everything that is wrong with a pipeline file, before it runs.

use std::sync::Arc;

use miette::miette;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_enrich::check_local;
use rowmill_pipeline::{CommandStep, ParameterFrom, Pipeline, Step, StepKind};
use rowmill_steps::{Setup, SetupError, runner};

use crate::args::CheckArgs;
use crate::exit::{Exit, Stop};
use crate::input::{self, Chosen};
use crate::output::{self, say};

/// Reads the pipeline, sets its steps up, and looks for its columns in the workbook.
pub(crate) fn check(args: &CheckArgs, secrets: &Secrets) -> Result<Exit, Stop> {
    let chosen = input::read(&args.pipeline)?;
    // The pipeline may be meant for AWS, so here it is only told.
    let lacks = set_up(&chosen, stand_ins(&chosen.pipeline), secrets)?;
    for lack in &lacks {
        say!("{lack}");
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
        "{}: ok, {}, {}, adds {}{fits}{}",
        args.pipeline.display(),
        counted(chosen.pipeline.steps.len(), "step"),
        counted(chosen.pipeline.checks.len(), "check"),
        match chosen.pipeline.added_columns() {
            added if added.is_empty() => "no columns".to_owned(),
            added => added.join(", "),
        },
        match lacks.is_empty() {
            true => "",
            false => "; `rowmill run` on this machine needs what is said above",
        },
    ));
    Ok(Exit::Done)
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
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
/// before the first record. Gives, in words, what this machine lacks and AWS may have.
pub(crate) fn set_up(
    chosen: &Chosen,
    parameters: ParameterValues,
    secrets: &Secrets,
) -> Result<Vec<String>, Stop> {
    let (secrets, unusable) = chosen.pipeline.secret_values(secrets);
    let mut lacks: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let mut wrong = Vec::new();
    let mut setup = Setup::new(1, &chosen.directory);
    setup.secrets = Arc::new(secrets);
    setup.parameters = Arc::new(parameters);
    for (n, step) in (1..).zip(&chosen.pipeline.steps) {
        let (of_machine, e) = match &step.kind {
            // What is not fetched yet cannot be set up.
            StepKind::Command(CommandStep {
                fetch: Some(fetch), ..
            }) => match check_local(fetch, &chosen.directory) {
                Ok(()) => continue,
                Err(e) => (false, e),
            },
            _ => match runner(step, &setup) {
                Ok(_) => continue,
                Err(e) => (is_of_machine(step, &e), e.to_string()),
            },
        };
        let e = setup.secrets.redact(&e);
        let told = format!(
            "pipeline {}: step {n} ({}): {e}",
            chosen.name,
            step.kind_name()
        );
        match of_machine {
            true => lacks.push(told),
            false => wrong.push(miette!("{told}")),
        }
    }
    Stop::all_refused(wrong).map_or(Ok(lacks), Err)
}

/// Whether this machine is the reason, and not the pipeline: Amazon's services are asked by
/// children on AWS, and the program of a step may be in the step's own image.
fn is_of_machine(step: &Step, error: &SetupError) -> bool {
    match error {
        SetupError::NoAmazon => true,
        SetupError::ProgramNotFound { .. } => step.image.is_some(),
        _ => false,
    }
}
