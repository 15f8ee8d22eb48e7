//! Submitters: an item for the tier of each, one for each of their runs, and one for each billing event.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::limits::BILLING_EVENT_KEPT;
use rowmill_domain::{RunId, Submitter};
use rowmill_ports::submitters::GivenTier;
use rowmill_ports::{Result, Submitters};

use super::DynamoLedger;
use super::item::{EXPIRES, condition_failed, integer_of, key, number, text, text_of, unreadable};
use crate::error::failed;

/// The sort key of the tier of a submitter.
const TIER: &str = "tier";
/// The sort key of a billing event.
const EVENT: &str = "event";
/// Start of the sort key of a run.
const RUN: &str = "run#";
/// After every run: `$` follows `#`.
const AFTER_RUNS: &str = "run$";

/// The partition of a billing event.
fn event_partition(id: &str) -> String {
    format!("event#{id}")
}

fn run_sort(run: &str) -> String {
    format!("{RUN}{run}")
}

#[async_trait]
impl Submitters for DynamoLedger {
    async fn given_tier(&self, submitter: &Submitter) -> Result<Option<GivenTier>> {
        let address = submitter.as_str();
        let found = self
            .client
            .get_item()
            .table_name(&self.submitters)
            .set_key(Some(key(address, TIER)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("GetItem", address))?;
        let Some(item) = found.item else {
            return Ok(None);
        };
        let since = integer_of(&item, "since").and_then(DateTime::from_timestamp_millis);
        match (text_of(&item, "tier"), since) {
            (Some(name), Some(since)) => Ok(Some(GivenTier {
                name: name.to_owned(),
                since,
            })),
            _ => Err(unreadable("GetItem", address, "a submitter without a tier")),
        }
    }

    async fn give_tier(
        &self,
        submitter: &Submitter,
        tier: &str,
        since: DateTime<Utc>,
    ) -> Result<bool> {
        let address = submitter.as_str();
        let given = self
            .client
            .update_item()
            .table_name(&self.submitters)
            .set_key(Some(key(address, TIER)))
            .update_expression("SET #tier = :tier, #since = :since")
            .condition_expression("attribute_not_exists(#since) OR #since <= :since")
            .expression_attribute_names("#tier", "tier")
            .expression_attribute_names("#since", "since")
            .expression_attribute_values(":tier", text(tier))
            .expression_attribute_values(":since", number(since.timestamp_millis()))
            .send()
            .await;
        let Err(error) = given else { return Ok(true) };
        condition_failed(address, error)?;
        Ok(false)
    }

    async fn forget_tier(&self, submitter: &Submitter) -> Result<()> {
        self.delete_item(submitter.as_str(), TIER).await
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        let found = self
            .client
            .get_item()
            .table_name(&self.submitters)
            .set_key(Some(key(&event_partition(id), EVENT)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("GetItem", id))?;
        Ok(found.item.is_some())
    }

    async fn record_event(&self, id: &str, now: DateTime<Utc>) -> Result<()> {
        let expires = (now + BILLING_EVENT_KEPT).timestamp();
        self.client
            .put_item()
            .table_name(&self.submitters)
            .set_item(Some(key(&event_partition(id), EVENT)))
            .item(EXPIRES, number(expires))
            .send()
            .await
            .map_err(failed("PutItem", id))?;
        Ok(())
    }

    async fn add_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        self.client
            .put_item()
            .table_name(&self.submitters)
            .set_item(Some(key(submitter.as_str(), &run_sort(run.as_str()))))
            .send()
            .await
            .map_err(failed("PutItem", run.as_str()))?;
        Ok(())
    }

    async fn remove_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        let sort = run_sort(run.as_str());
        self.delete_item(submitter.as_str(), &sort).await
    }

    async fn runs_of(
        &self,
        submitter: &Submitter,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let address = submitter.as_str();
        let mut runs: Vec<RunId> = Vec::new();
        let mut after = run_sort(after.map_or("", RunId::as_str));
        while runs.len() < limit {
            let page = self
                .client
                .query()
                .table_name(&self.submitters)
                // Excludes `:after` below: a key has two bounds at most, and BETWEEN includes both.
                .key_condition_expression("pk = :pk AND sk BETWEEN :after AND :end")
                .expression_attribute_values(":pk", text(address))
                .expression_attribute_values(":after", text(&after))
                .expression_attribute_values(":end", text(AFTER_RUNS))
                // One more than asked for, because the first can be `:after`.
                .limit(i32::try_from(limit - runs.len() + 1).unwrap_or(i32::MAX))
                .consistent_read(true)
                .send()
                .await
                .map_err(failed("Query", address))?;
            for item in page.items.unwrap_or_default() {
                let sort = text_of(&item, "sk").unwrap_or_default();
                if sort == after {
                    continue;
                }
                let id = sort.strip_prefix(RUN).and_then(|id| id.parse().ok());
                runs.push(id.ok_or_else(|| unreadable("Query", address, "a run without an id"))?);
            }
            match (page.last_evaluated_key, runs.last()) {
                (Some(_), Some(last)) => after = run_sort(last.as_str()),
                _ => break,
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }
}

impl DynamoLedger {
    async fn delete_item(&self, partition: &str, sort: &str) -> Result<()> {
        self.client
            .delete_item()
            .table_name(&self.submitters)
            .set_key(Some(key(partition, sort)))
            .send()
            .await
            .map_err(failed("DeleteItem", partition))?;
        Ok(())
    }
}
