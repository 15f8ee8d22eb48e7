//! Submitters.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::{RunId, Submitter};

use crate::Result;

/// The tier that a submitter was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenTier {
    /// The name of the tier. The file of tiers may no longer have it.
    pub name: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// The tiers and the runs of submitters: DynamoDB, or SQLite. Times are kept to the millisecond.
///
/// Every write is durable when the call returns. Every read sees all writes that returned before
/// it started.
#[async_trait]
pub trait Submitters: Send + Sync {
    /// Returns the tier that a submitter was given. `None`: none, so the default tier applies.
    async fn given_tier(&self, submitter: &Submitter) -> Result<Option<GivenTier>>;
    /// Gives a submitter a tier from `since` on. Returns `false` and changes nothing if a tier was given
    /// since a later time: that is the newer decision. Safe to repeat.
    async fn give_tier(
        &self,
        submitter: &Submitter,
        tier: &str,
        since: DateTime<Utc>,
    ) -> Result<bool>;
    /// Forgets the tier that a submitter was given.
    async fn forget_tier(&self, submitter: &Submitter) -> Result<()>;
    /// Whether a billing event was recorded. It may be forgotten after
    /// [`BILLING_EVENT_KEPT`](rowmill_domain::limits::BILLING_EVENT_KEPT).
    async fn has_event(&self, id: &str) -> Result<bool>;
    /// Records that a billing event was handled.
    async fn record_event(&self, id: &str, now: DateTime<Utc>) -> Result<()>;
    /// Records that a run belongs to a submitter. Safe to repeat.
    async fn add_run(&self, submitter: &Submitter, run: &RunId) -> Result<()>;
    /// Removes what [`Submitters::add_run`] records. Safe to repeat.
    async fn remove_run(&self, submitter: &Submitter, run: &RunId) -> Result<()>;
    /// Returns up to `limit` runs of a submitter in the order of their ids, after the run `after`. Fewer
    /// than `limit`: there are no more. A run may have been deleted, or may not exist yet.
    async fn runs_of(
        &self,
        submitter: &Submitter,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>>;
}
