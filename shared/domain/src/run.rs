//! A run: one upload of one workbook, from the inbox to the email.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pipeline_name::PipelineName;

/// The id of a run: `<yyyymmdd>-<pipeline>-<12 hex digits of blake3(bucket, key, version)>`, with the
/// date of the upload.
///
/// It is a pure function of the upload, so that repeated deliveries of an event give the same run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

/// The text is not a run id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run id (<yyyymmdd>-<pipeline>-<12 hex digits>)")]
pub struct RunIdError(String);

impl RunId {
    /// Returns the id of the run for an upload. `version` is the version of the object, otherwise its
    /// ETag. `pipeline` is the folder in the inbox; if it is not a valid [`PipelineName`], the id says
    /// `unknown`.
    pub fn new(
        bucket: &str,
        key: &str,
        version: &str,
        date: DateTime<Utc>,
        pipeline: &str,
    ) -> RunId {
        let mut hasher = blake3::Hasher::new();
        for part in [bucket, key, version] {
            // The length of each part distinguishes ("ab", "c") from ("a", "bc").
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

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the pipeline in the id.
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

/// The upload that started a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSource {
    /// The inbox bucket.
    pub bucket: String,
    /// The key: `<pipeline>/<file>`.
    pub key: String,
    /// The version of the object, otherwise its ETag.
    pub version: String,
    /// The size in bytes.
    pub size: u64,
    /// When the object was put.
    pub uploaded: DateTime<Utc>,
}

/// In a deployment, a run without progress for this long is checked. It is longer than any claim is
/// held, so the owner of a claim has had enough time.
pub const STALLED_AFTER: Duration = Duration::from_secs(20 * 60);

/// In a deployment, a job that waits this long for capacity, while the queue runs nothing, fails the
/// run. Shortages of Spot capacity are usually shorter.
pub const RUNNABLE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The state of a run. It only moves down this list, and ends in one of the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Split has received the event.
    Splitting,
    /// The manifest is written; jobs are being submitted or running.
    Running,
    /// All jobs have ended; report is writing the result.
    Reporting,
    /// The email is sent and every record is `ok`.
    Delivered,
    /// The email is sent and some rows are `failed` or `missing`.
    DeliveredWithErrors,
    /// The run failed, and the email about it is sent.
    Failed,
}

impl RunState {
    /// All states.
    pub const ALL: [RunState; 6] = [
        RunState::Splitting,
        RunState::Running,
        RunState::Reporting,
        RunState::Delivered,
        RunState::DeliveredWithErrors,
        RunState::Failed,
    ];

    /// Whether the run has ended, which means that its email is sent.
    pub fn is_terminal(self) -> bool {
        self >= RunState::Delivered
    }

    /// Returns the name in JSON and on the command line.
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

/// Why a run failed, in words for the recipient of the email.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed: `split`, `submit`, ...
    pub stage: String,
    /// What happened, and where (file, sheet, row, column).
    pub what: String,
    /// What to do next.
    pub advice: String,
}

/// The number of rows by result. rows in = records + rejected; records = ok + failed + missing.
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
    /// Records without an outcome.
    pub missing: u64,
}

/// What a step took for a record, measured in a run. The planner uses it for the next run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSeconds {
    /// The kind of the step.
    pub kind: String,
    /// The 95th percentile of its seconds per record.
    pub p95_seconds: f64,
    /// The number of records.
    pub records: u64,
}

/// A run in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunItem {
    /// The id, and the key of the item.
    pub id: RunId,
    /// The upload.
    pub source: UploadSource,
    /// The current state.
    pub state: RunState,
    /// When split first received the event.
    pub created: DateTime<Utc>,
    /// When the run last made progress.
    pub updated: DateTime<Utc>,
    /// The number of jobs; known once split is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// The number of rows by result.
    #[serde(default)]
    pub counts: Counts,
    /// Why the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The key of the result workbook in the work bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The message id from the mail service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// Addresses that bounced, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounced: BTreeMap<String, String>,
    /// The message id of the second email, with a link instead of the workbook, which was sent because a
    /// mailbox refused the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_mail: Option<String>,
    /// The ARNs of the job definitions of the run, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<String>,
    /// What the steps took, in their order; known with the result. Empty if a step never ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<StepSeconds>,
    /// When all temporary objects were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned: Option<DateTime<Utc>>,
}

impl RunItem {
    /// Creates a run in its first state.
    pub fn new(id: RunId, source: UploadSource, now: DateTime<Utc>) -> RunItem {
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
            measured: Vec::new(),
            cleaned: None,
        }
    }
}

/// A piece of work on a run that needs a claim, so that only one invocation does it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Reading the workbook, up to the message for submit.
    Split,
    /// Submitting all jobs.
    Submit,
    /// Writing the workbook and sending the email.
    Report,
    /// Handling bounced email.
    Bounce,
    /// Removing temporary objects.
    Cleanup,
}

impl Work {
    /// Returns the name in the ledger.
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
