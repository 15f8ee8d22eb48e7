//! The ledger in DynamoDB.
//!
//! | table | partition key | sort key | what |
//! |---|---|---|---|
//! | `<stack>-runs` | `run` | run id | a run: one item, its fields as attributes |
//! | | run id | `claim#<work>` | a claim: owner, until (epoch milliseconds), done |
//! | | run id | `job#<name>` | a job: id, ended |
//! | `<stack>-run-<run id>` | `<chunk>#<row mod 4>` | row | an outcome: stage, status, and the outcome as JSON |
//! | | `question#<question>` | 0 | a question: owner, until (epoch milliseconds), answer |
//! | `<stack>-lanes` | lane | | when its next turn is (epoch nanoseconds), and when it is forgotten (seconds) |
//!
//! All runs are in one partition, so that they can be listed in the order of their ids: it takes
//! 1,000 writes a second, and a run makes about ten in all.

mod answers;
mod claims;
mod item;
mod jobs;
mod lanes;
mod outcomes;
mod runs;
mod table;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{AsyncSleep, SharedAsyncSleep};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::run::Work;
use rowmill_domain::{Outcome, RunId, RunItem, RunState};
use rowmill_ports::{Asked, Claim, JobRecord, Ledger, Result, RunPatch, TablePlan};

/// An item, or a part of one.
type Item = HashMap<String, AttributeValue>;

/// The ledger of a deployment.
pub struct DynamoLedger {
    client: Client,
    stack: String,
    /// `<stack>-runs`
    runs: String,
    /// `<stack>-lanes`
    lanes: String,
    /// How the configuration sleeps, where it says; for the waits between rounds of a batch.
    sleep: Option<SharedAsyncSleep>,
}

impl DynamoLedger {
    /// The ledger of that stack. Its tables `<stack>-runs` and `<stack>-lanes` are the
    /// template's; those of the runs are made and dropped here.
    pub fn new(config: &SdkConfig, stack: impl Into<String>) -> DynamoLedger {
        let stack = stack.into();
        DynamoLedger {
            client: Client::new(config),
            runs: format!("{stack}-runs"),
            lanes: format!("{stack}-lanes"),
            stack,
            sleep: config.sleep_impl(),
        }
    }

    async fn sleep(&self, time: Duration) {
        match &self.sleep {
            Some(sleep) => sleep.sleep(time).await,
            None => tokio::time::sleep(time).await,
        }
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        self.put_run(run).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunItem>> {
        self.get_run(id).await
    }

    async fn runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        self.query_runs(after, limit).await
    }

    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        self.patch_run(id, from, patch, now).await
    }

    async fn claim(
        &self,
        id: &RunId,
        work: Work,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Claim> {
        self.take_claim(id, work, owner, now, lease).await
    }

    async fn complete(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        self.complete_claim(id, work, owner).await
    }

    async fn release(&self, id: &RunId, work: Work, owner: &str) -> Result<()> {
        self.release_claim(id, work, owner).await
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        self.keep_job(id, name, job).await
    }

    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        self.end_job(id, name, job).await?;
        self.count_ended(id).await
    }

    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        self.query_jobs(id).await
    }

    async fn take_turns(
        &self,
        lane: &str,
        turns: u32,
        gap: Duration,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        self.move_lane(lane, turns, gap, now).await
    }

    async fn ask(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Asked> {
        self.take_question(id, question, owner, now, lease).await
    }

    async fn answer(
        &self,
        id: &RunId,
        question: &str,
        owner: &str,
        answer: Option<&str>,
    ) -> Result<()> {
        self.keep_answer(id, question, owner, answer).await
    }

    async fn create_table(&self, id: &RunId, plan: TablePlan) -> Result<()> {
        self.make_table(id, plan).await
    }

    async fn drop_table(&self, id: &RunId) -> Result<()> {
        self.delete_table(id).await
    }

    async fn tables(&self) -> Result<Vec<RunId>> {
        self.list_tables().await
    }

    async fn put_outcomes(&self, id: &RunId, chunk: u32, outcomes: &[Outcome]) -> Result<()> {
        self.write_outcomes(id, chunk, outcomes).await
    }

    async fn outcomes(
        &self,
        id: &RunId,
        chunk: u32,
        rows: RangeInclusive<u32>,
    ) -> Result<Vec<Outcome>> {
        self.read_outcomes(id, chunk, rows).await
    }
}
