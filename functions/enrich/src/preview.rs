//! Runs a pipeline on a few records, in memory, without the cost of a run.

mod asked;
mod request;

use futures::StreamExt as _;
use futures::stream;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::{Columns, Outcome, PipelineName, Record, keys};
use rowmill_pipeline::{Pipeline, PipelineError, built_in};
use rowmill_runs::WorkBucket;

use crate::error::PreviewError;
use crate::host::HostResources;
use crate::record::{Task, Worker};
use crate::steps::phase_steps;

pub use request::preview_json;
pub(crate) use request::{PreviewRequest, columns, records};

/// Answers preview requests, with the services this needs.
pub struct Previews {
    /// The work bucket, which has the pipelines.
    pub work: WorkBucket,
    /// What this host offers to the steps.
    pub host: HostResources,
}

impl Previews {
    /// Parses `given`: the name of a pipeline in the work bucket or built in, or the text of one.
    pub(crate) async fn pipeline(&self, given: &str) -> Result<Pipeline, PreviewError> {
        let (file, text) = match given.parse::<PipelineName>() {
            Err(_) => ("the pipeline".to_owned(), given.to_owned()),
            Ok(name) => {
                let file = keys::pipeline(&name);
                let found = self.work.find(&file).await?;
                let found = found.map(|body| String::from_utf8_lossy(&body).into_owned());
                let text = found.or_else(|| built_in(given).map(str::to_owned));
                let text = text.ok_or_else(|| {
                    PreviewError::Request(format!(
                        "unknown pipeline `{given}`: the bucket {} has no {file}, and no built-in \
                         pipeline has this name",
                        self.work.name()
                    ))
                })?;
                (file, text)
            }
        };
        Pipeline::parse(&file, &text).map_err(|error| PreviewError::Request(error.one_line()))
    }
}

/// Runs all steps, checks and derived columns on `records`, several at once, as children do.
/// Nothing is stored or read from a run. `parameters` are the values that an upload would give.
///
/// The outcomes are in the order of the records; `None` for a record that was not finished when `stop`
/// resolved. In any case the steps are closed, and none of their programs keeps running.
///
/// # Errors
/// What is wrong with the pipeline or this host: a missing column, a step that cannot be prepared,
/// a parameter or a secret that is not set. A record never causes an error.
pub async fn preview(
    pipeline: &Pipeline,
    columns: &Columns,
    records: Vec<Record>,
    parameters: &ParameterValues,
    host: &HostResources,
    stop: impl Future<Output = ()>,
) -> Result<Vec<Option<Outcome>>, Vec<String>> {
    let header: Vec<String> = columns.names().iter().map(ToString::to_string).collect();
    let wrong = pipeline.check_columns(&header);
    if !wrong.is_empty() {
        return Err(wrong.iter().map(PipelineError::one_line).collect());
    }
    let parameters = pipeline.parameter_values(parameters)?;
    let setup = host.setup(pipeline, parameters)?;
    let all = 0..pipeline.steps.len();
    tokio::pin!(stop);
    let programs = tokio::select! {
        programs = host.programs(pipeline, all.clone()) => programs,
        () = &mut stop => return Ok(vec![None; records.len()]),
    };
    let programs = programs.map_err(|e| vec![e.into_message()])?;
    let worker = Worker {
        columns,
        phase: 0,
        steps: phase_steps(pipeline, all, &setup, &programs).map_err(|wrong| vec![wrong])?,
        checks: &pipeline.checks,
        derived: &pipeline.columns,
    };
    let mut outcomes = vec![None; records.len()];
    let tasks = records.into_iter().map(|record| Task {
        record,
        before: None,
    });
    {
        let worker = &worker;
        let finished = stream::iter(tasks.enumerate())
            .map(|(at, task)| async move { (at, worker.outcome(task).await) })
            .buffer_unordered(setup.concurrency.max(1));
        tokio::pin!(finished);
        loop {
            tokio::select! {
                next = finished.next() => match next {
                    Some((at, outcome)) => outcomes[at] = Some(outcome),
                    None => break,
                },
                () = &mut stop => break,
            }
        }
    }
    for step in &worker.steps {
        step.runner.close().await;
    }
    Ok(outcomes)
}
