//! The events that enter stages, without their envelopes (those are read by the crate
//! `rowmill-events`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::run::RunId;

/// One delivery of an event to a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// Who holds the claims it takes. The same for every retry of the same delivery (Lambda's
    /// request id), so that a retry resumes its own work at once.
    pub owner: String,
    /// When it began.
    pub now: DateTime<Utc>,
}

/// An object was put into the inbox: split's event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCreated {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version, else the ETag.
    pub version: String,
    /// Whether `version` is a version and can be asked for.
    pub versioned: bool,
    /// Bytes.
    pub size: u64,
    /// When.
    pub time: DateTime<Utc>,
}

/// What report answers once a run's mail is sent; handed to cleanup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The run.
    pub run: RunId,
}

/// The tag by which a mail names its run to SES, which names it again where the mail comes back.
pub const RUN_TAG: &str = "rowmill-run";

/// A run's mail came back from recipients: report's event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// The run.
    pub run: RunId,
    /// The mail's id, as the mail service gave it.
    pub mail: String,
    /// By address, what the service and the mailbox say of it.
    pub recipients: BTreeMap<String, String>,
    /// Whether the workbook may be why: with a link in its place the mail may be taken.
    pub by_workbook: bool,
}
