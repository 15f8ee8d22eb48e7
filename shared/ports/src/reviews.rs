//! Reviews of rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::review::{Feedback, FilterVerdict, ReviewEvent, RowEvents};
use rowmill_domain::{PipelineName, RunId};

use crate::Result;

/// The most rows in one [`Reviews::find_reviews`]. Source: DynamoDB API, BatchGetItem (100 keys).
pub const REVIEWS_AT_ONCE: usize = 100;

/// What people decided about rows: DynamoDB, or SQLite.
///
/// Every write is durable when the call returns. Every read sees all writes that returned before
/// it started.
#[async_trait]
pub trait Reviews: Send + Sync {
    /// Returns the histories of up to [`REVIEWS_AT_ONCE`] rows, in the order of the rows. Rows without
    /// an event are left out. The work does not depend on the number of reviewed rows of the run.
    async fn find_reviews(&self, run: &RunId, rows: &[u32]) -> Result<Vec<RowEvents>>;
    /// Returns the histories of all rows that have one, in the order of the rows, after the row
    /// `after`: a page, and the `after` of the next one.
    async fn list_reviews(&self, run: &RunId, after: u32) -> Result<(Vec<RowEvents>, Option<u32>)>;
    /// Adds an event to a row whose history has `version` events. Returns `false` and changes nothing
    /// if it has another number of events.
    async fn add_review(
        &self,
        run: &RunId,
        row: u32,
        version: u32,
        event: &ReviewEvent,
    ) -> Result<bool>;
    /// Stores a verdict on a filter, as one item. Returns `false` and changes nothing if its id exists
    /// in the run.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if its rows have more than 300,000 bytes.
    async fn put_filter(&self, run: &RunId, filter: &FilterVerdict) -> Result<bool>;
    /// Returns all verdicts on filters, in the order of their times.
    async fn filters(&self, run: &RunId) -> Result<Vec<FilterVerdict>>;
    /// Marks a verdict on a filter as undone. Returns `false` and changes nothing if it does not exist
    /// or was undone before.
    async fn undo_filter(&self, run: &RunId, id: &str, now: DateTime<Utc>) -> Result<bool>;
    /// Deletes everything about a run. Repeat it after an error.
    async fn delete_reviews(&self, run: &RunId) -> Result<()>;
    /// Stores feedback about a prediction of a pipeline. Replaces the one with the same id.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the id is not 32 hex digits.
    async fn put_feedback(&self, pipeline: &PipelineName, feedback: &Feedback) -> Result<()>;
    /// Returns the feedback about a pipeline, after the one with the id `after`, in an order that is the
    /// same in each call: a page, and the `after` of the next one.
    async fn list_feedback(
        &self,
        pipeline: &PipelineName,
        after: Option<&str>,
    ) -> Result<(Vec<Feedback>, Option<String>)>;
}

/// The most bytes of [`FilterVerdict::rows`]. Source: an item of DynamoDB has at most 400 KB.
pub const FILTER_BYTES: usize = 300_000;

/// The key of feedback: the first 120 bits of its id, because a number of DynamoDB has 38 digits. `None`:
/// the id is not 32 hex digits.
pub fn feedback_key(id: &str) -> Option<u128> {
    let is_hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let bits = is_hex.then(|| u128::from_str_radix(id, 16).ok());
    bits.flatten().map(|bits| bits >> 8)
}

/// The key of a verdict on a filter: a negative number from its id, where rows have their own number.
pub fn filter_key(id: &str) -> i64 {
    // FNV-1a, as 52 bits. DynamoDB and SQLite keep such a number exactly.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    -1 - i64::try_from(hash >> 12).unwrap_or_default()
}
