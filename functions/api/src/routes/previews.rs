//! `POST /preview`: the first records of an uploaded workbook with their results.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use rowmill_domain::record::Json as AsJson;
use rowmill_domain::{PipelineName, Row, keys};
use rowmill_pipeline::Pipeline;
use rowmill_planning::{Quotas, plan};
use rowmill_runs::scratch_folder;
use rowmill_split::CutError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::uploads::{pipeline_name, uploaded};
use crate::access::{Caller, Role};
use crate::problem::Problem;
use crate::request::Body;
use crate::service::Service;

/// The time for a preview. API Gateway closes a connection after 30 seconds.
const WITHIN: Duration = Duration::from_secs(25);

/// The part of that time that reading the workbook may take, as one of this many.
const READING: u32 = 2;

/// The most records of a preview.
const MOST: u8 = 100;

/// The body of `POST /preview`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewPreview {
    /// The upload.
    upload: String,
    /// The pipeline.
    pipeline: String,
    /// How many records. Default 5.
    #[serde(default = "five")]
    limit: u8,
}

fn five() -> u8 {
    5
}

/// Runs the pipeline on the first records. What is wrong with the workbook or the pipeline is in
/// `problem`.
pub(crate) async fn preview(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(asked): Body<NewPreview>,
) -> Result<Json<Value>, Problem> {
    caller.require(Role::Operator)?;
    if !(1..=MOST).contains(&asked.limit) {
        return Err(Problem::invalid(format!(
            "`limit` must be from 1 to {MOST}."
        )));
    }
    let pipeline = pipeline_name(&asked.pipeline)?;
    let toml = service.pipeline_text(&pipeline).await?;
    let object = uploaded(&service, &asked.upload).await?;
    let preview = match service.host.check(&pipeline, &toml).await {
        Ok(()) => first_rows(&service, &pipeline, &toml, &object.key, asked.limit).await,
        Err(problem) => Err(problem),
    };
    let (preview, problem) = match preview {
        Ok(preview) => (preview, Value::Null),
        // The workbook or the pipeline, and not the request.
        Err(problem) if problem.status() == 400 => {
            let json = problem.json();
            let problem =
                json!({ "title": "The preview is not possible", "detail": json["detail"] });
            (Preview::default(), problem)
        }
        Err(problem) => return Err(problem),
    };
    let mut answer = serde_json::to_value(preview)?;
    if let Value::Object(members) = &mut answer {
        members.insert("problem".to_owned(), problem);
    }
    Ok(Json(answer))
}

/// Reads the workbook and processes its first records.
async fn first_rows(
    service: &Service,
    name: &PipelineName,
    toml: &str,
    key: &str,
    limit: u8,
) -> Result<Preview, Problem> {
    let began = Instant::now();
    let pipeline = Pipeline::parse(&keys::pipeline(name), toml);
    let pipeline = pipeline.map_err(|error| Problem::invalid(error.one_line()))?;
    let reading = WITHIN / READING;
    let folder = scratch_folder("rowmill-preview-")?;
    // Messages have the name of the file.
    let path = folder.path().join(keys::file_name(key));
    let download = timeout(reading, service.work.download(key, &path)).await;
    download.map_err(|_| takes_too_long())??;
    let parsed = pipeline.clone();
    let cut = tokio::task::spawn_blocking(move || {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let in_time = |_| match began.elapsed() < reading {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let cut = rowmill_split::cut(&path, &name, &parsed, None, in_time);
        let cut = cut.map_err(|error| match error {
            CutError::Refused(refusal) => {
                Problem::invalid(format!("{}. {}", refusal.what, refusal.advice))
            }
            CutError::Stopped => takes_too_long(),
            CutError::Temporary(error) => error.into(),
        })?;
        let sample = cut.sample(limit.into())?;
        Ok::<_, Problem>((cut.records(), cut.rejected_total(), sample))
    });
    let (count, rejected, (columns, records)) = cut.await??;
    let left = WITHIN.saturating_sub(began.elapsed());
    let outcomes = service.host.process(name, toml, &columns, &records, left);
    let outcomes = outcomes.await?;

    let mut names: Vec<String> = columns.names().iter().map(ToString::to_string).collect();
    for added in pipeline.added_columns() {
        if !names.contains(&added) {
            names.push(added);
        }
    }
    let rows = records.iter().zip(&outcomes).map(|(record, outcome)| {
        let outputs = outcome.as_ref().map_or(&[][..], |o| &o.outputs);
        let row = Row {
            columns: &columns,
            record,
            outputs,
        };
        let values = row.values().into_iter();
        PreviewRow {
            row: record.row,
            status: outcome.as_ref().map_or("unfinished", |o| o.status.name()),
            error: outcome.as_ref().and_then(|o| o.error.clone()),
            values: values
                .map(|(name, value)| (name.to_owned(), json!(AsJson(value))))
                .collect(),
        }
    });
    let plan = plan(&pipeline.work(count, None), &Quotas::default());
    let chosen = &plan.chosen;
    Ok(Preview {
        columns: names,
        rows: rows.collect(),
        records: count,
        rejected,
        plan: Some(PreviewPlan {
            cost_usd: chosen.cost.total(),
            makespan_seconds: chosen.makespan_seconds,
            children: chosen.children,
            bottleneck: chosen.bottleneck.name(),
        }),
    })
}

fn takes_too_long() -> Problem {
    Problem::invalid(format!(
        "Reading the workbook takes more than {} seconds, so it has no preview. Try a part of it, or \
         start the run.",
        (WITHIN / READING).as_secs()
    ))
}

/// The first records of a workbook with their results.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Preview {
    /// All columns, those that the pipeline adds at the end.
    columns: Vec<String>,
    /// The first records.
    rows: Vec<PreviewRow>,
    /// The records in the workbook.
    records: u64,
    /// The rows in the workbook that are rejected.
    rejected: u64,
    /// What a run on AWS would take and cost.
    plan: Option<PreviewPlan>,
}

/// A record of a preview.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct PreviewRow {
    /// The row number in the workbook.
    row: u32,
    /// `ok`, `failed`, or `unfinished`: the time was over first.
    status: &'static str,
    /// Why it failed.
    error: Option<String>,
    /// The values by column. Empty cells are left out.
    values: Map<String, Value>,
}

/// What a run on AWS would take and cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct PreviewPlan {
    /// US dollars.
    cost_usd: f64,
    /// Seconds from start to end.
    makespan_seconds: f64,
    /// The number of tasks.
    children: u64,
    /// What limits the time.
    bottleneck: &'static str,
}
