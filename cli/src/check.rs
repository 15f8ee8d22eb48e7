//! `rowmill check`: everything that is wrong with a pipeline file, before it runs.

use std::sync::Arc;

use miette::miette;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_enrich::check_local;
use rowmill_pipeline::{CommandStep, ParameterSource, Pipeline, Step, StepKind};
use rowmill_steps::{SetupError, StepDeps, runner};

use crate::args::CheckArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, say};
use crate::pipeline_file::PipelineFile;
use crate::workbook;

/// Reads the pipeline, sets up its steps, and looks for its columns in the workbook.
pub(crate) fn check(args: &CheckArgs, secrets: &Secrets) -> Result<Exit, CliError> {
    let file = PipelineFile::read(&args.pipeline)?;
    // The pipeline may be meant for AWS, so this is a note and not an error.
    let needs = set_up(&file, placeholders(&file.pipeline), secrets)?;
    for need in &needs {
        say!("{need}");
    }
    for parameter in &file.pipeline.parameters {
        if let ParameterSource::Upload { default: None, .. } = parameter.from {
            let name = &parameter.name;
            say!("each upload must set the parameter `{name}`: --set {name}=VALUE");
        }
    }
    let mut fits = String::new();
    if let Some(workbook) = &args.workbook {
        workbook::require_file(workbook)?;
        let header = file.check_columns(workbook)?;
        fits = format!(
            "; {}, sheet `{}`, has the columns it needs",
            workbook.display(),
            header.sheet
        );
    }
    output::line(format_args!(
        "{}: ok, {}, {}, adds {}{fits}{}",
        args.pipeline.display(),
        counted(file.pipeline.steps.len(), "step"),
        counted(file.pipeline.checks.len(), "check"),
        match file.pipeline.added_columns() {
            added if added.is_empty() => "no columns".to_owned(),
            added => added.join(", "),
        },
        match needs.is_empty() {
            true => "",
            false => "; resolve the notes above before `rowmill run` on this machine",
        },
    ));
    Ok(Exit::Done)
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A value for each parameter that an upload sets, so that steps can be set up. No program is
/// started with them.
fn placeholders(pipeline: &Pipeline) -> ParameterValues {
    let parameters = pipeline.parameters.iter();
    parameters
        .filter_map(|parameter| match &parameter.from {
            ParameterSource::Pipeline(_) => None,
            ParameterSource::Upload { default, .. } => {
                Some((parameter.name.clone(), default.clone().unwrap_or_default()))
            }
        })
        .collect()
}

/// Sets up every step as a child does, so that errors in expressions and programs are reported
/// before the first record. Returns what is missing on this machine but may exist on AWS.
pub(crate) fn set_up(
    file: &PipelineFile,
    parameters: ParameterValues,
    secrets: &Secrets,
) -> Result<Vec<String>, CliError> {
    let (secrets, unusable) = file.pipeline.secret_values(secrets);
    let mut needs: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let mut wrong = Vec::new();
    let mut deps = StepDeps::new(1, &file.directory);
    deps.secrets = Arc::new(secrets);
    deps.parameters = Arc::new(parameters);
    for (n, step) in (1..).zip(&file.pipeline.steps) {
        let (machine_only, e) = match &step.kind {
            // A program that is not fetched yet cannot be set up.
            StepKind::Command(CommandStep {
                fetch: Some(fetch), ..
            }) => match check_local(fetch, &file.directory) {
                Ok(()) => continue,
                Err(e) => (false, e),
            },
            _ => match runner(step, &deps) {
                Ok(_) => continue,
                Err(e) => (concerns_this_machine_only(step, &e), e.to_string()),
            },
        };
        let e = deps.secrets.redact(&e);
        let message = format!(
            "pipeline {}: step {n} ({}): {e}",
            file.name,
            step.kind_name()
        );
        match machine_only {
            true => needs.push(message),
            false => wrong.push(miette!("{message}")),
        }
    }
    CliError::all_refused(wrong).map_or(Ok(needs), Err)
}

/// Whether this machine, and not the pipeline, causes the error: Amazon's services are available
/// to children on AWS, and a step's program may be in the step's own image.
fn concerns_this_machine_only(step: &Step, error: &SetupError) -> bool {
    match error {
        SetupError::NoAmazon => true,
        SetupError::ProgramNotFound { .. } => step.image.is_some(),
        _ => false,
    }
}
