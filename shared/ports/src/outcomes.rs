use std::ops::RangeInclusive;

use async_trait::async_trait;
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
    /// Stores any number of outcomes of a chunk's records. A later outcome of a row replaces the
    /// earlier one.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    /// [`Invalid`](crate::ErrorKind::Invalid) if an outcome is larger than
    /// [`OUTCOME_BYTES`](rowmill_domain::limits::OUTCOME_BYTES); then nothing is stored.
    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()>;
    /// Returns the outcomes of a chunk's rows, in row order. Rows without an outcome are left out.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    async fn read_outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>>;
}
