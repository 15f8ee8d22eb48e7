use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::cost::{Planned, RunCost};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::run::{Counts, Failure, ReportStarts, StepSeconds, Stop};
use rowmill_domain::tally::CostRates;
use rowmill_domain::{RunId, RunItem, RunState, Submitter};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Result;

/// Fields of a run to change. Fields that are `None` keep their value. The names are those of
/// [`RunItem`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunPatch {
    /// Who uploaded the workbook.
    pub owner: Option<String>,
    /// Who submitted the workbook.
    pub submitter: Option<Submitter>,
    /// The new state.
    pub state: Option<RunState>,
    /// Number of jobs in the first round of the run.
    pub jobs: Option<u32>,
    /// Number of jobs in its second round.
    pub second_round: Option<u32>,
    /// Rows in and out.
    pub counts: Option<Counts>,
    /// Why the run failed.
    pub failure: Option<Failure>,
    /// Why the run was stopped early.
    pub stop: Option<Stop>,
    /// Key of the result workbook in the work bucket.
    pub result: Option<String>,
    /// Message id of the email.
    pub mail: Option<String>,
    /// All addresses that bounced so far, each with the reason. Replaces the previous map.
    pub bounced: Option<BTreeMap<String, String>>,
    /// Message id of the second email, which links to the workbook instead of attaching it.
    pub linked_mail: Option<String>,
    /// ARNs of the job definitions, by phase.
    pub definitions: Option<Vec<String>>,
    /// What the run costs for what its children do.
    pub cost_rates: Option<CostRates>,
    /// What the plan expects.
    pub planned: Option<Planned>,
    /// What the run used and cost.
    pub used: Option<RunCost>,
    /// What the steps took.
    pub measured: Option<Vec<StepSeconds>>,
    /// How often report started.
    pub report: Option<ReportStarts>,
    /// When everything temporary was removed.
    pub cleaned: Option<DateTime<Utc>>,
}

impl RunPatch {
    /// The changed fields as they appear in a [`RunItem`]'s JSON, plus `updated` set to `now`.
    ///
    /// # Errors
    /// A field cannot be serialized. Every field type of this struct can.
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

/// A job of a run as recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job's deterministic name.
    pub name: JobName,
    /// The id that Batch gave it.
    pub id: JobId,
    /// Whether an event reported the end of the job.
    pub ended: bool,
}

/// Runs and the jobs of each run: DynamoDB, or SQLite. A run expires
/// [`RUN_KEPT`](rowmill_domain::limits::RUN_KEPT) after its temporary data was removed, and with it
/// everything else that is recorded about it. On one machine it stays.
///
/// Every write is durable when the call returns. Every read sees all writes that returned before
/// it started.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Adds a run. Returns `false` and changes nothing if its id exists.
    async fn create_run(&self, run: &RunItem) -> Result<bool>;
    /// Returns a run, or `None` if there is no run with this id.
    async fn find_run(&self, id: &RunId) -> Result<Option<RunItem>>;
    /// Returns up to `limit` runs in the order of their ids, starting after `after`. Returns fewer
    /// than `limit` only at the end.
    async fn list_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>>;
    /// Returns up to `limit` runs, those with the latest `created` first, and of the same time those with
    /// the greater id. Starts after `before`, the time and the id of a run. Returns fewer than `limit`
    /// only at the end. The work does not depend on the number of runs.
    async fn newest_runs(
        &self,
        before: Option<&(DateTime<Utc>, RunId)>,
        limit: usize,
    ) -> Result<Vec<RunItem>>;
    /// Returns up to `limit` runs whose temporary data is not removed yet (`cleaned` is `None`), in the
    /// order of their ids, starting after `after`. Does not read the others, of which there are many
    /// more. Returns fewer than `limit` only at the end.
    async fn open_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>>;
    /// Changes a run if its state is one of `from`, and sets its `updated` to `now`. Returns
    /// `false` and changes nothing if the run is in another state.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such run.
    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool>;

    /// Records how the result of a run is stored, if its state is one of `from`. A result of which
    /// nothing is recorded is [`Hot`](ResultState::Hot). Returns `false` and changes nothing if it is in
    /// another state. Does not change `updated`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such run.
    async fn update_result(
        &self,
        id: &RunId,
        from: &[ResultState],
        storage: &ResultStorage,
    ) -> Result<bool>;

    /// Deletes a run with its jobs and its claims, so that a run with the same id starts from the
    /// beginning. Does nothing if there is none. Repeat it after an error.
    async fn delete_run(&self, id: &RunId) -> Result<()>;

    /// Records a job's id under its name. Recording the same id again changes nothing.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if another id is recorded under the name.
    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()>;
    /// Marks a job as ended and returns how many jobs of the run have ended. Records the job if
    /// it is unknown: its event can arrive before the id is recorded.
    ///
    /// Each name counts once, however often this is called. A job whose id differs from the one
    /// recorded under its name does not count.
    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32>;
    /// Returns all recorded jobs of a run, in the order of their names.
    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>>;
}
