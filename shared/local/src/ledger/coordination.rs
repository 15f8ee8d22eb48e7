//! Claims in `ledger.db`, rate permits in `permits.db`, shared answers in the run's table.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::run::Work;
use rowmill_ports::{Asked, Claim, Coordination, ErrorKind, Holder, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::{LedgerError, SqliteLedger};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS claim (
        run TEXT NOT NULL,
        work TEXT NOT NULL,
        owner TEXT NOT NULL,
        until INTEGER NOT NULL,            -- epoch milliseconds; 0: released
        done INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, work)
    ) WITHOUT ROWID;
";

/// A claim as stored. `until` is in milliseconds since the epoch.
struct Row {
    owner: String,
    until: i64,
    done: bool,
}

impl Row {
    fn read(conn: &Connection, run: &RunId, work: Work) -> rusqlite::Result<Option<Row>> {
        conn.prepare_cached("SELECT owner, until, done FROM claim WHERE run = ?1 AND work = ?2")?
            .query_row(params![run.as_str(), work.name()], |row| {
                Ok(Row {
                    owner: row.get(0)?,
                    until: row.get(1)?,
                    done: row.get(2)?,
                })
            })
            .optional()
    }

    /// Who holds the claim at `now`, in milliseconds since the epoch.
    fn holder(&self, now: i64) -> Option<Holder> {
        (!self.done && self.until > now).then(|| Holder {
            owner: self.owner.clone(),
            until: DateTime::from_timestamp_millis(self.until).unwrap_or_default(),
        })
    }
}

#[async_trait]
impl Coordination for SqliteLedger {
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        let (run, owner) = (id.clone(), owner.to_owned());
        let (now, until) = lease_of(now, lease);
        self.transact("UpdateItem", id.as_str(), move |t| {
            let before = Row::read(t, &run, work)?;
            if let Some(before) = &before {
                if before.done {
                    return Ok(Claim::Done);
                }
                if let Some(holder) = before.holder(now).filter(|held| held.owner != owner) {
                    return Ok(Claim::Held(holder));
                }
            }
            t.prepare_cached(
                "INSERT INTO claim (run, work, owner, until) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET owner = ?3, until = ?4",
            )?
            .execute(params![run.as_str(), work.name(), owner, until])?;
            Ok(Claim::Taken {
                resumed: before.is_some(),
            })
        })
        .await
    }

    async fn holder(&self, id: &RunId, work: Work, now: DateTime<Utc>) -> Result<Option<Holder>> {
        let (run, now) = (id.clone(), now.timestamp_millis());
        self.read("GetItem", id.as_str(), move |t| {
            Ok(Row::read(t, &run, work)?.and_then(|claim| claim.holder(now)))
        })
        .await
    }

    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let (run, owner) = (id.clone(), owner.to_owned());
        self.transact("UpdateItem", id.as_str(), move |t| {
            // Also matches completed work: the same owner may retry after a lost response.
            let changed = t
                .prepare_cached(
                    "UPDATE claim SET done = 1 WHERE run = ?1 AND work = ?2 AND owner = ?3",
                )?
                .execute(params![run.as_str(), work.name(), owner])?;
            if changed == 0 {
                let message = format!("{owner} does not hold {}", work.name());
                return Err(LedgerError::Other(ErrorKind::Conflict, message));
            }
            Ok(())
        })
        .await
    }

    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        let (run, owner) = (id.clone(), owner.to_owned());
        self.transact("UpdateItem", id.as_str(), move |t| {
            // The row stays as a record that someone started. No owner has an empty name.
            t.prepare_cached(
                "UPDATE claim SET owner = '', until = 0
                 WHERE run = ?1 AND work = ?2 AND owner = ?3 AND done = 0",
            )?
            .execute(params![run.as_str(), work.name(), owner])?;
            Ok(())
        })
        .await
    }

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
        let (all, key) = (Arc::clone(&self.permits), rate_key.to_owned());
        let done = tokio::task::spawn_blocking(move || all.take(&key, duration, now));
        let first = done.await.unwrap_or_else(|e| Err(LedgerError::panicked(e)));
        first
            .map(DateTime::from_timestamp_nanos)
            .map_err(|error| error.into_port("UpdateItem", rate_key, &self.permits.path))
    }

    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        let (question, owner) = (question.to_owned(), owner.to_owned());
        let (now, until) = lease_of(now, lease);
        self.with_table("UpdateItem", id, move |table| {
            table.ask(&question, &owner, now, until)
        })
        .await
    }

    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        let (question, owner) = (question.to_owned(), owner.to_owned());
        let answer = answer.map(str::to_owned);
        self.with_table("UpdateItem", id, move |table| {
            table.answer(&question, &owner, answer.as_deref())
        })
        .await
    }
}

/// The start and the end of a lease in milliseconds since the epoch.
fn lease_of(now: DateTime<Utc>, lease: Duration) -> (i64, i64) {
    let now = now.timestamp_millis();
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    (now, now.saturating_add(lease))
}
