use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::run::{Counts, Failure, Work};
use rowmill_domain::{Outcome, RunId, RunItem, RunState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Result;

/// What [`Ledger::claim`] answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The work is the caller's until its lease ends. `resumed`: somebody, perhaps the caller's
    /// own earlier try, began it before.
    Taken {
        /// Whether it was begun before.
        resumed: bool,
    },
    /// Another owner is at it until then, unless it ends sooner.
    Held {
        /// Who.
        owner: String,
        /// When its lease ends.
        until: DateTime<Utc>,
    },
    /// The work is done; there is nothing to do.
    Done,
}

/// What [`Ledger::ask`] answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The answer.
    Known(String),
    /// Nobody has it: the caller is to find it, until its lease ends.
    Yours,
    /// Another owner is at it.
    Awaited,
}

/// What to change of a run; absent fields stay. Their names are those of [`RunItem`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunPatch {
    /// The new state.
    pub state: Option<RunState>,
    /// How many jobs it has.
    pub jobs: Option<u32>,
    /// Rows in and out.
    pub counts: Option<Counts>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Key of the result workbook.
    pub result: Option<String>,
    /// The mail's id.
    pub mail: Option<String>,
    /// All addresses that the mail came back from, and why.
    pub bounced: Option<BTreeMap<String, String>>,
    /// The id of the mail with a link in place of the workbook.
    pub linked_mail: Option<String>,
    /// Job definitions, by stage.
    pub definitions: Option<Vec<String>>,
    /// When everything temporary was removed.
    pub cleaned: Option<DateTime<Utc>>,
}

impl RunPatch {
    /// The fields of a [`RunItem`] that change, as its JSON has them; `updated` is `now`.
    ///
    /// # Errors
    /// None as long as a run is JSON.
    pub fn fields(&self, now: DateTime<Utc>) -> serde_json::Result<Map<String, Value>> {
        let mut fields = match serde_json::to_value(self)? {
            Value::Object(fields) => fields,
            // A struct is an object.
            _ => Map::new(),
        };
        fields.retain(|_, value| !value.is_null());
        fields.insert("updated".to_owned(), serde_json::to_value(now)?);
        Ok(fields)
    }
}

/// A job of a run as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its deterministic name.
    pub name: JobName,
    /// Its id.
    pub id: JobId,
    /// Whether an event said that it ended.
    pub ended: bool,
}

/// What the run's table must take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// Writes a second that the plan expects at most.
    pub writes_per_second: u32,
    /// Outcomes in all.
    pub records: u64,
}

/// Runs, their claims and jobs, the outcomes of their records, and turns at sources: DynamoDB, or
/// SQLite.
///
/// Every write is durable when the call returns, and every read sees the writes before it.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Adds a run. `false`, and nothing changed, where its id exists.
    async fn create_run(&self, run: &RunItem) -> Result<bool>;
    /// A run, or `None`.
    async fn run(&self, id: &RunId) -> Result<Option<RunItem>>;
    /// Runs in the order of their ids, after `after`, at most `limit`.
    async fn runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>>;
    /// Changes a run whose state is one of `from`, and its `updated`. `false`, and nothing
    /// changed, where it is in another state. [`crate::ErrorKind::NotFound`] without such a run.
    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool>;

    /// Claims a piece of work for `owner`, by one conditional write: taken where nobody has it,
    /// where `owner` itself has it, or where the holder's lease ended before `now`.
    /// The run need not exist.
    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim>;
    /// Says that the work is done; from then on [`Claim::Done`] for everybody.
    /// [`crate::ErrorKind::Conflict`] where `owner` no longer holds it.
    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()>;
    /// Gives a claim back undone, so that anyone can take it. Nothing happens where `owner` does
    /// not hold it.
    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()>;

    /// Keeps a job's id under its name. Again with the same id changes nothing;
    /// [`crate::ErrorKind::Conflict`] with another one.
    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()>;
    /// Notes that a job ended, recorded or not, and answers how many of the run's have.
    /// Again for the same name changes nothing, nor does a job of another id than the one kept
    /// under its name: a stray one does not count.
    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32>;
    /// The run's jobs by name.
    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>>;

    /// Takes turns of a lane, such as a host at a rate, for all children of all runs: so many,
    /// `gap` apart, and all of them after every turn of the lane taken before. The answer is the
    /// time of the first, and not before `now`. A lane is forgotten some time after its last turn;
    /// until then none would be any different.
    async fn take_turns(
        &self,
        lane: &str,
        turns: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>>;

    /// Asks for the answer to a question, as the translation of a text, for all children of the
    /// run, so that one of them finds it and all have it. The question is the caller's where nobody
    /// has answered it and nobody is at it, where `owner` itself is, or where the lease of who is
    /// ended before `now`; by one conditional write. Kept in the run's table, and gone with it.
    /// [`crate::ErrorKind::NotFound`] without a table.
    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked>;
    /// Keeps the answer to a question; or, without one, gives the question back, so that anyone can
    /// take it: then nothing happens where `owner` does not hold it.
    /// [`crate::ErrorKind::NotFound`] without a table; [`crate::ErrorKind::Invalid`], and nothing
    /// kept, for an answer above [`rowmill_domain::limits::OUTCOME_BYTES`].
    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()>;

    /// Creates the run's table and waits until it can be used; nothing happens where it exists.
    async fn create_table(&self, id: &RunId, plan: TablePlan) -> Result<()>;
    /// Drops the run's table; nothing happens where there is none.
    async fn drop_table(&self, id: &RunId) -> Result<()>;
    /// The runs that have a table.
    async fn tables(&self) -> Result<Vec<RunId>>;
    /// Stores outcomes of records of a chunk; any number. A row's later outcome replaces the
    /// earlier. [`crate::ErrorKind::NotFound`] without a table; [`crate::ErrorKind::Invalid`], and
    /// nothing stored, where one is above [`rowmill_domain::limits::OUTCOME_BYTES`].
    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()>;
    /// The outcomes of a chunk's rows, in the order of rows.
    async fn outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>>;
}
