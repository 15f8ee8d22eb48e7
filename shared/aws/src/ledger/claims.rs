//! Claims: one item each, changed by one conditional write.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::run::Work;
use rowmill_ports::{Claim, ErrorKind, PortError, Result};

use super::item::{key, number, text, text_of, unreadable};
use super::{DynamoLedger, Item};
use crate::error::failed;

fn claim_key(id: &RunId, work: Work) -> Item {
    key(id.as_str(), &format!("claim#{}", work.name()))
}

impl DynamoLedger {
    pub(super) async fn take_claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let now = now.timestamp_millis();
        let taken = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(claim_key(id, work)))
            .update_expression("SET #owner = :owner, #until = :until")
            .condition_expression(
                "attribute_not_exists(pk) OR \
                 (attribute_not_exists(done) AND (#owner = :owner OR #until <= :now))",
            )
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":until", number(now.saturating_add(lease)))
            .expression_attribute_values(":now", number(now))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match taken {
            Ok(answer) => Ok(Claim::Taken {
                resumed: answer.attributes.is_some_and(|before| !before.is_empty()),
            }),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    held(id, &refused.item.clone().unwrap_or_default())
                }
                _ => Err(failed("UpdateItem", id.as_str())(error)),
            },
        }
    }

    pub(super) async fn complete_claim(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        // Again by the same owner is the retry of a call whose answer was lost.
        let done = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(claim_key(id, work)))
            .update_expression("SET done = :true")
            .condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .send()
            .await;
        let Err(error) = done else { return Ok(()) };
        let error = failed("UpdateItem", id.as_str())(error);
        if error.kind != ErrorKind::Conflict {
            return Err(error);
        }
        let message = format!("{owner} does not hold {}", work.name());
        Err(PortError::new(
            "UpdateItem",
            id.as_str(),
            ErrorKind::Conflict,
            message,
        ))
    }

    pub(super) async fn release_claim(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        // The item stays: it says that somebody began.
        let released = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(claim_key(id, work)))
            .update_expression("SET #until = :never REMOVE #owner")
            .condition_expression("#owner = :owner AND attribute_not_exists(done)")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":never", number(0))
            .send()
            .await
            .map_err(failed("UpdateItem", id.as_str()));
        match released {
            Err(error) if error.kind != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }
}

/// What a claim that could not be taken says.
fn held(id: &RunId, item: &Item) -> Result<Claim> {
    if item.contains_key("done") {
        return Ok(Claim::Done);
    }
    let until = item.get("until").and_then(|until| until.as_n().ok());
    let until = until.and_then(|until| until.parse().ok());
    let (Some(owner), Some(until)) = (text_of(item, "owner"), until) else {
        let why = "a claim without owner or lease";
        return Err(unreadable("UpdateItem", id.as_str(), why));
    };
    Ok(Claim::Held {
        owner: owner.to_owned(),
        until: DateTime::from_timestamp_millis(until).unwrap_or_default(),
    })
}
