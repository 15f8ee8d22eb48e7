//! The outcomes of a run's records.
//!
//! A partition takes 1,000 writes per second, so the rows of a chunk alternate between
//! [`PARTITIONS`] partitions. Reads query all of them concurrently and merge the results.
//!
//! BatchWriteItem has no conditions, and single writes with one would need a request for each outcome.
//! So each phase writes items of its own, and reads take the latest phase of each row
//! ([`sort_key`]). A child that is late cannot replace what a later phase wrote.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_table::DeleteTableError;
use aws_sdk_dynamodb::types::{PutRequest, ReturnValue, TableStatus, WriteRequest};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, TryStreamExt, future, stream};
use rowmill_domain::limits::{BATCH_WRITE_BYTES, BATCH_WRITE_ITEMS, OUTCOME_BYTES};
use rowmill_domain::tally::Tally;
use rowmill_domain::{Outcome, RunId};
use rowmill_ports::{ErrorKind, Outcomes, OutcomesPage, PortError, Result, TablePlan};

use super::item::{integer_of, number, text, text_of, unreadable};
use super::table::Creation;
use super::{DynamoLedger, Item};
use crate::error::failed;

/// The partition key: `<chunk>#<row mod PARTITIONS>`.
pub(super) const CHUNK: &str = "chunk";
/// The sort key ([`sort_key`]).
pub(super) const ROW: &str = "row";
/// The outcome as JSON.
const OUTCOME: &str = "outcome";

/// Partitions of a chunk. A new table has four, each with 1,000 writes per second, so a run with a
/// single chunk can use all of them.
const PARTITIONS: u32 = 4;

/// Batches written concurrently.
const AT_ONCE: usize = 8;

/// Rounds without progress before a batch fails.
pub(super) const IDLE_ROUNDS: u32 = 10;

/// Pauses before unprocessed items are sent again: between 25 and 50 ms, doubling up to between 2.5
/// and 5 s.
pub(super) const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_factor(2.0)
    .with_max_delay(Duration::from_millis(2500))
    .with_jitter()
    .without_max_times();

/// Bytes of an item in a request besides its outcome: names, keys, and JSON syntax.
const WIRE_ITEM: usize = 512;

/// The partition of the run's tally.
const TALLY: &str = "tally";
/// The attributes of the tally with the billed time of a phase, followed by its number.
const BILLED_MS: &str = "billed_ms_";

fn read_tally(item: &Item) -> Tally {
    let at = |name| integer_of(item, name).map_or(0, i64::unsigned_abs);
    let mut tally = Tally {
        ok: at("ok"),
        failed: at("failed"),
        tasks: at("tasks"),
        billed_ms: Vec::new(),
    };
    for name in item.keys() {
        let phase = name
            .strip_prefix(BILLED_MS)
            .and_then(|p| p.parse::<u16>().ok());
        if let Some(phase) = phase {
            tally.add_billed(phase.into(), at(name));
        }
    }
    tally
}

fn partition(chunk: u32, of: u32) -> String {
    format!("{chunk:05}#{of}")
}

/// The sort key of an outcome: its row, less a hundred-thousandth for each phase before its own. So the
/// latest phase of a row comes first, and the last row of a page is complete. Exact in 15 digits.
fn sort_key(row: u32, phase: u16) -> String {
    format!("{:.5}", f64::from(row) - f64::from(phase) / 1e5)
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
        // A batch must not contain a key twice. The later outcome of a row and phase wins.
        let mut items = BTreeMap::new();
        for outcome in outcomes {
            let json =
                serde_json::to_string(outcome).map_err(|error| invalid(error.to_string()))?;
            if json.len() > OUTCOME_BYTES {
                return Err(invalid(too_large(outcome.row, json.len())));
            }
            items.insert((outcome.row, outcome.phase), (outcome, json));
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

    async fn read_page(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<OutcomesPage> {
        if rows.is_empty() {
            return Ok(OutcomesPage::default());
        }
        let table = self.table(id);
        let parts = (0..PARTITIONS).map(|of| self.read_partition(&table, chunk, of, &rows));
        let parts = future::try_join_all(parts).await?;
        // A partition whose page is full knows nothing about the rows after its last one.
        let full = parts.iter().filter(|part| part.more);
        let read = full.map(|part| part.outcomes.last().map_or(*rows.start(), |last| last.row));
        let read_up_to = read.min();
        let mut outcomes: Vec<Outcome> = parts.into_iter().flat_map(|part| part.outcomes).collect();
        outcomes.retain(|outcome| read_up_to.is_none_or(|last| outcome.row <= last));
        outcomes.sort_unstable_by_key(|outcome: &Outcome| outcome.row);
        Ok(OutcomesPage {
            outcomes,
            next: read_up_to
                .map(|last| last + 1)
                .filter(|next| next <= rows.end()),
        })
    }

    async fn add_tally(&self, id: &RunId, more: &Tally) -> Result<Tally> {
        let table = self.table(id);
        let mut expression = "ADD #ok :ok, failed :failed, tasks :tasks".to_owned();
        let mut update = self.client.update_item();
        for (phase, ms) in more.billed_ms.iter().enumerate().filter(|(_, ms)| **ms > 0) {
            let name = format!("{BILLED_MS}{phase}");
            expression.push_str(&format!(", {name} :{name}"));
            update = update.expression_attribute_values(format!(":{name}"), number(ms));
        }
        let response = update
            .table_name(&table)
            .key(CHUNK, text(TALLY))
            .key(ROW, number(0))
            .update_expression(expression)
            // Not a reserved word today.
            .expression_attribute_names("#ok", "ok")
            .expression_attribute_values(":ok", number(more.ok))
            .expression_attribute_values(":failed", number(more.failed))
            .expression_attribute_values(":tasks", number(more.tasks))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(failed("UpdateItem", &table))?;
        Ok(read_tally(&response.attributes.unwrap_or_default()))
    }

    async fn tally(&self, id: &RunId) -> Result<Tally> {
        let table = self.table(id);
        let response = self
            .client
            .query()
            .table_name(&table)
            .key_condition_expression("#chunk = :tally")
            .expression_attribute_names("#chunk", CHUNK)
            .expression_attribute_values(":tally", text(TALLY))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("Query", &table))?;
        let items = response.items.unwrap_or_default();
        Ok(items.first().map(read_tally).unwrap_or_default())
    }
}

/// A page of a partition.
struct PartitionPage {
    outcomes: Vec<Outcome>,
    /// Whether there may be more after the last one.
    more: bool,
}

impl DynamoLedger {
    /// Writes a batch. Repeats with the unprocessed items until there are none.
    pub(super) async fn write_batch(
        &self,
        table: &str,
        mut items: Vec<WriteRequest>,
    ) -> Result<()> {
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
    ) -> Result<PartitionPage> {
        let page = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#chunk = :chunk AND #row BETWEEN :first AND :last")
            .projection_expression("#outcome")
            .expression_attribute_names("#chunk", CHUNK)
            .expression_attribute_names("#row", ROW)
            .expression_attribute_names("#outcome", OUTCOME)
            .expression_attribute_values(":chunk", text(partition(chunk, of)))
            .expression_attribute_values(":first", number(sort_key(*rows.start(), u16::MAX)))
            .expression_attribute_values(":last", number(sort_key(*rows.end(), 0)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("Query", table))?;
        let more = page.last_evaluated_key.is_some();
        let items = page.items.unwrap_or_default();
        let outcomes = items.iter().map(|item| read(table, item));
        let mut outcomes = outcomes.collect::<Result<Vec<_>>>()?;
        outcomes.dedup_by_key(|outcome: &mut Outcome| outcome.row);
        Ok(PartitionPage { outcomes, more })
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
        .item(ROW, number(sort_key(outcome.row, outcome.phase)))
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
    fn the_latest_phase_of_a_row_comes_first() {
        assert_eq!(sort_key(17, 0), "17.00000");
        assert_eq!(sort_key(17, 2), "16.99998");
        assert_eq!(sort_key(u32::MAX, 1), "4294967294.99999");
        for row in [0, 1, 1_048_576, u32::MAX - 1] {
            let first: f64 = sort_key(row, u16::MAX).parse().unwrap();
            let last: f64 = sort_key(row, 0).parse().unwrap();
            let next: f64 = sort_key(row + 1, u16::MAX).parse().unwrap();
            assert!(first < last && last < next, "{row}");
        }
    }

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
