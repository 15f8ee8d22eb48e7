//! The events that trigger stages, without their envelopes, which the crate `rowmill-events` reads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::run::RunId;

/// One delivery of an event to a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The owner of the claims that it takes: Lambda's request id. It is the same for every retry of
    /// the same delivery, so that a retry resumes its own work at once.
    pub owner: String,
    /// When it started.
    pub now: DateTime<Utc>,
}

/// An object was put into the inbox. The event of split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCreated {
    /// The inbox bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version of the object, otherwise its ETag.
    pub version: String,
    /// Whether `version` is a version, with which the object can be requested.
    pub versioned: bool,
    /// The size in bytes.
    pub size: u64,
    /// When the object was put.
    pub time: DateTime<Utc>,
}

impl ObjectCreated {
    /// The id of the run that the upload starts.
    pub fn run_id(&self) -> RunId {
        let folder = keys::folder(&self.key).unwrap_or_default();
        RunId::new(&self.bucket, &self.key, &self.version, self.time, folder)
    }
}

/// The answer of report when the email of a run is sent. The event of cleanup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The run.
    pub run: RunId,
}

/// The SES message tag that names the run. SES includes it in bounce notifications.
pub const RUN_TAG: &str = "rowmill-run";

/// The email of a run bounced. An event of report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// The run.
    pub run: RunId,
    /// The message id from the mail service.
    pub mail: String,
    /// For each address, the reason from the service and the mailbox.
    pub recipients: BTreeMap<String, String>,
    /// Whether the workbook could be the reason, so that an email with a link instead could be accepted.
    pub by_workbook: bool,
}
