//! The pipeline on a few records, in memory: before anyone pays for a run.

use futures::StreamExt as _;
use futures::stream;
use rowmill_domain::pipeline::{ParameterValues, PipelineError};
use rowmill_domain::{Columns, Outcome, Pipeline, Record};

use crate::record::Worker;
use crate::slice::Task;
use crate::{Surroundings, stage_steps};

/// Runs the steps of all stages, the checks and the derived columns on records of these columns, as
/// children do, several at once. Nothing is stored, and nothing is taken from a run. `parameters`
/// are given as an upload gives them. The outcomes are in the order of the records; `None` where
/// `stop` came first. Either way the steps are closed, and no program is left.
///
/// # Errors
/// What is wrong with the pipeline or the surroundings, for the person who wrote it: a column that
/// is not there, a step that cannot be set up, a parameter or a secret that is not set. Records
/// never are.
pub async fn preview(
    pipeline: &Pipeline,
    columns: &Columns,
    records: Vec<Record>,
    parameters: &ParameterValues,
    surroundings: &Surroundings,
    stop: impl Future<Output = ()>,
) -> Result<Option<Vec<Outcome>>, Vec<String>> {
    let header: Vec<String> = columns.names().iter().map(ToString::to_string).collect();
    let wrong = pipeline.check_columns(&header);
    if !wrong.is_empty() {
        return Err(wrong.iter().map(problem).collect());
    }
    let parameters = pipeline.parameter_values(parameters)?;
    let setup = surroundings.setup(pipeline, parameters)?;
    let all = 0..pipeline.steps.len();
    tokio::pin!(stop);
    let programs = tokio::select! {
        programs = surroundings.programs(pipeline, all.clone()) => programs,
        () = &mut stop => return Ok(None),
    };
    let programs = programs.map_err(|e| vec![e.told()])?;
    let worker = Worker {
        columns,
        stage: 0,
        steps: stage_steps(pipeline, all, &setup, &programs).map_err(|wrong| vec![wrong])?,
        checks: &pipeline.checks,
        derived: &pipeline.columns,
    };
    let tasks = records.into_iter().map(|record| Task {
        record,
        before: None,
    });
    let outcomes = stream::iter(tasks)
        .map(|task| worker.outcome(task))
        .buffered(setup.concurrency.max(1))
        .collect();
    let outcomes = tokio::select! {
        outcomes = outcomes => Some(outcomes),
        () = stop => None,
    };
    for step in &worker.steps {
        step.runner.close().await;
    }
    Ok(outcomes)
}

/// An error of a pipeline's file with its place: `reviews.toml:3:10: ..`.
pub(crate) fn problem(error: &PipelineError) -> String {
    let (line, column) = error.position();
    let file = error.file.name();
    match &error.help {
        Some(help) => format!("{file}:{line}:{column}: {error}; {help}"),
        None => format!("{file}:{line}:{column}: {error}"),
    }
}
