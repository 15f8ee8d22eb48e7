//! Answers that the children of a run share: one item of the run's table each.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::limits::OUTCOME_BYTES;
use rowmill_ports::{Asked, ErrorKind, PortError, Result};

use super::item::{number, text, text_of};
use super::outcomes::{CHUNK, ROW};
use super::{DynamoLedger, Item};
use crate::error::failed;

fn question_key(question: &str) -> Item {
    Item::from([
        (CHUNK.to_owned(), text(format!("question#{question}"))),
        (ROW.to_owned(), number(0)),
    ])
}

impl DynamoLedger {
    pub(super) async fn take_question(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let table = self.table(id);
        let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let now = now.timestamp_millis();
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
            .expression_attribute_values(":until", number(now.saturating_add(lease)))
            .expression_attribute_values(":now", number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = taken else {
            return Ok(Asked::Yours);
        };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                let answer = refused.item.as_ref().and_then(|i| text_of(i, "answer"));
                Ok(answer.map_or(Asked::Awaited, |a| Asked::Known(a.to_owned())))
            }
            _ => Err(failed("UpdateItem", table)(error)),
        }
    }

    pub(super) async fn keep_answer(
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
            .set_key(Some(question_key(question)));
        let update = match answer {
            Some(answer) if answer.len() > OUTCOME_BYTES => {
                let message = format!(
                    "the answer has {} bytes, and at most {OUTCOME_BYTES} are taken",
                    answer.len()
                );
                let kind = ErrorKind::Invalid;
                return Err(PortError::new("UpdateItem", table, kind, message));
            }
            Some(answer) => update
                .update_expression("SET #answer = :answer")
                .expression_attribute_values(":answer", text(answer)),
            None => update
                .update_expression("SET #until = :now")
                .condition_expression("#owner = :owner AND attribute_not_exists(#answer)")
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_names("#until", "until")
                .expression_attribute_values(":owner", text(owner))
                .expression_attribute_values(":now", number(0)),
        };
        let kept = update
            .expression_attribute_names("#answer", "answer")
            .send()
            .await
            .map_err(failed("UpdateItem", table));
        match kept {
            // It is not the owner's to give back.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            other => other.map(drop),
        }
    }
}
