//! `PUT /submitters/{address}/tier`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use rowmill_domain::{Submitter, keys};
use rowmill_tiers::{CurrentTiersError, change_tier};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Caller, Role};
use crate::problem::Problem;
use crate::request::{Body, InPath};
use crate::service::Service;

/// The body of `PUT /submitters/{address}/tier`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewTier {
    /// The name of the tier in the file of tiers.
    tier: String,
}

/// Gives a submitter a tier, from the next upload on. Safe to repeat.
pub(crate) async fn set(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(address): InPath<String>,
    Body(new): Body<NewTier>,
) -> Result<Json<Value>, Problem> {
    caller.require(Role::Operator)?;
    let submitter: Result<Submitter, _> = address.parse();
    let submitter = submitter.map_err(|error| Problem::invalid(error.to_string()))?;
    let now = Utc::now();
    let tiers = service
        .tiers
        .tiers(now)
        .await
        .map_err(|error| match error {
            CurrentTiersError::Port(error) => error.into(),
            CurrentTiersError::File(error) => {
                Problem::conflict(format!("The file of tiers has errors: {error}"))
            }
        })?;
    let tiers = tiers.ok_or_else(|| {
        Problem::conflict(format!(
            "There are no tiers: the work bucket has no file {}.",
            keys::TIERS
        ))
    })?;
    if let Err(unknown) = tiers.tier(&new.tier) {
        return Err(Problem::invalid(unknown.to_string()));
    }
    let (submitters, topic) = (&*service.submitters, &*service.topic);
    if !change_tier(submitters, topic, &submitter, &new.tier, now).await? {
        return Err(Problem::conflict(
            "The submitter has a tier since a later time than now. Check the clock, and repeat the request.",
        ));
    }
    Ok(Json(
        json!({ "submitter": submitter, "tier": new.tier, "since": now }),
    ))
}
