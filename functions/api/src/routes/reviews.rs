//! Verdicts: on a row, on several rows, and on all rows that a filter matches.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::Utc;
use rowmill_domain::review::{EVENTS_MAX, FilterVerdict, ReviewEvent, Verdict};
use rowmill_domain::{RunItem, Status};
use rowmill_pipeline::{Pipeline, ReviewSpec, from_manifest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rows::{RowFilter, matching, review_json};
use super::runs::find;
use crate::access::{Caller, Role};
use crate::indexed::Indexed;
use crate::problem::Problem;
use crate::request::{Body, InPath, idempotency_key, write_id};
use crate::reviewed::{Positions, Reviewed};
use crate::service::Service;

/// The most verdicts in one request.
const BATCH: usize = 100;

/// The most verdicts on filters of a run.
const FILTERS: usize = 100;

/// The longest value of an override, in bytes.
const VALUE_BYTES: usize = 1000;

/// A run under review.
struct UnderReview {
    run: RunItem,
    index: Arc<Indexed>,
    column: String,
    labels: Vec<String>,
}

impl UnderReview {
    /// Finds the run, and checks that the caller may review it.
    async fn find(service: &Service, caller: &Caller, run: &str) -> Result<UnderReview, Problem> {
        caller.require(Role::Reviewer)?;
        let run = find(service, caller, run).await?;
        let index = service.indexes.get(&service.work, &run).await?;
        let pipeline = from_manifest(&index.manifest).map_err(|error| Problem::internal(&error))?;
        let Some(review) = &pipeline.review else {
            return Err(Problem::conflict(
                "The pipeline of this run has no `[[review]]`, so nothing is reviewed.",
            ));
        };
        caller.require_reviewer(Some(review))?;
        let labels = labels(service, &index, &pipeline, review).await;
        Ok(UnderReview {
            column: review.column.clone(),
            labels,
            run,
            index,
        })
    }

    /// Checks a verdict against the row, and stores it.
    async fn decide(
        &self,
        service: &Service,
        caller: &Caller,
        reviewed: &mut Reviewed,
        asked: &Decision<'_>,
    ) -> Result<Value, Problem> {
        let row = asked.row;
        let Some(position) = self.index.position(row) else {
            return Err(Problem::not_found(format!(
                "The run has no row {row}. Rejected rows cannot be reviewed."
            )));
        };
        if self.index.rows[position].status != Status::Ok {
            return Err(Problem::conflict(format!(
                "Row {row} is not finished, so there is nothing to review."
            )));
        }
        let prediction = self.index.prediction(position);
        let value = match (asked.verdict, asked.value, prediction) {
            (Verdict::Undo, _, _) => None,
            (Verdict::Approve, _, Some(prediction)) => Some(prediction.to_owned()),
            (Verdict::Approve, _, None) => {
                return Err(Problem::conflict(format!(
                    "Row {row} has no prediction to approve. Override it."
                )));
            }
            (Verdict::Override, Some(value), _) => {
                self.check_value(value)?;
                Some(value.to_owned())
            }
            (Verdict::Override, None, _) => {
                return Err(Problem::invalid("An override needs a `value`."));
            }
        };
        let (current, version) = reviewed.at(&self.index, position);
        let events = reviewed.events(row);
        let repeated = asked.key.is_some()
            && events.last().is_some_and(|last| {
                last.key.as_deref() == asked.key && last.verdict == asked.verdict
            });
        if repeated {
            return Ok(review_json(current.as_ref(), version));
        }
        // A caller that saw an open row does not know how often it was undone.
        let seen = asked.version == version || (current.is_none() && asked.version == 0);
        if !seen {
            return Err(changed(row, review_json(current.as_ref(), version)));
        }
        if asked.verdict == Verdict::Undo && current.is_none() {
            return Err(Problem::conflict(format!(
                "Row {row} has no verdict to undo."
            )));
        }
        if events.len() >= EVENTS_MAX {
            return Err(Problem::conflict(format!(
                "Row {row} has {EVENTS_MAX} changes, which is the limit."
            )));
        }
        let event = ReviewEvent {
            verdict: asked.verdict,
            value,
            reviewer: caller.name.clone(),
            time: Utc::now(),
            key: asked.key.map(str::to_owned),
        };
        let stored = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let reviews = &*service.reviews;
        if !reviews
            .add_review(&self.run.id, row, stored, &event)
            .await?
        {
            let present = Reviewed::of(reviews, &self.run.id, &[row]).await?;
            let (current, version) = present.at(&self.index, position);
            return Err(changed(row, review_json(current.as_ref(), version)));
        }
        reviewed.add(row, event);
        let (current, version) = reviewed.at(&self.index, position);
        Ok(review_json(current.as_ref(), version))
    }

    fn check_value(&self, value: &str) -> Result<(), Problem> {
        let known = self.labels.iter().any(|label| label == value);
        match known && value.len() <= VALUE_BYTES {
            true => Ok(()),
            false => Err(Problem::invalid(format!(
                "The value must be one of the labels of `{}`: {}.",
                self.column,
                self.labels.join(", ")
            ))),
        }
    }
}

/// The values that a reviewer can choose: those that the pipeline names, or those of the model and in the
/// result.
pub(crate) async fn labels(
    service: &Service,
    index: &Indexed,
    pipeline: &Pipeline,
    review: &ReviewSpec,
) -> Vec<String> {
    if !review.labels.is_empty() {
        return review.labels.clone();
    }
    let mut labels = pipeline.fixed_labels(&review.column);
    let manifest = &index.manifest;
    let (name, toml) = (&manifest.pipeline, &manifest.pipeline_toml);
    let of_model = service.host.labels(name, toml, &review.column).await;
    labels.extend(of_model);
    labels.extend(index.info.labels.iter().cloned());
    labels.sort();
    labels.dedup();
    labels
}

fn changed(row: u32, review: Value) -> Problem {
    Problem::conflict(format!(
        "Somebody else reviewed row {row} in the meantime. Look at their verdict."
    ))
    .with("review", review)
}

/// A verdict on a row.
struct Decision<'a> {
    row: u32,
    verdict: Verdict,
    value: Option<&'a str>,
    version: u32,
    key: Option<&'a str>,
}

/// The body of an approval and of an undo.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct Seen {
    /// The version that the caller saw. 0: no verdict.
    #[serde(default)]
    version: u32,
}

/// The body of an override.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewValue {
    value: String,
    column: Option<String>,
    #[serde(default)]
    version: u32,
}

pub(crate) async fn approve(
    service: State<Arc<Service>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    Body(seen): Body<Seen>,
) -> Result<Json<Value>, Problem> {
    one(
        service,
        caller,
        path,
        headers,
        Verdict::Approve,
        None,
        seen.version,
    )
    .await
}

pub(crate) async fn override_(
    service: State<Arc<Service>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    Body(new): Body<NewValue>,
) -> Result<Json<Value>, Problem> {
    let value = Some((new.value, new.column));
    one(
        service,
        caller,
        path,
        headers,
        Verdict::Override,
        value,
        new.version,
    )
    .await
}

pub(crate) async fn undo(
    service: State<Arc<Service>>,
    caller: Caller,
    path: InPath<(String, String)>,
    headers: HeaderMap,
    Body(seen): Body<Seen>,
) -> Result<Json<Value>, Problem> {
    one(
        service,
        caller,
        path,
        headers,
        Verdict::Undo,
        None,
        seen.version,
    )
    .await
}

/// A verdict on one row.
async fn one(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath((run, row)): InPath<(String, String)>,
    headers: HeaderMap,
    verdict: Verdict,
    value: Option<(String, Option<String>)>,
    version: u32,
) -> Result<Json<Value>, Problem> {
    let under = UnderReview::find(&service, &caller, &run).await?;
    let row = row.parse::<u32>();
    let row = row.map_err(|_| Problem::not_found("A row is a number, as in the input."))?;
    if let Some((_, Some(column))) = &value
        && *column != under.column
    {
        return Err(Problem::invalid(format!(
            "The reviewed column is `{}`.",
            under.column
        )));
    }
    let mut reviewed = Reviewed::of(&*service.reviews, &under.run.id, &[row]).await?;
    let asked = Decision {
        row,
        verdict,
        value: value.as_ref().map(|(value, _)| value.as_str()),
        version,
        key: idempotency_key(&headers)?,
    };
    let review = under.decide(&service, &caller, &mut reviewed, &asked).await;
    review.map(Json)
}

/// The body of `POST /runs/{run}/reviews`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct Batch {
    verdicts: Vec<BatchVerdict>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct BatchVerdict {
    row: u32,
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Verdict))]
    verdict: Verdict,
    value: Option<String>,
    #[serde(default)]
    version: u32,
}

/// Several verdicts, in order. Each has its own result.
pub(crate) async fn batch(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    headers: HeaderMap,
    Body(batch): Body<Batch>,
) -> Result<Json<Value>, Problem> {
    let count = batch.verdicts.len();
    if !(1..=BATCH).contains(&count) {
        return Err(Problem::invalid(format!(
            "A request has 1 to {BATCH} verdicts."
        )));
    }
    let under = UnderReview::find(&service, &caller, &run).await?;
    let rows: Vec<u32> = batch.verdicts.iter().map(|verdict| verdict.row).collect();
    let mut reviewed = Reviewed::of(&*service.reviews, &under.run.id, &rows).await?;
    let key = idempotency_key(&headers)?;
    let mut results = Vec::with_capacity(count);
    for (at, verdict) in batch.verdicts.iter().enumerate() {
        // Several verdicts on a row are different writes.
        let key = key.map(|key| format!("{key}#{at}"));
        let asked = Decision {
            row: verdict.row,
            verdict: verdict.verdict,
            value: verdict.value.as_deref(),
            version: verdict.version,
            key: key.as_deref(),
        };
        let repeated = asked.key.and_then(|key| {
            let mut events = reviewed.events(asked.row).iter();
            events.find(|event| event.key.as_deref() == Some(key))
        });
        let result = match repeated {
            Some(_) => Ok(current(&under, &reviewed, asked.row)),
            None => under.decide(&service, &caller, &mut reviewed, &asked).await,
        };
        results.push(match result {
            Ok(review) => json!({ "row": verdict.row, "review": review, "problem": null }),
            // The service failed: what was stored is recognized when the request is repeated.
            Err(problem) if problem.status() >= 500 => return Err(problem),
            Err(problem) => {
                let problem = problem.json();
                json!({ "row": verdict.row, "review": problem["review"], "problem": problem })
            }
        });
    }
    Ok(Json(json!({ "results": results })))
}

fn current(under: &UnderReview, reviewed: &Reviewed, row: u32) -> Value {
    let Some(position) = under.index.position(row) else {
        return Value::Null;
    };
    let (review, version) = reviewed.at(&under.index, position);
    review_json(review.as_ref(), version)
}

/// The value of an override, or `None` for an approval. Nothing else is a verdict here.
pub(super) fn override_value(
    verdict: Verdict,
    value: Option<String>,
) -> Result<Option<String>, Problem> {
    match (verdict, value) {
        (Verdict::Override, Some(value)) => Ok(Some(value)),
        (Verdict::Approve, None) => Ok(None),
        _ => Err(Problem::invalid(
            "`verdict` must be `approve` without a `value`, or `override` with one.",
        )),
    }
}

/// The body of `POST /runs/{run}/reviews/filter`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewFilter {
    #[serde(default)]
    filter: RowFilter,
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Verdict))]
    verdict: Verdict,
    value: Option<String>,
}

/// One verdict on all rows that a filter matches.
pub(crate) async fn filter(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(run): InPath<String>,
    headers: HeaderMap,
    Body(new): Body<NewFilter>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let under = UnderReview::find(&service, &caller, &run).await?;
    let value = override_value(new.verdict, new.value)?;
    if let Some(value) = &value {
        under.check_value(value)?;
    }
    // Verdicts that others give while the rows are chosen count more.
    let time = Utc::now();
    let id = write_id(&headers, &caller, &[under.run.id.as_str(), "filter"])?;
    let reviewed = Reviewed::all(&*service.reviews, &under.run.id).await?;
    if reviewed.filter_count() >= FILTERS {
        return Err(Problem::conflict(format!(
            "The run has {FILTERS} verdicts on filters, which is the limit."
        )));
    }
    let index = &under.index;
    let (mut rows, mut count) = (Positions::default(), 0);
    for position in matching(&service, index, &reviewed, &new.filter).await? {
        let has_prediction = value.is_some() || index.prediction(position).is_some();
        if index.rows[position].status == Status::Ok && has_prediction {
            rows.add(position);
            count += 1;
        }
    }
    let verdict = FilterVerdict {
        id: id.clone(),
        verdict: new.verdict,
        value,
        reviewer: caller.name.clone(),
        time,
        count,
        rows: rows.write()?,
        undone: None,
    };
    // `false`: the same request was stored before, with its count.
    if !service.reviews.put_filter(&under.run.id, &verdict).await? {
        let all = service.reviews.filters(&under.run.id).await?;
        let stored = all.iter().find(|filter| filter.id == id);
        count = stored.map_or(count, |filter| filter.count);
    }
    let answer = json!({ "count": count, "filter_verdict": id });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Undoes a verdict on a filter, for all its rows.
pub(crate) async fn undo_filter(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath((run, id)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let under = UnderReview::find(&service, &caller, &run).await?;
    let all = service.reviews.filters(&under.run.id).await?;
    if !all.iter().any(|filter| filter.id == id) {
        return Err(Problem::not_found(format!(
            "There is no verdict on a filter with the id `{id}`."
        )));
    }
    // `false`: it was undone before.
    let now = Utc::now();
    service.reviews.undo_filter(&under.run.id, &id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
