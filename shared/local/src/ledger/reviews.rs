//! Reviews, in `ledger.db`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::review::{Feedback, FilterVerdict, ReviewEvent, RowEvents};
use rowmill_domain::{PipelineName, RunId};
use rowmill_ports::reviews::{FILTER_BYTES, feedback_key, filter_key};
use rowmill_ports::{ErrorKind, PortError, Result, Reviews};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{LedgerError, SqliteLedger};

/// `row`: as in DynamoDB, negative for a verdict on a filter.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS review (
        run TEXT NOT NULL,
        row INTEGER NOT NULL,
        version INTEGER NOT NULL,
        item TEXT NOT NULL,                -- JSON
        rows BLOB,                         -- of a verdict on a filter
        PRIMARY KEY (run, row)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS feedback (
        pipeline TEXT NOT NULL,
        id TEXT NOT NULL,
        item TEXT NOT NULL,                -- JSON
        PRIMARY KEY (pipeline, id)
    ) WITHOUT ROWID;
";

/// Rows in a page of [`Reviews::list_reviews`].
const PAGE: i64 = 10_000;

/// Texts in a page of [`Reviews::list_feedback`]. Each has at most 64 KiB.
const FEEDBACK_PAGE: i64 = 1000;

/// The stored item of a row, or of a verdict on a filter.
fn item(
    t: &Transaction<'_>,
    run: &str,
    row: i64,
) -> std::result::Result<Option<String>, rusqlite::Error> {
    t.prepare_cached("SELECT item FROM review WHERE run = ?1 AND row = ?2")?
        .query_row(params![run, row], |found| found.get(0))
        .optional()
}

#[async_trait]
impl Reviews for SqliteLedger {
    async fn find_reviews(&self, run: &RunId, rows: &[u32]) -> Result<Vec<RowEvents>> {
        let (key, mut rows) = (run.to_string(), rows.to_vec());
        rows.sort_unstable();
        self.read("BatchGetItem", run.as_str(), move |t| {
            let mut select =
                t.prepare_cached("SELECT item FROM review WHERE run = ?1 AND row = ?2")?;
            let mut found = Vec::new();
            for row in rows {
                let item: Option<String> = select
                    .query_row(params![key, row], |r| r.get(0))
                    .optional()?;
                if let Some(item) = item {
                    let events = serde_json::from_str(&item)?;
                    found.push(RowEvents { row, events });
                }
            }
            Ok(found)
        })
        .await
    }

    async fn list_reviews(&self, run: &RunId, after: u32) -> Result<(Vec<RowEvents>, Option<u32>)> {
        let key = run.to_string();
        self.read("Query", run.as_str(), move |t| {
            let mut select = t.prepare_cached(
                "SELECT row, item FROM review WHERE run = ?1 AND row > ?2 ORDER BY row LIMIT ?3",
            )?;
            let mut rows = select.query(params![key, after, PAGE])?;
            let mut page = Vec::new();
            while let Some(row) = rows.next()? {
                let events = serde_json::from_str(row.get_ref(1)?.as_str().unwrap_or_default())?;
                let row = row.get(0)?;
                page.push(RowEvents { row, events });
            }
            let full = page.len() as i64 == PAGE;
            let next = page.last().filter(|_| full).map(|last| last.row);
            Ok((page, next))
        })
        .await
    }

    async fn add_review(
        &self,
        run: &RunId,
        row: u32,
        version: u32,
        event: &ReviewEvent,
    ) -> Result<bool> {
        let (key, event) = (run.to_string(), event.clone());
        self.transact("UpdateItem", run.as_str(), move |t| {
            let mut events: Vec<ReviewEvent> = match item(t, &key, row.into())? {
                Some(item) => serde_json::from_str(&item)?,
                None => Vec::new(),
            };
            if events.len() != version as usize {
                return Ok(false);
            }
            events.push(event);
            let item = serde_json::to_string(&events)?;
            t.prepare_cached(
                "INSERT INTO review (run, row, version, item) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET version = ?3, item = ?4",
            )?
            .execute(params![key, row, version + 1, item])?;
            Ok(true)
        })
        .await
    }

    async fn put_filter(&self, run: &RunId, filter: &FilterVerdict) -> Result<bool> {
        let (key, filter) = (run.to_string(), filter.clone());
        if filter.rows.len() > FILTER_BYTES {
            let message = "the rows of the filter are too large";
            let kind = ErrorKind::Invalid;
            return Err(PortError::new("PutItem", run.as_str(), kind, message));
        }
        self.transact("PutItem", run.as_str(), move |t| {
            let item = serde_json::to_string(&filter)?;
            let added = t
                .prepare_cached(
                    "INSERT INTO review (run, row, version, item, rows)
                     VALUES (?1, ?2, 0, ?3, ?4) ON CONFLICT DO NOTHING",
                )?
                .execute(params![key, filter_key(&filter.id), item, filter.rows])?;
            Ok(added == 1)
        })
        .await
    }

    async fn filters(&self, run: &RunId) -> Result<Vec<FilterVerdict>> {
        let key = run.to_string();
        self.read("Query", run.as_str(), move |t| {
            let mut select =
                t.prepare_cached("SELECT item, rows FROM review WHERE run = ?1 AND row < 0")?;
            let mut rows = select.query([key])?;
            let mut filters: Vec<FilterVerdict> = Vec::new();
            while let Some(row) = rows.next()? {
                let mut filter: FilterVerdict =
                    serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default())?;
                filter.rows = row.get(1)?;
                filters.push(filter);
            }
            filters.sort_by_key(|filter| filter.time);
            Ok(filters)
        })
        .await
    }

    async fn undo_filter(&self, run: &RunId, id: &str, now: DateTime<Utc>) -> Result<bool> {
        let (key, row) = (run.to_string(), filter_key(id));
        self.transact("UpdateItem", run.as_str(), move |t| {
            let Some(item) = item(t, &key, row)? else {
                return Ok(false);
            };
            let mut filter: FilterVerdict = serde_json::from_str(&item)?;
            if filter.undone.is_some() {
                return Ok(false);
            }
            filter.undone = Some(now);
            let item = serde_json::to_string(&filter)?;
            t.prepare_cached("UPDATE review SET item = ?3 WHERE run = ?1 AND row = ?2")?
                .execute(params![key, row, item])?;
            Ok(true)
        })
        .await
    }

    async fn delete_reviews(&self, run: &RunId) -> Result<()> {
        let key = run.to_string();
        self.transact("BatchWriteItem", run.as_str(), move |t| {
            t.prepare_cached("DELETE FROM review WHERE run = ?1")?
                .execute([key])?;
            Ok::<_, LedgerError>(())
        })
        .await
    }

    async fn put_feedback(&self, pipeline: &PipelineName, feedback: &Feedback) -> Result<()> {
        let (pipeline, feedback) = (pipeline.to_string(), feedback.clone());
        if feedback_key(&feedback.id).is_none() {
            let (kind, message) = (ErrorKind::Invalid, "the id is not 32 hex digits");
            return Err(PortError::new("PutItem", pipeline, kind, message));
        }
        self.transact("PutItem", &pipeline.clone(), move |t| {
            let item = serde_json::to_string(&feedback)?;
            t.prepare_cached(
                "INSERT INTO feedback (pipeline, id, item) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET item = ?3",
            )?
            .execute(params![pipeline, feedback.id, item])?;
            Ok(())
        })
        .await
    }

    async fn list_feedback(
        &self,
        pipeline: &PipelineName,
        after: Option<&str>,
    ) -> Result<(Vec<Feedback>, Option<String>)> {
        let (key, after) = (pipeline.to_string(), after.unwrap_or_default().to_owned());
        self.read("Query", pipeline.as_str(), move |t| {
            let mut select = t.prepare_cached(
                "SELECT item FROM feedback WHERE pipeline = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?;
            let mut rows = select.query(params![key, after, FEEDBACK_PAGE])?;
            let mut page: Vec<Feedback> = Vec::new();
            while let Some(row) = rows.next()? {
                page.push(serde_json::from_str(
                    row.get_ref(0)?.as_str().unwrap_or_default(),
                )?);
            }
            let full = page.len() as i64 == FEEDBACK_PAGE;
            let next = page.last().filter(|_| full).map(|last| last.id.clone());
            Ok((page, next))
        })
        .await
    }
}
