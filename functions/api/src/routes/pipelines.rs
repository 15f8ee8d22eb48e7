//! `GET /session` and `GET /pipelines`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::{PipelineName, keys};
use rowmill_pipeline::{BUILT_IN, Pipeline, StepKind};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::answer::with_etag;
use crate::problem::Problem;
use crate::service::Service;

/// Files that are read at the same time.
const AT_ONCE: usize = 16;

/// Who the caller is.
pub(crate) async fn session(State(service): State<Arc<Service>>, caller: Caller) -> Json<Value> {
    Json(json!({ "name": caller.name, "role": caller.role, "local": service.background.is_none() }))
}

/// The pipelines in the work bucket, then those that are built in.
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    _: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let invalid = service.host.refresh().await?;
    let mut names: Vec<PipelineName> = service
        .work
        .list_all(keys::PIPELINES)
        .try_filter_map(async |object| Ok(keys::pipeline_of(&object.key)))
        .try_collect()
        .await?;
    names.sort();
    for (name, _) in BUILT_IN {
        if let Ok(name) = name.parse()
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names.retain(|name| invalid.iter().all(|invalid| invalid.name != name.as_str()));
    let texts: Vec<(PipelineName, String)> = stream::iter(names)
        .map(async |name| {
            let text = service.pipeline_text(&name).await?;
            Ok::<_, Problem>((name, text))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut pipelines: Vec<Value> = texts
        .iter()
        .map(
            |(name, text)| match Pipeline::parse(&keys::pipeline(name), text) {
                Ok(pipeline) => as_json(name, &pipeline),
                Err(error) => unusable(name.as_str(), &error.one_line()),
            },
        )
        .collect();
    pipelines.extend(
        invalid
            .iter()
            .map(|invalid| unusable(&invalid.name, &invalid.error)),
    );
    with_etag(&headers, &json!({ "pipelines": pipelines }))
}

fn as_json(name: &PipelineName, pipeline: &Pipeline) -> Value {
    let steps: Vec<Value> = pipeline
        .steps
        .iter()
        .map(|step| {
            let kind = step.kind_name();
            json!({ "name": kind, "kind": kind, "columns": step.outputs() })
        })
        .collect();
    let predict = pipeline
        .steps
        .iter()
        .any(|step| matches!(step.kind, StepKind::Classify(_)));
    json!({
        "name": name,
        "description": pipeline.description,
        "columns": pipeline.input_columns(),
        "steps": steps,
        "review": pipeline.review.as_ref().map(|review| {
            json!({ "column": review.column, "labels": review.labels })
        }),
        "predict": predict,
        "error": null,
    })
}

/// A pipeline whose file has an error.
fn unusable(name: &str, error: &str) -> Value {
    json!({
        "name": name,
        "description": null,
        "columns": [],
        "steps": [],
        "review": null,
        "predict": false,
        "error": error,
    })
}
