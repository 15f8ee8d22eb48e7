use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::run::Work;

use crate::Result;

/// Who holds a claim, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The owner that took the claim.
    pub owner: String,
    /// When its lease ends, to the millisecond. The owner may complete or release the claim
    /// sooner.
    pub until: DateTime<Utc>,
}

/// The answer to [`Coordination::claim`].
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The caller holds the claim until its lease ends.
    Taken {
        /// Whether someone started this work before. That includes an earlier attempt by the same
        /// owner.
        resumed: bool,
    },
    /// Another owner holds the claim.
    Held(Holder),
    /// The work is complete.
    Done,
}

/// The answer to [`Coordination::ask`].
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The answer.
    Known(String),
    /// There is no answer yet. The caller holds the question until its lease ends, and should
    /// find the answer.
    Yours,
    /// Another owner holds the question. Ask again later.
    Awaited,
}

/// Coordination between invocations and between children: claims on the work of a run, rate
/// permits for all runs, and answers that the children of a run share. DynamoDB, or SQLite.
///
/// Every write is durable when the call returns. Every read sees all writes that returned before
/// it started. A power failure on the local machine can lose permits and answers: they only save
/// requests.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Claims a piece of a run's work for `owner`, with one conditional write. Succeeds if nobody
    /// holds the claim, if `owner` itself holds it, or if the holder's lease ended at or before
    /// `now`. The run does not have to exist.
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim>;
    /// Returns who holds the claim on a piece of work at `now`. `None` if nobody claimed it, if
    /// the lease ended at or before `now`, or if the work was released or completed. Changes
    /// nothing.
    async fn holder(&self, id: &RunId, work: Work, now: DateTime<Utc>) -> Result<Option<Holder>>;
    /// Completes the work: from now on, [`Coordination::claim`] returns [`Claim::Done`] to
    /// everyone. Completing it again as the same owner changes nothing.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if `owner` no longer holds the claim.
    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()>;
    /// Releases a claim without completing the work, so that anyone can claim it. Does nothing
    /// if `owner` does not hold the claim.
    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()>;

    /// Takes `permits` consecutive permits of a rate key, `gap` apart, shared by all children of
    /// all runs. A rate key stands for everything that shares a rate, such as a host. Returns the
    /// time of the first permit: not before `now`, and after every permit of the key taken
    /// earlier.
    ///
    /// A key expires some time after its last permit, when that no longer makes a
    /// difference.
    async fn take_permits(
        &self,
        rate_key: &str,
        permits: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>>;

    /// Asks for the shared answer to a question, such as the translation of a text, so that one
    /// child of the run finds it and all children use it. With one conditional write, the
    /// question goes to `owner` if it has no answer and nobody holds it, `owner` itself holds it,
    /// or the holder's lease ended at or before `now`.
    ///
    /// Answers live in the run's table and are dropped with it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked>;
    /// Stores the answer to a question. With `None`, releases the question so that anyone can take
    /// it; this does nothing if `owner` does not hold it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the run has no table.
    /// [`Invalid`](crate::ErrorKind::Invalid) if the answer is larger than
    /// [`OUTCOME_BYTES`](rowmill_domain::limits::OUTCOME_BYTES); then nothing is stored.
    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()>;
}
