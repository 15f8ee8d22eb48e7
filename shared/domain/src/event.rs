//! The events that enter stages, without their envelopes (those are read by the crate
//! `rowmill-events`).

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
