//! Submitters, in `ledger.db`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::limits::BILLING_EVENT_KEPT;
use rowmill_domain::{RunId, Submitter};
use rowmill_ports::submitters::GivenTier;
use rowmill_ports::{ErrorKind, Result, Submitters};
use rusqlite::{OptionalExtension, params};

use super::{LedgerError, SqliteLedger};

/// Times are in epoch milliseconds.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS submitter (
        address TEXT NOT NULL PRIMARY KEY,
        tier TEXT NOT NULL,
        since INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS submitter_run (
        address TEXT NOT NULL,
        run TEXT NOT NULL,
        PRIMARY KEY (address, run)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS billing_event (
        id TEXT NOT NULL PRIMARY KEY,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;
";

#[async_trait]
impl Submitters for SqliteLedger {
    async fn given_tier(&self, submitter: &Submitter) -> Result<Option<GivenTier>> {
        let address = submitter.to_string();
        self.read("given_tier", submitter.as_str(), move |t| {
            let found = t
                .prepare_cached("SELECT tier, since FROM submitter WHERE address = ?1")?
                .query_row([address], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            found
                .map(
                    |(name, since)| match DateTime::from_timestamp_millis(since) {
                        Some(since) => Ok(GivenTier { name, since }),
                        None => Err(LedgerError::Other(
                            ErrorKind::Invalid,
                            format!("unreadable item: {since} is not a time"),
                        )),
                    },
                )
                .transpose()
        })
        .await
    }

    async fn give_tier(
        &self,
        submitter: &Submitter,
        tier: &str,
        since: DateTime<Utc>,
    ) -> Result<bool> {
        let (address, tier) = (submitter.to_string(), tier.to_owned());
        self.transact("give_tier", submitter.as_str(), move |t| {
            let changed = t
                .prepare_cached(
                    "INSERT INTO submitter (address, tier, since) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET tier = ?2, since = ?3 WHERE since <= ?3",
                )?
                .execute(params![address, tier, since.timestamp_millis()])?;
            Ok(changed == 1)
        })
        .await
    }

    async fn forget_tier(&self, submitter: &Submitter) -> Result<()> {
        let address = submitter.to_string();
        self.transact("forget_tier", submitter.as_str(), move |t| {
            t.prepare_cached("DELETE FROM submitter WHERE address = ?1")?
                .execute([address])?;
            Ok(())
        })
        .await
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        let key = id.to_owned();
        self.read("has_event", id, move |t| {
            Ok(
                t.prepare_cached("SELECT 1 FROM billing_event WHERE id = ?1")?
                    .exists([key])?,
            )
        })
        .await
    }

    async fn record_event(&self, id: &str, now: DateTime<Utc>) -> Result<()> {
        let key = id.to_owned();
        self.transact("record_event", id, move |t| {
            t.prepare_cached("DELETE FROM billing_event WHERE expires < ?1")?
                .execute([now.timestamp_millis()])?;
            let expires = (now + BILLING_EVENT_KEPT).timestamp_millis();
            t.prepare_cached(
                "INSERT INTO billing_event (id, expires) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![key, expires])?;
            Ok(())
        })
        .await
    }

    async fn add_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        let (address, key) = (submitter.to_string(), run.to_string());
        self.transact("add_run", run.as_str(), move |t| {
            t.prepare_cached(
                "INSERT INTO submitter_run (address, run) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute([address, key])?;
            Ok(())
        })
        .await
    }

    async fn remove_run(&self, submitter: &Submitter, run: &RunId) -> Result<()> {
        let (address, key) = (submitter.to_string(), run.to_string());
        self.transact("remove_run", run.as_str(), move |t| {
            t.prepare_cached("DELETE FROM submitter_run WHERE address = ?1 AND run = ?2")?
                .execute([address, key])?;
            Ok(())
        })
        .await
    }

    async fn runs_of(
        &self,
        submitter: &Submitter,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let address = submitter.to_string();
        let after = after.map_or(String::new(), RunId::to_string);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("runs_of", submitter.as_str(), move |t| {
            let mut select = t.prepare_cached(
                "SELECT run FROM submitter_run WHERE address = ?1 AND run > ?2 ORDER BY run LIMIT ?3",
            )?;
            let mut rows = select.query(params![address, after, limit])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_str().unwrap_or_default();
                runs.push(id.parse::<RunId>().map_err(|e| {
                    LedgerError::Other(ErrorKind::Invalid, format!("unreadable item: {e}"))
                })?);
            }
            Ok(runs)
        })
        .await
    }
}
