//! Start, stop, retry and delete runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use rowmill_domain::message::{RetryRequest, RetryRows, RunMessage};
use rowmill_domain::run::{StopReason, UploadSource};
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::{ErrorKind, ObjectInfo, Optional, Put, RunPatch};
use rowmill_runs::{Stopped, Transition, retries_of, retries_of_upload, stop};
use rowmill_split::{NOTIFY_METADATA, SUBMITTER_METADATA};
use serde::Deserialize;
use serde_json::{Value, json};

use super::runs::find;
use super::uploads::{PIPELINE_METADATA, pipeline_name, uploaded};
use crate::access::{Caller, Role};
use crate::problem::Problem;
use crate::request::{Body, InPath, unknown_run};
use crate::service::Service;

/// The body of `POST /runs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewRun {
    /// The upload.
    upload: String,
    /// The pipeline.
    pipeline: String,
}

/// Starts the run of an upload. Repeated, it returns the same run.
pub(crate) async fn start(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewRun>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.require(Role::Operator)?;
    let name = pipeline_name(&new.pipeline)?;
    let (toml, _) = service.pipeline(&name).await?;
    let uploaded = uploaded(&service, &new.upload).await?;
    let uploaded = service.work.head(&uploaded.key).await?;
    let meant = uploaded.metadata.get(PIPELINE_METADATA);
    if meant.is_some_and(|meant| meant != name.as_str()) {
        return Err(Problem::invalid(
            "The upload is for another pipeline. POST /uploads starts one for this pipeline.",
        ));
    }
    service.host.check(&name, &toml).await?;

    // The name of the upload in the key makes the run of an upload the same each time.
    let key = format!("{name}/{}/{}", new.upload, keys::file_name(&uploaded.key));
    let object = into_inbox(&service, &uploaded, &key).await?;
    let version = object.version.as_ref().unwrap_or(&object.etag);
    let bucket = service.inbox.name();
    let run = RunId::new(bucket, &key, version, object.modified, name.as_str());
    service.host.announce(&object).await?;
    // Split does the same when it receives the event. Until then, the run can already be found.
    let source = UploadSource {
        bucket: bucket.to_owned(),
        key,
        version: version.clone(),
        size: object.size,
        uploaded: object.modified,
    };
    let mut item = RunItem::new(run.clone(), source, Utc::now());
    item.owner = Some(caller.name.clone());
    if !service.runs.create_run(&item).await? {
        // Split was faster, or the request is repeated.
        let fields = RunPatch {
            owner: Some(caller.name),
            ..RunPatch::default()
        };
        let change = Transition::RecordOwner;
        change
            .apply(&*service.runs, &run, fields, Utc::now())
            .await?;
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "run": run }))))
}

/// Copies an upload into the inbox, once.
async fn into_inbox(
    service: &Service,
    uploaded: &ObjectInfo,
    key: &str,
) -> Result<ObjectInfo, Problem> {
    let (inbox, from) = (&service.inbox, service.work.location(&uploaded.key));
    if let Some(object) = inbox.head(key).await.optional()? {
        return Ok(object);
    }
    let kept = [SUBMITTER_METADATA, NOTIFY_METADATA];
    let metadata = uploaded.metadata.iter();
    let metadata = metadata.filter(|(name, _)| kept.contains(&name.as_str()));
    let put = Put {
        metadata: metadata.map(|(n, v)| (n.clone(), v.clone())).collect(),
        if_absent: true,
        ..Put::default()
    };
    match inbox.objects().copy(&from, inbox.name(), key, put).await {
        // The same request, at the same time.
        Err(error) if error.kind == ErrorKind::Conflict => Ok(inbox.head(key).await?),
        copied => Ok(copied?),
    }
}

/// Stops a run. The records that are done are delivered. Safe to repeat.
pub(crate) async fn cancel(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.require(Role::Operator)?;
    let run = find(&service, &caller, &run).await?;
    let reason = StopReason::Cancelled { by: caller.name };
    let (runs, topic) = (&*service.runs, &*service.topic);
    match stop(runs, topic, &run.id, reason, Utc::now()).await? {
        Stopped::Now | Stopped::Before(_) => Ok((StatusCode::ACCEPTED, Json(json!({})))),
        Stopped::TooLate(state) => Err(Problem::conflict(format!(
            "The run is {}: there is nothing left to stop.",
            state.name().replace('_', " ")
        ))),
    }
}

/// Deletes a run with its workbook, its result, its rows and its reviews. Safe to repeat.
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Role::Operator)?;
    let run = find(&service, &caller, &run).await?;
    let in_progress = |id: &RunId| {
        Problem::conflict(format!(
            "Run {id} has not ended, and it needs what would be deleted. Wait for its end, or cancel it \
             first."
        ))
    };
    if !run.state.is_terminal() {
        return Err(in_progress(&run.id));
    }
    if run.cleaned.is_none() {
        return Err(Problem::conflict(
            "The run has just ended, and what it no longer needs is being removed. Try again in a few \
             seconds.",
        ));
    }
    // A retry reads the rows of the run before.
    if let Some(retries) = retries_of(&*service.runs, &service.work, &run.id).await?
        && !retries.latest.state.is_terminal()
    {
        return Err(in_progress(&retries.latest.id));
    }
    service.indexes.forget(&run.id);
    service.reviews.delete_reviews(&run.id).await?;
    let results = keys::results_prefix(&run.id);
    service.work.delete_all(&results).await?;
    let exports = keys::exports_prefix(&run.id);
    service.work.delete_all(&exports).await?;
    // A retry has the workbook of its run, which other retries of it may need.
    if run.id.retry_number().is_none() {
        remove_upload(&service, &run).await?;
    }
    // Last: until then, the request can be repeated.
    service.runs.delete_run(&run.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the workbook of a run from the inbox, unless another one has taken its place.
async fn remove_upload(service: &Service, run: &RunItem) -> Result<(), Problem> {
    let key = &run.source.key;
    let Some(object) = service.inbox.head(key).await.optional()? else {
        return Ok(());
    };
    if object.version.as_ref().unwrap_or(&object.etag) == &run.source.version {
        let inbox = service.inbox.objects();
        inbox
            .delete(&run.source.bucket, std::slice::from_ref(key))
            .await?;
    }
    Ok(())
}

/// The body of `POST /runs/{run}/retry`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewRetry {
    /// Which rows. By default those that failed or are missing.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::RetryRows))]
    #[serde(default)]
    rows: RetryRows,
}

/// Processes rows of a run again, as another run. Safe to repeat: the same retry has the same id.
pub(crate) async fn retry(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    Body(body): Body<NewRetry>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.require(Role::Operator)?;
    let run = find(&service, &caller, &run).await?;
    let (runs, work) = (&*service.runs, &service.work);
    let retries = retries_of_upload(runs, work, &run.id).await?;
    let retries = retries.ok_or_else(|| unknown_run(&run.id))?;
    if !retries.latest.state.is_terminal() {
        return Err(Problem::conflict(format!(
            "Run {} has not ended. Retry it when it has, or cancel it first.",
            retries.latest.id
        )));
    }
    let (Some(base), Some(next)) = (retries.base, retries.next) else {
        return Err(Problem::conflict(
            "The run cannot be retried, because it has no archived rows. Upload the workbook again.",
        ));
    };
    let request = RetryRequest {
        run: base,
        retry: Some(next.clone()),
        rows: body.rows,
        pipeline: None,
    };
    service.topic.publish(&RunMessage::Retry(request)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "run": next }))))
}
