//! `POST /predict`: the label of one text.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rowmill_domain::preview::Prediction;
use serde::Deserialize;

use super::uploads::pipeline_name;
use crate::access::Caller;
use crate::problem::Problem;
use crate::request::Body;
use crate::service::Service;

/// The body of `POST /predict`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewPrediction {
    pipeline: String,
    text: String,
}

/// Labels a text with the model of a pipeline.
pub(crate) async fn predict(
    State(service): State<Arc<Service>>,
    _: Caller,
    Body(asked): Body<NewPrediction>,
) -> Result<Json<Prediction>, Problem> {
    let name = pipeline_name(&asked.pipeline)?;
    let toml = service.pipeline_text(&name).await?;
    let predicted = service.host.predict(&name, &toml, &asked.text).await;
    predicted.map(Json)
}
