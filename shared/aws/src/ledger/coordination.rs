//! Claims and shared answers, changed by one conditional write each, and rate permits.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_domain::run::Work;
use rowmill_ports::{Asked, Claim, Coordination, ErrorKind, Holder, PortError, Result};

use super::item::{
    EXPIRES, condition_failed, expiry, integer_of, key, number, text, text_of, unreadable,
};
use super::outcomes::{CHUNK, ROW};
use super::{DynamoLedger, Item};
use crate::error::failed;

/// Attempts to take permits. Each can fail if another caller takes permits of the same key
/// between two attempts.
const PERMIT_ATTEMPTS: u32 = 20;
/// Nanoseconds per second.
const SECOND: i64 = 1_000_000_000;
/// Seconds that a rate key is kept after its last permit. Clocks differ by less than a day.
const RATE_KEY_KEPT: i64 = 86_400;

#[async_trait]
impl Coordination for DynamoLedger {
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        let at = now;
        let (now, until) = lease_of(now, lease);
        let taken = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(claim_key(id, work)))
            .update_expression("SET #owner = :owner, #until = :until, #expires = :expires")
            .condition_expression(
                "attribute_not_exists(pk) OR \
                 (attribute_not_exists(done) AND (#owner = :owner OR #until <= :now))",
            )
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":expires", expiry(at))
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":now", number(now))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match taken {
            Ok(response) => {
                let before = response.attributes;
                return Ok(Claim::Taken {
                    resumed: before.is_some_and(|before| !before.is_empty()),
                });
            }
            Err(error) => error,
        };
        let item = condition_failed(id.as_str(), error)?.unwrap_or_default();
        if item.contains_key("done") {
            return Ok(Claim::Done);
        }
        read_holder("UpdateItem", id, &item).map(Claim::Held)
    }

    async fn holder(&self, id: &RunId, work: Work, now: DateTime<Utc>) -> Result<Option<Holder>> {
        let response = self
            .client
            .get_item()
            .table_name(&self.runs)
            .set_key(Some(claim_key(id, work)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("GetItem", id.as_str()))?;
        match response.item {
            // A released claim has no owner.
            Some(item) if !item.contains_key("done") && item.contains_key("owner") => {
                let holder = read_holder("GetItem", id, &item)?;
                Ok((holder.until > now).then_some(holder))
            }
            _ => Ok(None),
        }
    }

    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        // Also matches completed work: the same owner may retry after a lost response.
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
            .await
            .map_err(failed("UpdateItem", id.as_str()));
        match done {
            Err(error) if error.kind == ErrorKind::Conflict => {
                let message = format!("{owner} does not hold {}", work.name());
                Err(PortError { message, ..error })
            }
            done => done.map(drop),
        }
    }

    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        // The item stays as a record that someone started.
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

    /// Two kinds of conditional writes alternate: one appends to the permits of the key, if the
    /// last of them is not in the past; the other starts over at `now`. One of the two succeeds
    /// unless another caller interferes.
    ///
    /// `expires`, after which DynamoDB deletes the item, moves in whole seconds, rounded up, so
    /// it never precedes the last permit.
    async fn take_permits(
        &self,
        rate_key: &str,
        permits: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        // Nanoseconds reach to the year 2262.
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let gap = i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX);
        let duration = gap.saturating_mul(permits.into());
        let next = now.saturating_add(duration);
        let key = Item::from([("rate_key".to_owned(), text(rate_key))]);
        for attempt in 0..PERMIT_ATTEMPTS {
            let update = self
                .client
                .update_item()
                .table_name(&self.permits)
                .set_key(Some(key.clone()))
                .expression_attribute_names("#next", "next")
                .expression_attribute_names("#expires", "expires")
                .expression_attribute_values(":now", number(now))
                .return_values(ReturnValue::UpdatedNew);
            let update = if attempt % 2 == 0 {
                update
                    .update_expression(
                        "SET #next = #next + :duration, #expires = #expires + :seconds",
                    )
                    .condition_expression("#next >= :now")
                    .expression_attribute_values(":duration", number(duration))
                    .expression_attribute_values(":seconds", number(duration / SECOND + 1))
            } else {
                let expires = next / SECOND + 1 + RATE_KEY_KEPT;
                update
                    .update_expression("SET #next = :next, #expires = :expires")
                    .condition_expression("attribute_not_exists(#next) OR #next < :now")
                    .expression_attribute_values(":next", number(next))
                    .expression_attribute_values(":expires", number(expires))
            };
            match update.send().await {
                Ok(response) => {
                    let attributes = response.attributes.unwrap_or_default();
                    let next = integer_of(&attributes, "next").ok_or_else(|| {
                        let message = "the response has no `next`";
                        PortError::new("UpdateItem", rate_key, ErrorKind::Invalid, message)
                    })?;
                    return Ok(DateTime::from_timestamp_nanos(
                        next.saturating_sub(duration),
                    ));
                }
                Err(error) => {
                    condition_failed(rate_key, error)?;
                }
            }
        }
        let message = format!("{PERMIT_ATTEMPTS} attempts conflicted with other callers");
        Err(PortError::new(
            "UpdateItem",
            rate_key,
            ErrorKind::Throttled,
            message,
        ))
    }

    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let table = self.table(id);
        let (now, until) = lease_of(now, lease);
        let taken = self
            .client
            .update_item()
            .table_name(&table)
            .set_key(Some(question_key(question)))
            .update_expression("SET #owner = :owner, #until = :until")
            .condition_expression(
                "attribute_not_exists(#answer) AND \
                 (attribute_not_exists(#owner) OR #owner = :owner OR #until <= :now)",
            )
            .expression_attribute_names("#answer", "answer")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":now", number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = taken else {
            return Ok(Asked::Yours);
        };
        let item = condition_failed(&table, error)?;
        let answer = item.as_ref().and_then(|item| text_of(item, "answer"));
        Ok(answer.map_or(Asked::Awaited, |a| Asked::Known(a.to_owned())))
    }

    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        let table = self.table(id);
        let update = self
            .client
            .update_item()
            .table_name(&table)
            .set_key(Some(question_key(question)))
            .expression_attribute_names("#answer", "answer");
        let update = match answer {
            Some(answer) if answer.len() > OUTCOME_BYTES => {
                let bytes = answer.len();
                let message = format!("the answer has {bytes} bytes; the limit is {OUTCOME_BYTES}");
                let kind = ErrorKind::Invalid;
                return Err(PortError::new("UpdateItem", table, kind, message));
            }
            Some(answer) => update
                .update_expression("SET #answer = :answer")
                .expression_attribute_values(":answer", text(answer)),
            None => update
                .update_expression("SET #until = :never")
                .condition_expression("#owner = :owner AND attribute_not_exists(#answer)")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_names("#until", "until")
                .expression_attribute_values(":owner", text(owner))
                .expression_attribute_values(":never", number(0)),
        };
        match update.send().await.map_err(failed("UpdateItem", table)) {
            // Someone else holds the question, or it has an answer.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            stored => stored.map(drop),
        }
    }
}

/// The start and the end of a lease in milliseconds since the epoch.
fn lease_of(now: DateTime<Utc>, lease: Duration) -> (i64, i64) {
    let now = now.timestamp_millis();
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    (now, now.saturating_add(lease))
}

fn claim_key(id: &RunId, work: Work) -> Item {
    key(id.as_str(), &format!("claim#{}", work.name()))
}

fn question_key(question: &str) -> Item {
    Item::from([
        (CHUNK.to_owned(), text(format!("question#{question}"))),
        (ROW.to_owned(), number(0)),
    ])
}

fn read_holder(operation: &'static str, id: &RunId, item: &Item) -> Result<Holder> {
    let (Some(owner), Some(until)) = (text_of(item, "owner"), integer_of(item, "until")) else {
        let why = "a claim without owner or lease";
        return Err(unreadable(operation, id.as_str(), why));
    };
    Ok(Holder {
        owner: owner.to_owned(),
        until: DateTime::from_timestamp_millis(until).unwrap_or_default(),
    })
}
