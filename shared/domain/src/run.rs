//! A run: one upload of one workbook, from the inbox to the mail.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pipeline_name::PipelineName;

/// `<yyyymmdd>-<pipeline>-<12 hex of blake3(bucket, key, version)>`; the date is the object's.
///
/// A pure function of the upload, so that an event delivered twice names the same run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

/// A text that is no run id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run id (<yyyymmdd>-<pipeline>-<12 hex digits>)")]
pub struct RunIdError(String);

impl RunId {
    /// The id of the run that this upload makes. `version` is the object's version, else its
    /// ETag; `pipeline` is the folder of the inbox, which must match
    /// [`PipelineName::is_valid`] (a folder that does not is written as `unknown`).
    pub fn new(
        bucket: &str,
        key: &str,
        version: &str,
        date: DateTime<Utc>,
        pipeline: &str,
    ) -> RunId {
        let mut hasher = blake3::Hasher::new();
        for part in [bucket, key, version] {
            // The length before each part keeps ("ab", "c") and ("a", "bc") apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let hash = hasher.finalize().to_hex();
        let pipeline = if PipelineName::is_valid(pipeline) {
            pipeline
        } else {
            "unknown"
        };
        RunId(format!(
            "{}-{pipeline}-{}",
            date.format("%Y%m%d"),
            &hash[..12]
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the pipeline that the id holds.
    pub fn pipeline(&self) -> PipelineName {
        PipelineName(self.0[9..self.0.len() - 13].to_owned())
    }
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<RunId, RunIdError> {
        let valid = text.is_ascii()
            && text.len() > 22
            && text[..8].bytes().all(|b| b.is_ascii_digit())
            && &text[8..9] == "-"
            && &text[text.len() - 13..text.len() - 12] == "-"
            && text[text.len() - 12..]
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && PipelineName::is_valid(&text[9..text.len() - 13]);
        if valid {
            Ok(RunId(text.to_owned()))
        } else {
            Err(RunIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The upload that made a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The inbox bucket.
    pub bucket: String,
    /// The key: `<pipeline>/<file>`.
    pub key: String,
    /// The object's version, else its ETag.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// When the object was put.
    pub uploaded: DateTime<Utc>,
}

/// In a deployment, a run of which nothing was heard for so long is looked at: longer than any
/// claim on a run's work is held, so that whoever held one has had its time.
pub const STALLED_AFTER: Duration = Duration::from_secs(20 * 60);

/// In a deployment, a job that waits so long for a place, while the queue runs nothing at all, is
/// given up: longer than spare capacity is usually short.
pub const RUNNABLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// Where a run stands. It only ever moves down this list, and ends in one of the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// split has seen the event.
    Splitting,
    /// The manifest is written; jobs are being submitted or at work.
    Running,
    /// All jobs are terminal; report is at work.
    Reporting,
    /// The mail is sent and every record is `ok`.
    Delivered,
    /// The mail is sent and some rows are `failed` or `missing`.
    DeliveredWithErrors,
    /// The run failed, and the mail that says so is sent.
    Failed,
}

impl RunState {
    /// All there are.
    pub const ALL: [RunState; 6] = [
        RunState::Splitting,
        RunState::Running,
        RunState::Reporting,
        RunState::Delivered,
        RunState::DeliveredWithErrors,
        RunState::Failed,
    ];

    /// Whether the run has ended: its mail is sent.
    pub fn is_terminal(self) -> bool {
        self >= RunState::Delivered
    }

    /// As JSON and the command line show it.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Splitting => "splitting",
            RunState::Running => "running",
            RunState::Reporting => "reporting",
            RunState::Delivered => "delivered",
            RunState::DeliveredWithErrors => "delivered_with_errors",
            RunState::Failed => "failed",
        }
    }
}

/// Why a run failed, in words for the person who gets the mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that gave up: `split`, `submit`, ...
    pub stage: String,
    /// What happened, and where (file, sheet, row, column).
    pub what: String,
    /// What to do next.
    pub advice: String,
}

/// How many rows became what. in = records + rejected; records = ok + failed + missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that became records.
    pub records: u64,
    /// Rows rejected by split.
    pub rejected: u64,
    /// Records with status `ok`.
    pub ok: u64,
    /// Records with status `failed`.
    pub failed: u64,
    /// Records with no outcome.
    pub missing: u64,
}

/// A run as the ledger keeps it: one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunItem {
    /// The key.
    pub id: RunId,
    /// The upload.
    pub source: Source,
    /// Where it stands.
    pub state: RunState,
    /// When split first saw it.
    pub created: DateTime<Utc>,
    /// When anything last moved.
    pub updated: DateTime<Utc>,
    /// How many jobs the run has in all; known once split is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// Rows in and out.
    #[serde(default)]
    pub counts: Counts,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Key of the result workbook in the work bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The mail's id as the mail service gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// Addresses that the mail came back from, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounced: BTreeMap<String, String>,
    /// The id of the mail that was sent once more, with a link in place of the workbook, as a
    /// mailbox did not take that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_mail: Option<String>,
    /// Job definitions registered for the run, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<String>,
    /// When everything temporary was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned: Option<DateTime<Utc>>,
}

impl RunItem {
    /// A run at its start.
    pub fn new(id: RunId, source: Source, now: DateTime<Utc>) -> RunItem {
        RunItem {
            id,
            source,
            state: RunState::Splitting,
            created: now,
            updated: now,
            jobs: None,
            counts: Counts::default(),
            failure: None,
            result: None,
            mail: None,
            bounced: BTreeMap::new(),
            linked_mail: None,
            definitions: Vec::new(),
            cleaned: None,
        }
    }
}

/// The work on a run that only one invocation does at a time, each under a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Reading the workbook, up to the message to submit.
    Split,
    /// Submitting all jobs.
    Submit,
    /// Workbook and mail.
    Report,
    /// Mail that came back.
    Bounce,
    /// Removing what is temporary.
    Cleanup,
}

impl Work {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Work::Split => "split",
            Work::Submit => "submit",
            Work::Report => "report",
            Work::Bounce => "bounce",
            Work::Cleanup => "cleanup",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_a_pure_function_of_the_upload() {
        let date = "2026-11-21T10:00:00Z".parse().unwrap();
        let id = RunId::new("inbox", "reviews/a.xlsx", "v1", date, "reviews");
        assert_eq!(
            id,
            RunId::new("inbox", "reviews/a.xlsx", "v1", date, "reviews")
        );
        assert_ne!(
            id,
            RunId::new("inbox", "reviews/a.xlsx", "v2", date, "reviews")
        );
        assert_ne!(
            RunId::new("ab", "c", "v", date, "p"),
            RunId::new("a", "bc", "v", date, "p")
        );
        assert!(id.as_str().starts_with("20261121-reviews-"));
        assert_eq!(id.pipeline().as_str(), "reviews");
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        for bad in [
            "",
            "20261121-reviews",
            "20261121--0123456789ab",
            "2026112x-a-0123456789ab",
            "20261121-a-0123456789aB",
            "ü0261121-a-0123456789ab",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert_eq!(
            RunId::new("b", "k", "v", date, "Bad Name")
                .pipeline()
                .as_str(),
            "unknown"
        );
    }
}
