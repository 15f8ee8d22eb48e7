//! Runs, outcomes and coordination in DynamoDB.
//!
//! | table | partition key | sort key | item |
//! |---|---|---|---|
//! | `<stack>-runs` | `run` | run id | a run, with its fields as attributes |
//! | | `open` | run id | a run that is not cleaned up |
//! | | run id | `claim#<work>` | a claim: owner, until (epoch milliseconds), done |
//! | | run id | `job#<name>` | a job: id, ended |
//! | `<stack>-run-<run id>` | `<chunk>#<row mod 4>` | row and phase | an outcome: phase, status, and the outcome as JSON |
//! | | `tally` | 0 | what children have done so far: ok, failed, tasks, and `billed_ms_<phase>` |
//! | | `question#<question>` | 0 | a shared answer: owner, until (epoch milliseconds), answer |
//! | `<stack>-permits` | rate key | | the time of its next permit (epoch nanoseconds), and when the item expires (epoch seconds) |
//! | `<stack>-reviews` | run id | row | a reviewed row: version, and its events as JSON |
//! | | run id | a negative number | a verdict on a filter: the verdict as JSON, its rows, when it was undone |
//! | `<stack>-submitters` | address | `tier` | the tier that a submitter was given: tier, since (epoch milliseconds) |
//! | | address | `run#<run id>` | a run of a submitter |
//! | | `event#<id>` | `event` | a billing event, and when the item expires (epoch seconds) |
//!
//! Items of `<stack>-runs` have `expires` (epoch seconds), after which DynamoDB deletes them; a run has it
//! once it is cleaned up.
//!
//! All runs share one partition, so that they can be listed in the order of their ids. A partition
//! takes 1,000 writes per second; a run makes about ten in total.

mod coordination;
mod item;
mod outcomes;
mod reviews;
mod runs;
mod submitters;
mod table;

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{AsyncSleep, SharedAsyncSleep};
use aws_sdk_dynamodb::types::AttributeValue;
use rowmill_domain::RunId;

/// An item, or a part of one.
type Item = HashMap<String, AttributeValue>;

/// The ledger of a deployment: [`Runs`](rowmill_ports::Runs),
/// [`Outcomes`](rowmill_ports::Outcomes) and [`Coordination`](rowmill_ports::Coordination).
pub struct DynamoLedger {
    client: Client,
    stack: String,
    /// `<stack>-runs`
    runs: String,
    /// `<stack>-permits`
    permits: String,
    /// `<stack>-reviews`
    reviews: String,
    /// `<stack>-submitters`
    submitters: String,
    /// The configuration's sleep implementation, used between the rounds of a batch, if it has one.
    sleep: Option<SharedAsyncSleep>,
    /// The KMS key of the tables of runs. `None`: DynamoDB's own.
    key: Option<String>,
}

impl DynamoLedger {
    /// The ledger of `stack`. The template creates the tables `<stack>-runs`,
    /// `<stack>-permits`, `<stack>-reviews` and `<stack>-submitters`; the ledger creates and drops the tables of runs.
    pub fn new(config: &SdkConfig, stack: impl Into<String>) -> DynamoLedger {
        let stack = stack.into();
        DynamoLedger {
            client: Client::new(config),
            runs: format!("{stack}-runs"),
            permits: format!("{stack}-permits"),
            reviews: format!("{stack}-reviews"),
            submitters: format!("{stack}-submitters"),
            stack,
            sleep: config.sleep_impl(),
            key: None,
        }
    }

    /// The same ledger, whose tables of runs are encrypted with this KMS key. `None`: with DynamoDB's
    /// own.
    pub fn encrypted_with(self, key: Option<String>) -> DynamoLedger {
        DynamoLedger { key, ..self }
    }

    /// `<stack>-run-<run id>`
    fn table(&self, id: &RunId) -> String {
        format!("{}-run-{id}", self.stack)
    }

    async fn sleep(&self, time: Duration) {
        match &self.sleep {
            Some(sleep) => sleep.sleep(time).await,
            None => tokio::time::sleep(time).await,
        }
    }
}
