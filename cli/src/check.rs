//! `rowmill check`: everything that is wrong with a pipeline file, before it runs.

use std::sync::Arc;

use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_enrich::check_local;
use rowmill_pipeline::{CommandStep, ParameterSource, Pipeline, Step, StepKind};
use rowmill_steps::{SetupError, StepDeps, runner};

use crate::args::CheckArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, counted, say};
use crate::pipeline_file::PipelineFile;
use crate::words::limits;
use crate::workbook;

/// Reads the pipeline, sets up its steps, and looks for its columns in the workbook. Everything that is
/// wrong is reported at once.
pub(crate) fn check(args: &CheckArgs, secrets: &Secrets) -> Result<Exit, CliError> {
    let workbook = args.workbook.as_deref();
    // Without a pipeline there is nothing to look for in the workbook, but it may be missing too.
    let found = workbook.map_or(Ok(()), workbook::require_file);
    let file = match (PipelineFile::read(&args.pipeline), found) {
        (Ok(file), Ok(())) => file,
        (Ok(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        (Err(mut error), Err(also)) => {
            error.reports.extend(also.reports);
            return Err(error);
        }
    };
    let mut wrong = Vec::new();
    // The pipeline may be meant for AWS, so these are warnings and not errors.
    let mut needs = Vec::new();
    match set_up(&file, placeholders(&file.pipeline), secrets) {
        Ok(found) => needs = found,
        Err(error) => wrong.extend(error.reports),
    }
    let mut fits = String::new();
    if let Some(workbook) = workbook {
        match file.check_columns(workbook) {
            Ok(header) => {
                fits = format!(
                    "; {}, sheet `{}`, has the columns it needs",
                    workbook.display(),
                    header.sheet
                );
            }
            Err(error) => wrong.extend(error.reports),
        }
    }
    for need in &needs {
        say!("warning: {need}");
    }
    for parameter in &file.pipeline.parameters {
        if let ParameterSource::Upload { default: None, .. } = parameter.from {
            let name = &parameter.name;
            say!("note: each upload must set the parameter `{name}`: --set {name}=VALUE");
        }
    }
    if let Some(error) = CliError::all_refused(wrong) {
        return Err(error);
    }
    output::line(format_args!(
        "{}: ok, {}, {}, adds {}{}{fits}{}",
        args.pipeline.display(),
        counted(file.pipeline.steps.len() as u64, "step"),
        counted(file.pipeline.checks.len() as u64, "check"),
        match file.pipeline.added_columns() {
            added if added.is_empty() => "no columns".to_owned(),
            added => added.join(", "),
        },
        match limits(&file.pipeline.batch) {
            None => String::new(),
            Some(limits) => format!("; limits: {limits}"),
        },
        match needs.is_empty() {
            true => "",
            false => "; resolve the notes above before `rowmill run` on this machine",
        },
    ));
    Ok(Exit::Done)
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
        for problem in problems(step, &deps, file) {
            let reason = deps.secrets.redact(&problem.reason);
            let message = format!("step {n} ({}): {reason}", step.kind_name());
            match problem.machine_only {
                true => needs.push(format!("pipeline {}: {message}", file.name)),
                false => {
                    let at = file.position(n, &problem.text);
                    wrong.push(file.error(at, message));
                }
            }
        }
    }
    CliError::all_refused(wrong).map_or(Ok(needs), Err)
}

/// A reason why a step cannot be set up.
struct Problem {
    reason: String,
    /// The text in the pipeline file that is wrong; empty if it is not known.
    text: String,
    machine_only: bool,
}

/// All reasons why a step cannot be set up.
fn problems(step: &Step, deps: &StepDeps, file: &PipelineFile) -> Vec<Problem> {
    // A program that is not fetched yet cannot be set up.
    if let StepKind::Command(CommandStep {
        fetch: Some(fetch), ..
    }) = &step.kind
    {
        let local = check_local(fetch, &file.directory).err();
        let local = local.map(|reason| Problem {
            reason,
            text: fetch.url.clone(),
            machine_only: false,
        });
        return local.into_iter().collect();
    }
    let mut found = Vec::new();
    let mut step = step.clone();
    while let Err(error) = runner(&step, deps) {
        let text = match &error {
            SetupError::Expression { expression, .. } => expression.clone(),
            SetupError::ProgramNotFound { program, .. } => program.clone(),
            SetupError::Header(name) => name.clone(),
            _ => String::new(),
        };
        found.push(Problem {
            reason: error.to_string(),
            text,
            machine_only: concerns_this_machine_only(&step, &error),
        });
        // The set-up ends at the first wrong output. Without that one it finds the next.
        let (SetupError::Expression { output, .. }, StepKind::Http(http)) =
            (&error, &mut step.kind)
        else {
            break;
        };
        let before = http.outputs.len();
        http.outputs.retain(|kept| kept.name != *output);
        if http.outputs.len() == before {
            break;
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_pipeline::PipelineError;

    #[test]
    fn every_error_of_every_step_has_its_line_and_its_cause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.toml");
        let toml = r#"
[[step]]
kind = "http"
url = "https://a.example/"
[step.outputs]
a = { css = "td..owner" }
b = { json = "$.b" }
c = { css = "td >" }

[[step]]
kind = "command"
program = ["no-such-program"]
outputs = ["d"]
"#;
        std::fs::write(&path, toml).unwrap();
        let args = |workbook: &str| CheckArgs {
            pipeline: path.clone(),
            workbook: Some(folder.path().join(workbook)),
        };
        std::fs::write(folder.path().join("a.csv"), "b,x\n1,2\n").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let check = |workbook: &str| {
            runtime.block_on(async { check(&args(workbook), &Secrets::default()) })
        };
        let wrong = check("a.csv").unwrap_err();
        let shown: Vec<String> = wrong
            .reports
            .iter()
            .map(|report| report.downcast_ref::<PipelineError>().unwrap().one_line())
            .collect();
        let [first, second, third, fourth] = shown.as_slice() else {
            panic!("{shown:#?}");
        };
        assert!(
            first.contains("pipeline.toml:6:14: step 1 (http): output `a`"),
            "{first}"
        );
        assert!(
            second.contains("pipeline.toml:8:14: step 1 (http): output `c`"),
            "{second}"
        );
        assert!(
            third.contains("pipeline.toml:12:13: step 2 (command)"),
            "{third}"
        );
        assert!(third.contains("no-such-program"), "{third}");
        assert!(fourth.contains("already has a column `b`"), "{fourth}");

        // A workbook that does not exist is reported with an unreadable pipeline.
        std::fs::write(&path, "[[step]]\n").unwrap();
        assert_eq!(check("none.csv").unwrap_err().reports.len(), 2);
    }

    #[test]
    fn swapped_arguments_are_detected() {
        let args = CheckArgs {
            pipeline: "customers.xlsx".into(),
            workbook: Some("pipeline.toml".into()),
        };
        let wrong = check(&args, &Secrets::default()).unwrap_err();
        let texts: Vec<String> = wrong.reports.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "customers.xlsx is a workbook, not a pipeline file",
                "pipeline.toml is a pipeline file, not a workbook"
            ]
        );
    }
}
