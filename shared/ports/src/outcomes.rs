use std::ops::RangeInclusive;

use async_trait::async_trait;
use rowmill_domain::tally::Tally;
use rowmill_domain::{Outcome, RunId};

use crate::Result;

/// The load that a run's table must handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Peak number of writes per second.
    pub writes_per_second: u32,
    /// Number of outcomes in total.
    pub records: u64,
}

/// A page of outcomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutcomesPage {
    /// Outcomes, in row order.
    pub outcomes: Vec<Outcome>,
    /// The first row that is not read yet. `None` at the end. All outcomes of the page have smaller rows.
    pub next: Option<u32>,
}

/// The outcomes of a run's records, in one table per run: DynamoDB, or SQLite.
///
/// Every write is durable when the call returns. Every read sees all writes that returned before
/// it started.
#[async_trait]
pub trait Outcomes: Send + Sync {
    /// Creates the run's table and waits until it is ready. Does nothing if the table exists.
    async fn create_table(&self, id: &RunId, plan: TablePlan) -> Result<()>;
    /// Drops the run's table. Does nothing if there is no table.
    async fn drop_table(&self, id: &RunId) -> Result<()>;
    /// Returns the ids of all runs that have a table, in order.
    async fn list_tables(&self) -> Result<Vec<RunId>>;
    /// Stores any number of outcomes of a chunk's records. An outcome replaces the one that its row has,
    /// except one of a later phase: a child that is late changes nothing.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    /// [`Invalid`](crate::ErrorKind::Invalid) if an outcome is larger than
    /// [`OUTCOME_BYTES`](rowmill_domain::limits::OUTCOME_BYTES); then nothing is stored.
    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()>;
    /// Returns the first outcomes of a chunk's rows: as many as have together about
    /// [`OUTCOMES_PAGE_BYTES`](rowmill_domain::limits::OUTCOMES_PAGE_BYTES), and at most a few times
    /// that. Rows without an outcome are left out.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    async fn read_page(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<OutcomesPage>;
    /// Returns the outcomes of all pages, in row order. For few rows: the outcomes of a chunk can have
    /// some gigabytes.
    ///
    /// # Errors
    /// As [`Outcomes::read_page`].
    async fn read_outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        let (mut outcomes, last) = (Vec::new(), *rows.end());
        let mut next = Some(*rows.start());
        while let Some(first) = next {
            let page = self.read_page(id, chunk, first..=last).await?;
            outcomes.extend(page.outcomes);
            next = page.next;
        }
        Ok(outcomes)
    }
    /// Adds to the run's tally, and returns the sum of everything added so far. Not idempotent: a call
    /// that fails with [`Unavailable`](crate::ErrorKind::Unavailable) may have added.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    async fn add_tally(&self, id: &RunId, more: &Tally) -> Result<Tally>;
    /// Returns the run's tally, zero if nothing was added.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    async fn tally(&self, id: &RunId) -> Result<Tally>;
}
