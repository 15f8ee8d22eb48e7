//! Reviews: an item for each reviewed row, and one for each verdict on a filter.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, ReturnValuesOnConditionCheckFailure,
    WriteRequest,
};
use backon::BackoffBuilder;
use chrono::{DateTime, Utc};
use rowmill_domain::limits::BATCH_WRITE_ITEMS;
use rowmill_domain::review::{Feedback, FilterVerdict, ReviewEvent, RowEvents};
use rowmill_domain::{PipelineName, RunId};
use rowmill_ports::reviews::{FILTER_BYTES, feedback_key, filter_key};
use rowmill_ports::{ErrorKind, PortError, Result, Reviews};

use super::item::{condition_failed, integer_of, number, text, text_of, unreadable};
use super::outcomes::{IDLE_ROUNDS, PAUSES};
use super::{DynamoLedger, Item};
use crate::error::failed;

fn key(run: &RunId, row: i64) -> Item {
    Item::from([
        ("run".to_owned(), text(run.as_str())),
        ("row".to_owned(), number(row)),
    ])
}

impl DynamoLedger {
    /// A query for items of a partition: a run, or the feedback about a pipeline. The caller adds the
    /// condition, in which `#run` and `#row` are the key, and `:run` is the partition.
    fn review_query(&self, partition: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.reviews)
            .expression_attribute_names("#run", "run")
            .expression_attribute_names("#row", "row")
            .expression_attribute_values(":run", text(partition))
            .consistent_read(true)
    }
}

#[async_trait]
impl Reviews for DynamoLedger {
    async fn find_reviews(&self, run: &RunId, rows: &[u32]) -> Result<Vec<RowEvents>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys: Vec<Item> = rows.iter().map(|row| key(run, (*row).into())).collect();
        let mut found = Vec::new();
        let (mut idle, mut pauses) = (0, PAUSES.build());
        loop {
            let sent = keys.len();
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build()
                .map_err(|e| unreadable("BatchGetItem", run.as_str(), e))?;
            let response = self
                .client
                .batch_get_item()
                .request_items(&self.reviews, asked)
                .send()
                .await
                .map_err(failed("BatchGetItem", run.as_str()))?;
            let mut answers = response.responses.unwrap_or_default();
            for item in answers.remove(&self.reviews).unwrap_or_default() {
                found.push(read_row("BatchGetItem", run, &item)?);
            }
            let mut left = response.unprocessed_keys.unwrap_or_default();
            keys = left.remove(&self.reviews).map_or_else(Vec::new, |k| k.keys);
            if keys.is_empty() {
                found.sort_by_key(|row| row.row);
                return Ok(found);
            }
            idle = if keys.len() < sent { 0 } else { idle + 1 };
            if idle == IDLE_ROUNDS {
                let message = format!("{sent} keys came back unprocessed {idle} times");
                let kind = ErrorKind::Throttled;
                return Err(PortError::new("BatchGetItem", run.as_str(), kind, message));
            }
            // Never ends.
            self.sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    async fn list_reviews(&self, run: &RunId, after: u32) -> Result<(Vec<RowEvents>, Option<u32>)> {
        let page = self
            .review_query(run.as_str())
            .key_condition_expression("#run = :run AND #row > :after")
            .expression_attribute_values(":after", number(after))
            .send()
            .await
            .map_err(failed("Query", run.as_str()))?;
        let more = page.last_evaluated_key.is_some();
        let items = page.items.unwrap_or_default();
        let rows = items.iter().map(|item| read_row("Query", run, item));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let next = rows.last().filter(|_| more).map(|last| last.row);
        Ok((rows, next))
    }

    async fn add_review(
        &self,
        run: &RunId,
        row: u32,
        version: u32,
        event: &ReviewEvent,
    ) -> Result<bool> {
        let json =
            serde_json::to_string(event).map_err(|e| unreadable("UpdateItem", run.as_str(), e))?;
        let condition = match version {
            0 => "attribute_not_exists(version)",
            _ => "version = :before",
        };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.reviews)
            .set_key(Some(key(run, row.into())))
            .update_expression(
                "SET version = :version, events = list_append(if_not_exists(events, :none), :event)",
            )
            .condition_expression(condition)
            .expression_attribute_values(":version", number(u64::from(version) + 1))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":event", AttributeValue::L(vec![text(&json)]))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if version > 0 {
            update = update.expression_attribute_values(":before", number(version));
        }
        let Err(error) = update.send().await else {
            return Ok(true);
        };
        let item = condition_failed(run.as_str(), error)?;
        // The SDK retries after a lost response. If the first attempt took effect, its event is there.
        let events = item.as_ref().and_then(|item| item.get("events"));
        let events = events.and_then(|events| events.as_l().ok());
        let ours = events.and_then(|events| events.get(version as usize));
        Ok(ours.is_some_and(|event| event.as_s().is_ok_and(|event| *event == json)))
    }

    async fn put_filter(&self, run: &RunId, filter: &FilterVerdict) -> Result<bool> {
        if filter.rows.len() > FILTER_BYTES {
            let message = "the rows of the filter are too large";
            let kind = ErrorKind::Invalid;
            return Err(PortError::new("PutItem", run.as_str(), kind, message));
        }
        let json =
            serde_json::to_string(filter).map_err(|e| unreadable("PutItem", run.as_str(), e))?;
        let put = self
            .client
            .put_item()
            .table_name(&self.reviews)
            .set_item(Some(key(run, filter_key(&filter.id))))
            .item("filter", text(&json))
            .item("rows", AttributeValue::B(Blob::new(filter.rows.clone())))
            .condition_expression("attribute_not_exists(#run)")
            .expression_attribute_names("#run", "run")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) => match error.err() {
                PutItemError::ConditionalCheckFailedException(refused) => {
                    // Stored by an earlier attempt of this call, whose response was lost.
                    let stored = refused
                        .item
                        .as_ref()
                        .and_then(|item| text_of(item, "filter"));
                    Ok(stored == Some(&json))
                }
                _ => Err(failed("PutItem", run.as_str())(SdkError::ServiceError(
                    error,
                ))),
            },
            Err(error) => Err(failed("PutItem", run.as_str())(error)),
        }
    }

    async fn filters(&self, run: &RunId) -> Result<Vec<FilterVerdict>> {
        let mut items = self
            .review_query(run.as_str())
            .key_condition_expression("#run = :run AND #row < :zero")
            .expression_attribute_values(":zero", number(0))
            .into_paginator()
            .items()
            .send();
        let mut filters = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("Query", run.as_str()))?;
            filters.push(read_filter(run, &item)?);
        }
        filters.sort_by_key(|filter: &FilterVerdict| filter.time);
        Ok(filters)
    }

    async fn undo_filter(&self, run: &RunId, id: &str, now: DateTime<Utc>) -> Result<bool> {
        let undone = now.to_rfc3339();
        let update = self
            .client
            .update_item()
            .table_name(&self.reviews)
            .set_key(Some(key(run, filter_key(id))))
            .update_expression("SET undone = :now")
            .condition_expression("attribute_exists(#filter) AND attribute_not_exists(undone)")
            .expression_attribute_names("#filter", "filter")
            .expression_attribute_values(":now", text(&undone))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = update else { return Ok(true) };
        let item = condition_failed(run.as_str(), error)?;
        let stored = item.as_ref().and_then(|item| text_of(item, "undone"));
        Ok(stored == Some(&undone))
    }

    async fn delete_reviews(&self, run: &RunId) -> Result<()> {
        let mut items = self
            .review_query(run.as_str())
            .key_condition_expression("#run = :run")
            .projection_expression("#run, #row")
            .into_paginator()
            .items()
            .send();
        let mut keys: Vec<WriteRequest> = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("Query", run.as_str()))?;
            let delete = DeleteRequest::builder()
                .set_key(Some(item))
                .build()
                .map_err(|e| unreadable("Query", run.as_str(), e))?;
            keys.push(WriteRequest::builder().delete_request(delete).build());
        }
        for keys in keys.chunks(BATCH_WRITE_ITEMS) {
            self.write_batch(&self.reviews, keys.to_vec()).await?;
        }
        Ok(())
    }

    async fn put_feedback(&self, pipeline: &PipelineName, feedback: &Feedback) -> Result<()> {
        let partition = feedback_partition(pipeline);
        let Some(row) = feedback_key(&feedback.id) else {
            let (kind, message) = (ErrorKind::Invalid, "the id is not 32 hex digits");
            return Err(PortError::new("PutItem", partition, kind, message));
        };
        let json =
            serde_json::to_string(feedback).map_err(|e| unreadable("PutItem", &partition, e))?;
        self.client
            .put_item()
            .table_name(&self.reviews)
            .item("run", text(&partition))
            .item("row", number(row))
            .item("feedback", text(&json))
            .send()
            .await
            .map_err(failed("PutItem", &partition))?;
        Ok(())
    }

    async fn list_feedback(
        &self,
        pipeline: &PipelineName,
        after: Option<&str>,
    ) -> Result<(Vec<Feedback>, Option<String>)> {
        let partition = feedback_partition(pipeline);
        let after = after.and_then(feedback_key);
        let page = self
            .review_query(&partition)
            .key_condition_expression("#run = :run AND #row > :after")
            .expression_attribute_values(":after", after.map_or(number(-1), number))
            .send()
            .await
            .map_err(failed("Query", &partition))?;
        let more = page.last_evaluated_key.is_some();
        let items = page.items.unwrap_or_default();
        let read = |item: &Item| {
            let json = text_of(item, "feedback").unwrap_or_default();
            serde_json::from_str(json).map_err(|e| unreadable("Query", &partition, e))
        };
        let page = items.iter().map(read).collect::<Result<Vec<Feedback>>>()?;
        let next = page.last().filter(|_| more).map(|last| last.id.clone());
        Ok((page, next))
    }
}

/// The partition of the feedback about a pipeline. No run has such an id.
fn feedback_partition(pipeline: &PipelineName) -> String {
    format!("feedback#{pipeline}")
}

fn read_row(operation: &'static str, run: &RunId, item: &Item) -> Result<RowEvents> {
    let bad = || unreadable(operation, run.as_str(), "a review without row or events");
    let row = integer_of(item, "row").and_then(|row| u32::try_from(row).ok());
    let events = item.get("events").and_then(|events| events.as_l().ok());
    let events = events.ok_or_else(bad)?.iter().map(|event| {
        let event = event.as_s().map_err(|_| bad())?;
        serde_json::from_str(event).map_err(|e| unreadable(operation, run.as_str(), e))
    });
    Ok(RowEvents {
        row: row.ok_or_else(bad)?,
        events: events.collect::<Result<_>>()?,
    })
}

fn read_filter(run: &RunId, item: &HashMap<String, AttributeValue>) -> Result<FilterVerdict> {
    let bad = |why: &dyn std::fmt::Display| unreadable("Query", run.as_str(), why);
    let json = text_of(item, "filter").ok_or_else(|| bad(&"a filter without its verdict"))?;
    let mut filter: FilterVerdict = serde_json::from_str(json).map_err(|e| bad(&e))?;
    let rows = item.get("rows").and_then(|rows| rows.as_b().ok());
    let rows = rows.ok_or_else(|| bad(&"a filter without rows"))?;
    filter.rows = rows.clone().into_inner();
    filter.undone = text_of(item, "undone")
        .map(|time| DateTime::parse_from_rfc3339(time).map(Into::into))
        .transpose()
        .map_err(|e| bad(&e))?;
    Ok(filter)
}
