//! Lanes: when the next turn of each is.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::{DateTime, Utc};
use rowmill_ports::{ErrorKind, PortError, Result};

use super::item::{number, text};
use super::{DynamoLedger, Item};
use crate::error::failed;

/// Rounds in which both writes may be refused, since others took turns between the two.
const ROUNDS: u32 = 20;
/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;
/// Seconds that a lane is kept after its last turn: clocks differ, by less than a day.
const KEPT: i64 = 86_400;

impl DynamoLedger {
    /// Moves a lane on: from where it stands, where that is not before `now`, else from `now`.
    /// Each is one conditional write, and one of the two holds unless somebody was faster.
    ///
    /// `expires`, after which DynamoDB removes the item, moves by whole seconds, and so never
    /// comes before the last turn.
    pub(super) async fn move_lane(
        &self,
        lane: &str,
        turns: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        // Nanoseconds reach to the year 2262.
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let gap = i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX);
        let taken = gap.saturating_mul(turns.into());
        let next = now.saturating_add(taken);
        let key = Item::from([("lane".to_owned(), text(lane))]);
        for round in 0..ROUNDS {
            let update = self
                .client
                .update_item()
                .table_name(&self.lanes)
                .set_key(Some(key.clone()))
                .expression_attribute_names("#next", "next")
                .expression_attribute_names("#expires", "expires")
                .expression_attribute_values(":now", number(now))
                .return_values(ReturnValue::UpdatedNew);
            let update = if round % 2 == 0 {
                update
                    .update_expression("SET #next = #next + :taken, #expires = #expires + :seconds")
                    .condition_expression("#next >= :now")
                    .expression_attribute_values(":taken", number(taken))
                    .expression_attribute_values(":seconds", number(taken / SECOND + 1))
            } else {
                update
                    .update_expression("SET #next = :next, #expires = :expires")
                    .condition_expression("attribute_not_exists(#next) OR #next < :now")
                    .expression_attribute_values(":next", number(next))
                    .expression_attribute_values(":expires", number(next / SECOND + 1 + KEPT))
            };
            match update.send().await {
                Ok(answer) => {
                    let attributes = answer.attributes.unwrap_or_default();
                    let next = attributes.get("next").and_then(|n| n.as_n().ok());
                    let next: Option<i64> = next.and_then(|n| n.parse().ok());
                    let next = next.ok_or_else(|| {
                        let message = "the answer has no `next`";
                        PortError::new("UpdateItem", lane, ErrorKind::Invalid, message)
                    })?;
                    return Ok(DateTime::from_timestamp_nanos(next.saturating_sub(taken)));
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                    _ => return Err(failed("UpdateItem", lane)(error)),
                },
            }
        }
        let message = "others were faster again and again";
        Err(PortError::new(
            "UpdateItem",
            lane,
            ErrorKind::Throttled,
            message,
        ))
    }
}
