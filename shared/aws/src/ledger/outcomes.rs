//! The outcomes of a run's records.
//!
//! A partition takes 1,000 writes per second, so the rows of a chunk alternate between
//! [`PARTITIONS`] partitions. Reads query all of them concurrently and merge the results.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_table::DeleteTableError;
use aws_sdk_dynamodb::types::{PutRequest, TableStatus, WriteRequest};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, TryStreamExt, future, stream};
use rowmill_domain::limits::{BATCH_WRITE_BYTES, BATCH_WRITE_ITEMS, OUTCOME_BYTES};
use rowmill_domain::{Outcome, RunId};
use rowmill_ports::{ErrorKind, Outcomes, PortError, Result, TablePlan};

use super::item::{number, text, text_of, unreadable};
use super::table::Creation;
use super::{DynamoLedger, Item};
use crate::error::failed;

/// The partition key: `<chunk>#<row mod PARTITIONS>`.
pub(super) const CHUNK: &str = "chunk";
/// The sort key.
pub(super) const ROW: &str = "row";
/// The outcome as JSON.
const OUTCOME: &str = "outcome";

/// Partitions of a chunk. A new table has four, each with 1,000 writes per second, so a run with a
/// single chunk can use all of them.
const PARTITIONS: u32 = 4;

/// Batches written concurrently.
const AT_ONCE: usize = 8;

/// Rounds without progress before a batch fails.
const IDLE_ROUNDS: u32 = 10;

/// Pauses before unprocessed items are sent again: between 25 and 50 ms, doubling up to between 2.5
/// and 5 s.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_factor(2.0)
    .with_max_delay(Duration::from_millis(2500))
    .with_jitter()
    .without_max_times();

/// Bytes of an item in a request besides its outcome: names, keys, and JSON syntax.
const WIRE_ITEM: usize = 512;

fn partition(chunk: u32, of: u32) -> String {
    format!("{chunk:05}#{of}")
}

/// Attempts to create or drop a table while another caller does the same.
const TABLE_ATTEMPTS: u32 = 4;

#[async_trait]
impl Outcomes for DynamoLedger {
    async fn create_table(&self, id: &RunId, plan: TablePlan) -> Result<()> {
        let table = self.table(id);
        for _ in 0..TABLE_ATTEMPTS {
            match self.start_creation(&table, id, plan).await? {
                Creation::Started => return self.wait_until_active(&table, "CreateTable").await,
                Creation::Exists => match self.status(&table).await? {
                    // It is being dropped, which must finish first.
                    None | Some(TableStatus::Deleting) => {
                        self.wait_until_gone(&table, "CreateTable").await?;
                    }
                    Some(_) => return self.wait_until_active(&table, "CreateTable").await,
                },
            }
        }
        let message = "another caller keeps dropping the table";
        let kind = ErrorKind::Unavailable;
        Err(PortError::new("CreateTable", table, kind, message))
    }

    async fn drop_table(&self, id: &RunId) -> Result<()> {
        let table = self.table(id);
        for _ in 0..TABLE_ATTEMPTS {
            let deleted = self.client.delete_table().table_name(&table).send().await;
            match deleted {
                // Until it is gone, it is still listed.
                Ok(_) => return self.wait_until_gone(&table, "DeleteTable").await,
                Err(SdkError::ServiceError(error)) => match error.err() {
                    DeleteTableError::ResourceNotFoundException(_) => return Ok(()),
                    // It is being created, which must finish first.
                    DeleteTableError::ResourceInUseException(_) => {
                        self.wait_until_active(&table, "DeleteTable").await?;
                    }
                    _ => return Err(failed("DeleteTable", table)(SdkError::ServiceError(error))),
                },
                Err(error) => return Err(failed("DeleteTable", table)(error)),
            }
        }
        let message = "another caller keeps changing the table";
        let kind = ErrorKind::Unavailable;
        Err(PortError::new("DeleteTable", table, kind, message))
    }

    async fn list_tables(&self) -> Result<Vec<RunId>> {
        let prefix = format!("{}-run-", self.stack);
        let mut names = self.client.list_tables().into_paginator().items().send();
        let mut runs = Vec::new();
        while let Some(name) = names.next().await {
            let name = name.map_err(failed("ListTables", format!("{prefix}*")))?;
            // The name of another stack can start with this prefix: a run id must follow it.
            let run = name.strip_prefix(&prefix);
            runs.extend(run.and_then(|run| run.parse::<RunId>().ok()));
        }
        runs.sort_unstable();
        Ok(runs)
    }

    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        let table = self.table(id);
        let invalid =
            |message| PortError::new("BatchWriteItem", &table, ErrorKind::Invalid, message);
        // A batch must not contain a key twice. The later outcome of a row wins.
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
            // The list starts with one batch, and grows only by batches for an item.
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

    async fn read_outcomes(
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
}

impl DynamoLedger {
    /// Writes a batch. Repeats with the unprocessed items until there are none.
    async fn write_batch(&self, table: &str, mut items: Vec<WriteRequest>) -> Result<()> {
        let mut idle = 0;
        let mut pauses = PAUSES.build();
        loop {
            let sent = items.len();
            let response = self
                .client
                .batch_write_item()
                .request_items(table, items)
                .send()
                .await
                .map_err(failed("BatchWriteItem", table))?;
            let mut unprocessed = response.unprocessed_items.unwrap_or_default();
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
            // Never ends.
            self.sleep(pauses.next().unwrap_or_default()).await;
        }
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

/// Bytes of an item in a request, where its JSON is a JSON string: quotes and backslashes are
/// escaped. The limit of a batch applies to these bytes (DynamoDB API, BatchWriteItem: "data over
/// the network").
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
        .item("phase", number(outcome.phase))
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
    format!("the outcome of row {row} has {bytes} bytes; the limit is {OUTCOME_BYTES}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_stays_below_the_limit_of_the_service() {
        // As many quotes as fit into an outcome: each has two bytes in its JSON, and four in a
        // request.
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
    fn pauses_grow_to_their_maximum() {
        let pauses: Vec<Duration> = PAUSES.build().take(200).collect();
        let (least, most) = (Duration::from_millis(25), Duration::from_secs(5));
        assert!(pauses.iter().all(|pause| (least..=most).contains(pause)));
        assert!(pauses[0] <= 2 * least && pauses[199] >= most / 2);
    }
}
