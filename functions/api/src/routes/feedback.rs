//! `/feedback`: which predicted labels of single texts were right.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use rowmill_domain::preview::Prediction;
use rowmill_domain::review::{Feedback, Verdict};
use rowmill_pipeline::Pipeline;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reviews::override_value;
use super::uploads::pipeline_name;
use crate::access::Caller;
use crate::problem::Problem;
use crate::request::{Body, Parameters};
use crate::service::{Service, text_and_label};

/// The body of `POST /feedback`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewFeedback {
    pipeline: String,
    text: String,
    /// The label that the caller saw.
    prediction: String,
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Verdict))]
    verdict: Verdict,
    /// The right label, for an override.
    value: Option<String>,
}

/// Stores whether the label of a text is right. Said again by the same person about the same text, it
/// replaces what was said before, so that a repeated request has no further effect.
pub(crate) async fn give(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewFeedback>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let name = pipeline_name(&new.pipeline)?;
    let (toml, pipeline) = service.pipeline(&name).await?;
    caller.require_reviewer(pipeline.review.as_ref())?;
    let predicted = service.host.predict(&name, &toml, &new.text).await?;
    if predicted.label != new.prediction {
        return Err(Problem::conflict(format!(
            "The model now says `{}`. Predict the text again.",
            predicted.label
        )));
    }
    let value = match override_value(new.verdict, new.value)? {
        None => predicted.label.clone(),
        Some(value) => {
            let labels = labels(&pipeline, &predicted);
            if !labels.contains(&value) {
                return Err(Problem::invalid(format!(
                    "The value must be one of the labels: {}.",
                    labels.join(", ")
                )));
            }
            value
        }
    };
    let mut hasher = blake3::Hasher::new();
    for part in [&caller.name, &new.text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let feedback = Feedback {
        id: hasher.finalize().to_hex()[..32].to_owned(),
        text: new.text,
        prediction: predicted.label,
        value,
        reviewer: caller.name,
        time: Utc::now(),
    };
    service.reviews.put_feedback(&name, &feedback).await?;
    Ok((StatusCode::CREATED, Json(as_json(&feedback))))
}

/// The labels of the model, and those that the pipeline lists for its column.
fn labels(pipeline: &Pipeline, predicted: &Prediction) -> Vec<String> {
    let mut labels: Vec<String> = predicted.probabilities.keys().cloned().collect();
    if let (Some(review), Some((_, column))) = (&pipeline.review, text_and_label(pipeline))
        && review.column == column
    {
        labels.extend(review.labels.iter().cloned());
        labels.sort();
        labels.dedup();
    }
    labels
}

/// The parameters of `GET /feedback`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub(crate) struct Page {
    pipeline: String,
    after: Option<String>,
}

/// What people said about the predictions of a pipeline.
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<Value>, Problem> {
    let name = pipeline_name(&page.pipeline)?;
    let (_, pipeline) = service.pipeline(&name).await?;
    caller.require_reviewer(pipeline.review.as_ref())?;
    let after = page.after.as_deref();
    if after.is_some_and(|after| rowmill_ports::reviews::feedback_key(after).is_none()) {
        return Err(Problem::invalid(
            "`after` must be the `next` of another page.",
        ));
    }
    let (page, next) = service.reviews.list_feedback(&name, after).await?;
    let feedback: Vec<Value> = page.iter().map(as_json).collect();
    Ok(Json(json!({ "feedback": feedback, "next": next })))
}

fn as_json(feedback: &Feedback) -> Value {
    json!({
        "text": feedback.text,
        "prediction": feedback.prediction,
        "final": feedback.value,
        "verdict": feedback.verdict(),
        "reviewer": feedback.reviewer,
        "time": feedback.time,
    })
}
