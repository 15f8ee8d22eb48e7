//! Outcomes, in one database per run.

use std::ops::RangeInclusive;
use std::sync::PoisonError;

use async_trait::async_trait;
use rowmill_domain::tally::Tally;
use rowmill_domain::{Outcome, RunId};
use rowmill_ports::{Outcomes, OutcomesPage, Result, TablePlan};

use super::table::{Table, Writes};
use super::{LedgerError, SqliteLedger};
use crate::LocalError;

impl SqliteLedger {
    /// Returns how many rows of a run have an outcome, of any phase. Reads one counter per phase,
    /// regardless of the number of rows, and never waits for a writer.
    ///
    /// # Errors
    /// [`NotFound`](rowmill_ports::ErrorKind::NotFound) if the run has no table.
    pub async fn progress(&self, run: &RunId) -> Result<u64> {
        self.progress_at(run, 0).await
    }

    /// Returns how many rows of a run have an outcome of `phase` or a later one.
    ///
    /// # Errors
    /// As [`SqliteLedger::progress`].
    pub async fn progress_at(&self, run: &RunId, phase: u16) -> Result<u64> {
        self.with_table("GetItem", run, move |table| table.stored(phase))
            .await
    }
}

#[async_trait]
impl Outcomes for SqliteLedger {
    async fn create_table(&self, id: &RunId, _plan: TablePlan) -> Result<()> {
        let path = self.table_path(id);
        let done = tokio::task::spawn_blocking(move || Table::open(&path).map(|_| ()));
        let result = done.await.map_err(LedgerError::panicked);
        result
            .and_then(|opened| opened.map_err(LedgerError::Local))
            .map_err(|error| error.into_port("CreateTable", id.as_str(), &self.tables))
    }

    async fn drop_table(&self, id: &RunId) -> Result<()> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        let path = self.table_path(id);
        let done = tokio::task::spawn_blocking(move || Table::remove(&path));
        let result = done.await.map_err(LedgerError::panicked);
        result
            .and_then(|removed| removed.map_err(LedgerError::Local))
            .map_err(|error| error.into_port("DeleteTable", id.as_str(), &self.tables))
    }

    async fn list_tables(&self) -> Result<Vec<RunId>> {
        let failed = |error: std::io::Error| {
            LocalError::file(&self.tables)(error).into_port("ListTables", "")
        };
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&self.tables).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let run = name.to_str().and_then(|name| name.strip_suffix(".db"));
            runs.extend(run.and_then(|run| run.parse::<RunId>().ok()));
        }
        runs.sort_unstable();
        Ok(runs)
    }

    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        // Serialized before any lock is taken.
        let writes = Writes::of(outcomes).map_err(|error| {
            error.into_port("BatchWriteItem", id.as_str(), &self.table_path(id))
        })?;
        self.with_table("BatchWriteItem", id, move |table| table.put(chunk, &writes))
            .await
    }

    async fn read_page(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<OutcomesPage> {
        self.with_table("Query", id, move |table| table.read(chunk, rows))
            .await
    }

    async fn add_tally(&self, id: &RunId, more: &Tally) -> Result<Tally> {
        let more = more.clone();
        self.with_table("UpdateItem", id, move |table| table.add_tally(&more))
            .await
    }

    async fn tally(&self, id: &RunId) -> Result<Tally> {
        self.with_table("Query", id, Table::tally).await
    }
}
