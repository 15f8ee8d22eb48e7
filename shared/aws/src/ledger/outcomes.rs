//! The outcomes of a run's records.
//!
//! A partition takes 1,000 writes a second, so a chunk's rows go to [`PARTITIONS`] of them in
//! turn; reading asks all of them at once and merges.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures::{StreamExt, TryStreamExt, future, stream};
use rand::Rng;
use rowmill_domain::limits::{BATCH_WRITE_BYTES, BATCH_WRITE_ITEMS, OUTCOME_BYTES};
use rowmill_domain::{Outcome, RunId};
use rowmill_ports::{ErrorKind, PortError, Result};

use super::item::{number, text, text_of, unreadable};
use super::{DynamoLedger, Item};
use crate::error::failed;

/// The partition key: `<chunk>#<row mod PARTITIONS>`.
pub(super) const CHUNK: &str = "chunk";
/// The sort key.
pub(super) const ROW: &str = "row";
/// The outcome as JSON.
const OUTCOME: &str = "outcome";

/// Partitions of a chunk: a new table has four, each of 1,000 writes a second, so that a run of one
/// chunk has all of them.
const PARTITIONS: u32 = 4;

/// Batches under way at once.
const AT_ONCE: usize = 8;

/// Rounds in which a batch may come back whole before the call gives up.
const IDLE_ROUNDS: u32 = 10;

/// Bytes of an item on the way, beside its outcome: names, key and the request's JSON around them.
const WIRE_ITEM: usize = 512;

fn partition(chunk: u32, of: u32) -> String {
    format!("{chunk:05}#{of}")
}

impl DynamoLedger {
    pub(super) async fn write_outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        outcomes: &[Outcome],
    ) -> Result<()> {
        let table = self.table(id);
        let invalid =
            |message| PortError::new("BatchWriteItem", &table, ErrorKind::Invalid, message);
        // A batch must not hold a key twice; the later of a row's outcomes stays.
        let mut items = BTreeMap::new();
        for outcome in outcomes {
            let json =
                serde_json::to_string(outcome).map_err(|error| invalid(error.to_string()))?;
            if json.len() > OUTCOME_BYTES {
                return Err(invalid(too_large(outcome.row, json.len())));
            }
            items.insert(outcome.row, (outcome, json));
        }
        let mut batches = vec![Batch::default()];
        for (outcome, json) in items.into_values() {
            let wire = wire(&json);
            // Never empty: the first one is there, and each is made for an item.
            if !batches.last().is_some_and(|batch| batch.takes(wire)) {
                batches.push(Batch::default());
            }
            let request = request(chunk, outcome, json).map_err(|e| invalid(e.to_string()))?;
            if let Some(batch) = batches.last_mut() {
                batch.bytes += wire;
                batch.items.push(request);
            }
        }
        batches.retain(|batch| !batch.items.is_empty());
        stream::iter(batches)
            .map(|batch| self.write_batch(&table, batch.items))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Writes a batch, and what comes back unprocessed again until nothing does.
    async fn write_batch(&self, table: &str, mut items: Vec<WriteRequest>) -> Result<()> {
        let mut idle = 0;
        let mut round = 0;
        loop {
            let sent = items.len();
            let answer = self
                .client
                .batch_write_item()
                .request_items(table, items)
                .send()
                .await
                .map_err(failed("BatchWriteItem", table))?;
            let mut unprocessed = answer.unprocessed_items.unwrap_or_default();
            items = unprocessed.remove(table).unwrap_or_default();
            if items.is_empty() {
                return Ok(());
            }
            idle = if items.len() < sent { 0 } else { idle + 1 };
            if idle == IDLE_ROUNDS {
                let message = format!("{sent} items came back unprocessed {idle} times");
                return Err(PortError::new(
                    "BatchWriteItem",
                    table,
                    ErrorKind::Throttled,
                    message,
                ));
            }
            self.sleep(backoff(round)).await;
            round += 1;
        }
    }

    pub(super) async fn read_outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.table(id);
        let parts = (0..PARTITIONS).map(|of| self.read_partition(&table, chunk, of, &rows));
        let mut outcomes = future::try_join_all(parts).await?.concat();
        outcomes.sort_unstable_by_key(|outcome: &Outcome| outcome.row);
        Ok(outcomes)
    }

    async fn read_partition(
        &self,
        table: &str,
        chunk: u32,
        of: u32,
        rows: &RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        let mut items = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#chunk = :chunk AND #row BETWEEN :first AND :last")
            .projection_expression("#outcome")
            .expression_attribute_names("#chunk", CHUNK)
            .expression_attribute_names("#row", ROW)
            .expression_attribute_names("#outcome", OUTCOME)
            .expression_attribute_values(":chunk", text(partition(chunk, of)))
            .expression_attribute_values(":first", number(rows.start()))
            .expression_attribute_values(":last", number(rows.end()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut outcomes = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("Query", table))?;
            outcomes.push(read(table, &item)?);
        }
        Ok(outcomes)
    }
}

/// Items of one call.
#[derive(Default)]
struct Batch {
    items: Vec<WriteRequest>,
    bytes: usize,
}

impl Batch {
    fn takes(&self, wire: usize) -> bool {
        self.items.len() < BATCH_WRITE_ITEMS && self.bytes + wire <= BATCH_WRITE_BYTES
    }
}

/// Bytes of an item in a request, where its JSON is a JSON text: quotes and backslashes double.
/// The limit of a batch is meant so (DynamoDB API, BatchWriteItem: "data over the network").
fn wire(json: &str) -> usize {
    let doubled = json.bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    WIRE_ITEM + json.len() + doubled
}

fn request(
    chunk: u32,
    outcome: &Outcome,
    json: String,
) -> std::result::Result<WriteRequest, aws_sdk_dynamodb::error::BuildError> {
    let put = PutRequest::builder()
        .item(CHUNK, text(partition(chunk, outcome.row % PARTITIONS)))
        .item(ROW, number(outcome.row))
        .item("stage", number(outcome.stage))
        .item("status", text(outcome.status.name()))
        .item(OUTCOME, text(json))
        .build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}

fn read(table: &str, item: &Item) -> Result<Outcome> {
    let json = text_of(item, OUTCOME)
        .ok_or_else(|| unreadable("Query", table, "an item without an outcome"))?;
    serde_json::from_str(json).map_err(|error| unreadable("Query", table, error))
}

fn too_large(row: u32, bytes: usize) -> String {
    format!("the outcome of row {row} has {bytes} bytes, and at most {OUTCOME_BYTES} are taken")
}

/// The wait before a round: a random part of 50 ms, doubled each time up to 5 s.
fn backoff(round: u32) -> Duration {
    let most = Duration::from_millis(50 << round.min(7)).min(Duration::from_secs(5));
    most.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_within_what_the_service_takes_on_the_way() {
        // As many quotes as an outcome can hold: each is two bytes of its JSON, four on the way.
        let json = "\\\"".repeat(OUTCOME_BYTES / 2);
        let mut batch = Batch::default();
        let mut items = 0;
        while batch.takes(wire(&json)) {
            batch.bytes += wire(&json);
            items += 1;
        }
        assert_eq!(items, 20);
        assert!(items * (2 * OUTCOME_BYTES + WIRE_ITEM) <= BATCH_WRITE_BYTES);
    }

    #[test]
    fn waits_grow_to_their_bound() {
        for round in 0..200 {
            let wait = backoff(round);
            assert!(wait >= Duration::from_millis(25) && wait <= Duration::from_secs(5));
        }
        assert!(backoff(7) > backoff(0));
    }
}
