//! `GET /runs`: list all runs, show one, and download its workbook.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::archive::ArchiveInfo;
use rowmill_domain::{Manifest, RunId, RunItem, RunState, keys};
use rowmill_pipeline::from_manifest;
use rowmill_ports::Optional;
use rowmill_runs::{ManifestLoadError, find_manifest, scratch_folder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reviews::labels;
use super::rows::summary;
use crate::access::{Caller, Role};
use crate::answer::{XLSX, file, file_in_bucket, with_etag};
use crate::problem::Problem;
use crate::request::{InPath, Parameters, run_id, unknown_run};
use crate::service::Service;

/// Runs in a page by default, and at most.
const PAGE: usize = 50;
const PAGE_MOST: usize = 200;

/// The most runs that one request reads to find those that a filter matches.
const READ_MOST: usize = 500;

/// Runs about which something is read at the same time.
const AT_ONCE: usize = 16;

/// The parameters of `GET /runs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub(crate) struct Filter {
    after: Option<String>,
    limit: Option<usize>,
    #[cfg_attr(feature = "openapi", param(value_type = Option<crate::openapi::RunState>))]
    state: Option<RunState>,
    pipeline: Option<String>,
}

/// The runs, newest first.
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    headers: HeaderMap,
    Parameters(filter): Parameters<Filter>,
) -> Result<Response, Problem> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MOST).contains(&limit) {
        return Err(Problem::invalid(format!(
            "`limit` must be from 1 to {PAGE_MOST}."
        )));
    }
    let mut before = filter.after.as_deref().map(parse_cursor).transpose()?;
    let fits = |run: &RunItem| {
        filter.state.is_none_or(|state| run.state == state)
            && filter
                .pipeline
                .as_ref()
                .is_none_or(|name| run.id.pipeline().as_str() == name)
    };
    let (mut found, mut read, mut end) = (Vec::new(), 0, false);
    while found.len() <= limit && read < READ_MOST && !end {
        // One more than the page, to know whether there is another page.
        let wanted = limit + 1;
        let runs = service.runs.newest_runs(before.as_ref(), wanted).await?;
        end = runs.len() < wanted;
        read += runs.len();
        before = runs.last().map(|run| (run.created, run.id.clone()));
        let runs: Vec<RunItem> = stream::iter(runs.into_iter().filter(fits))
            .map(async |run| {
                let read = may_read(&service, &caller, &run).await?;
                Ok::<_, Problem>(read.then_some(run))
            })
            .buffered(AT_ONCE)
            .try_filter_map(async |run| Ok(run))
            .try_collect()
            .await?;
        found.extend(runs);
    }
    let next = match (found.get(limit - 1), end) {
        (Some(last), _) if found.len() > limit => Some(cursor(last.created, &last.id)),
        // Few runs fit: the next page continues where this one stopped.
        (_, false) => before.map(|(created, id)| cursor(created, &id)),
        (_, true) => None,
    };
    found.truncate(limit);
    let runs: Vec<Value> = stream::iter(found)
        .map(async |run| Ok::<_, Problem>(as_json(&run, cost(&service, &run).await?)))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    with_etag(&headers, &json!({ "runs": runs, "next": next }))
}

/// `<epoch nanoseconds>_<run>`: the position after a run.
fn cursor(created: DateTime<Utc>, id: &RunId) -> String {
    let nanos = created.timestamp_nanos_opt().unwrap_or_default();
    format!("{nanos}_{id}")
}

fn parse_cursor(text: &str) -> Result<(DateTime<Utc>, RunId), Problem> {
    let parsed = text.split_once('_').and_then(|(nanos, run)| {
        let created = DateTime::from_timestamp_nanos(nanos.parse().ok()?);
        Some((created, run.parse().ok()?))
    });
    parsed.ok_or_else(|| Problem::invalid("`after` must be the `next` of another page."))
}

/// What a run costs so far at the list prices of AWS, in USD. `None`: split has not ended, so nothing is
/// known yet.
async fn cost(service: &Service, run: &RunItem) -> Result<Option<f64>, Problem> {
    if run.used.is_some() || run.cost_rates.is_none() {
        return Ok(run.cost_usd(None));
    }
    // Without its table, what the children did is not known any more.
    let tally = service.outcomes.tally(&run.id).await.optional()?;
    Ok(run.cost_usd(tally.as_ref()))
}

fn as_json(run: &RunItem, cost: Option<f64>) -> Value {
    // Until split has ended, nothing is counted.
    let counts = (run.counts.records + run.counts.rejected > 0).then_some(run.counts);
    json!({
        "run": run.id,
        "pipeline": run.id.pipeline(),
        "file": keys::file_name(&run.source.key),
        "state": run.state,
        "created": run.created,
        "updated": run.updated,
        "counts": counts,
        "cost_usd": cost,
        "stopped": run.stop.as_ref().map(ToString::to_string),
    })
}

/// What is known about a run, besides its item.
pub(crate) struct Known {
    /// `None` before split has ended.
    pub(crate) manifest: Option<Manifest>,
    /// `None` before the result exists.
    pub(crate) archive: Option<ArchiveInfo>,
}

impl Known {
    pub(crate) async fn load(service: &Service, run: &RunItem) -> Result<Known, Problem> {
        if let Some(json) = service.work.find(&keys::about(&run.id)).await? {
            let archive = ArchiveInfo::from_json(&json)?;
            return Ok(Known {
                manifest: Some(archive.manifest.clone()),
                archive: Some(archive),
            });
        }
        let manifest = match find_manifest(&service.work, &run.id).await {
            Ok(manifest) => manifest,
            Err(ManifestLoadError::Port(error)) => return Err(error.into()),
            Err(error) => return Err(Problem::internal(&error)),
        };
        Ok(Known {
            manifest,
            archive: None,
        })
    }
}

/// A run that exists, and that the caller may read. Others are as if they did not exist.
pub(crate) async fn find(
    service: &Service,
    caller: &Caller,
    run: &str,
) -> Result<RunItem, Problem> {
    let id = run_id(run)?;
    match service.runs.find_run(&id).await? {
        Some(found) if may_read(service, caller, &found).await? => Ok(found),
        _ => Err(unknown_run(run)),
    }
}

/// Whether the caller may read a run: an operator all, others their own, and a reviewer also those whose
/// pipeline lets them review.
async fn may_read(service: &Service, caller: &Caller, run: &RunItem) -> Result<bool, Problem> {
    if caller.role == Role::Operator || run.owner.as_ref() == Some(&caller.name) {
        return Ok(true);
    }
    // A retry belongs to the owner of the workbook.
    if run.owner.is_none() && run.id.retry_number().is_some() {
        let original = service.runs.find_run(&run.id.original()).await?;
        if original.is_some_and(|run| run.owner.as_ref() == Some(&caller.name)) {
            return Ok(true);
        }
    }
    if caller.role != Role::Reviewer {
        return Ok(false);
    }
    let known = Known::load(service, run).await?;
    let pipeline = known.manifest.as_ref().and_then(|m| from_manifest(m).ok());
    let review = pipeline.and_then(|pipeline| pipeline.review);
    Ok(review.is_some_and(|review| caller.require_reviewer(Some(&review)).is_ok()))
}

/// A run with its progress, its reasons and its reviews.
pub(crate) async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = find(&service, &caller, &run).await?;
    let known = Known::load(&service, &run).await?;
    let mut answer = as_json(&run, cost(&service, &run).await?);
    let of = known.manifest.as_ref().map(|manifest| manifest.records);
    let processed = match (run.state, &known.manifest) {
        (RunState::Splitting, _) | (_, None) => Some(0),
        (RunState::Running, Some(manifest)) => service.host.processed(&run, manifest).await?,
        (_, Some(manifest)) => Some(manifest.records),
    };
    let rate = match (run.state, processed) {
        (RunState::Running, Some(processed)) => {
            service.rates.add(&run.id, Instant::now(), processed)
        }
        _ => None,
    };
    let left = of.zip(processed).map(|(of, done)| of.saturating_sub(done));
    let seconds_left = match (rate, left) {
        (Some(rate), Some(left)) if rate > 0.0 => Some((left as f64 / rate).ceil()),
        _ => None,
    };
    let jobs = service.runs.jobs(&run.id).await?;
    let ended = jobs.iter().filter(|job| job.ended).count();
    let archived = known.archive.as_ref();
    let reasons: Vec<Value> = archived
        .iter()
        .flat_map(|archive| &archive.reasons)
        .map(|reason| {
            json!({
                "status": reason.status,
                "reason": reason.text,
                "count": reason.count,
                "example_row": reason.rows.first(),
                "advice": reason.advice,
            })
        })
        .collect();
    let failure = match &run.failure {
        Some(failure) => Some(json!(failure)),
        None if run.state.is_terminal() => None,
        None => service.host.stuck(&run).await?.map(|stuck| {
            json!({
                "stage": stuck.stage,
                "what": format!("{} failed on every attempt: {}", stuck.stage, stuck.error),
                "advice": "Fix the cause, then start `rowmill serve` again: the run continues.",
            })
        }),
    };
    let (mut review, mut reviews, mut accuracy) = (Value::Null, Value::Null, json!([]));
    if run.state.is_terminal()
        && let Some(manifest) = &known.manifest
        && let Ok(pipeline) = from_manifest(manifest)
        && let Some(spec) = &pipeline.review
        && let Ok(index) = service.indexes.get(&service.work, &run).await
    {
        let labels = labels(&service, &index, &pipeline, spec).await;
        review = json!({ "column": spec.column, "labels": labels });
        (reviews, accuracy) = summary(&service, &run.id, &index).await?;
    }
    let more = json!({
        "processed": processed,
        "rate_per_second": rate.map(|rate| (rate * 10.0).round() / 10.0),
        "seconds_left": seconds_left,
        "jobs": { "total": run.jobs.map_or(jobs.len(), |total| total as usize), "ended": ended },
        "reasons": reasons,
        "failure": failure,
        "workbook": run.result.is_some(),
        "cost": run.cost_report(),
        "review": review,
        "reviews": reviews,
        "accuracy": accuracy,
    });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    with_etag(&headers, &answer)
}

/// The result workbook.
pub(crate) async fn workbook(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = find(&service, &caller, &run).await?;
    let Some(key) = &run.result else {
        return Err(match run.state.is_terminal() {
            true => Problem::not_found("The run failed, so it has no result."),
            false => Problem::conflict("The run has not ended yet, so it has no result."),
        });
    };
    if service.background.is_some() {
        return file_in_bucket(&service, &headers, key).await;
    }
    let folder = scratch_folder("rowmill-download-")?;
    let path = folder.path().join("workbook");
    service.work.download(key, &path).await?;
    file(&path, XLSX, keys::file_name(key)).await
}
