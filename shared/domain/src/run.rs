//! A run: one upload of one workbook, from the inbox to the email.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cost::{CostReport, Planned, RunCost};
use crate::limits::RETRIES_MAX;
use crate::pipeline_name::PipelineName;
use crate::result_storage::ResultStorage;
use crate::submitter::Submitter;
use crate::tally::{CostRates, Tally};

/// The id of a run: `<yyyymmdd>-<pipeline>-<12 hex digits of blake3(bucket, key, version)>`, with the
/// date of the upload. The retries of a run have the same id followed by `-r1`, `-r2` and so on.
///
/// It is a pure function of the upload, so that repeated deliveries of an event give the same run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

/// The text is not a run id.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a run id (<yyyymmdd>-<pipeline>-<12 hex digits>, for a retry with -r<number>)"
)]
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
        let (upload, _) = parts(&self.0);
        PipelineName(upload[9..upload.len() - 13].to_owned())
    }

    /// Returns which retry the run is: 1 for the first. `None`: it is not a retry.
    pub fn retry_number(&self) -> Option<u16> {
        parts(&self.0).1.and_then(retry_number)
    }

    /// Returns the run of the upload, which this run is or retries.
    pub fn original(&self) -> RunId {
        RunId(parts(&self.0).0.to_owned())
    }

    /// Returns the id of the retry after this run. The retry of a retry is not nested: `-r2` follows
    /// `-r1`. `None`: there are [`RETRIES_MAX`] retries.
    pub fn next_retry(&self) -> Option<RunId> {
        let next = self.retry_number().unwrap_or(0) + 1;
        (next <= RETRIES_MAX).then(|| RunId(format!("{}-r{next}", parts(&self.0).0)))
    }
}

/// The id of the upload's run, and the number of the retry as text. The last part of an id without
/// retry is hexadecimal, so it has no `r`.
fn parts(id: &str) -> (&str, Option<&str>) {
    match id.rsplit_once("-r") {
        Some((upload, number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            (upload, Some(number))
        }
        _ => (id, None),
    }
}

fn retry_number(text: &str) -> Option<u16> {
    let number = text.parse().ok()?;
    let canonical = (1..=RETRIES_MAX).contains(&number) && !text.starts_with('0');
    canonical.then_some(number)
}

impl FromStr for RunId {
    type Err = RunIdError;
    fn from_str(text: &str) -> Result<RunId, RunIdError> {
        let (upload, retry) = parts(text);
        let valid = upload.is_ascii()
            && upload.len() > 22
            && upload[..8].bytes().all(|b| b.is_ascii_digit())
            && &upload[8..9] == "-"
            && &upload[upload.len() - 13..upload.len() - 12] == "-"
            && upload[upload.len() - 12..]
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && PipelineName::is_valid(&upload[9..upload.len() - 13])
            && retry.is_none_or(|number| retry_number(number).is_some());
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

/// In a deployment, a job that waits this long for capacity, while the queue runs nothing, is abandoned.
/// Its records run On-Demand in the second round. Shortages of Spot capacity are usually shorter.
pub const RUNNABLE_AFTER: Duration = Duration::from_secs(30 * 60);

/// In a deployment, the starts of report on a result before an email says that the result is late. After
/// that, report starts only every [`REPORT_PAUSE`].
pub const REPORT_STARTS: u32 = 6;
/// See [`REPORT_STARTS`]. Each start can cost 15 minutes of a function's memory.
pub const REPORT_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// How long after its first start report gives up, and the run fails: as long as dead letters are kept.
pub const REPORT_WITHIN: Duration = Duration::from_secs(14 * 24 * 3600);

/// How often report started on the result of a run in a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportStarts {
    /// The first start.
    pub first: DateTime<Utc>,
    /// The last start.
    pub last: DateTime<Utc>,
    /// How many.
    pub count: u32,
    /// Why the last one failed. `None`: it runs, or it was ended from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether an email has said that the result is late.
    #[serde(default)]
    pub announced: bool,
}

impl ReportStarts {
    /// The starts with one more.
    pub fn after(before: Option<&ReportStarts>, now: DateTime<Utc>) -> ReportStarts {
        ReportStarts {
            first: before.map_or(now, |before| before.first),
            last: now,
            count: before.map_or(1, |before| before.count.saturating_add(1)),
            error: None,
            announced: before.is_some_and(|before| before.announced),
        }
    }

    /// Whether the next start has to wait.
    pub fn wait(&self, now: DateTime<Utc>) -> bool {
        self.count >= REPORT_STARTS && now < self.last + REPORT_PAUSE
    }

    /// When report gives up.
    pub fn until(&self) -> DateTime<Utc> {
        self.first + REPORT_WITHIN
    }
}

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

/// Why a run was stopped before all its records were done. Records that are not done are `missing`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The reason.
    #[serde(flatten)]
    pub reason: StopReason,
    /// When.
    pub at: DateTime<Utc>,
}

/// The reason for a [`Stop`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// Someone cancelled the run.
    Cancelled {
        /// Who: a user name or an email address.
        by: String,
    },
    /// The run cost more than `[batch] max_cost` allows.
    MaxCost {
        /// The limit in USD.
        limit: f64,
    },
    /// More records failed than `[batch] stop_after` allows.
    StopAfter {
        /// The limit as the pipeline states it: `20%` or a number.
        limit: String,
        /// Records that had failed.
        failed: u64,
        /// Records that were done, `ok` or `failed`.
        done: u64,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            StopReason::Cancelled { by } => write!(f, "the run was cancelled by {by}"),
            StopReason::MaxCost { limit } => write!(f, "the cost limit of {limit} USD was reached"),
            StopReason::StopAfter {
                limit,
                failed,
                done,
            } => write!(
                f,
                "{failed} of {done} records failed, and the limit is {limit}"
            ),
        }
    }
}

impl Stop {
    /// How the reasons of records start that were not processed because their run was stopped.
    pub const MISSING: &str = "Stopped: ";

    /// Why a record of the run is missing.
    pub fn missing(&self) -> String {
        format!("{}{self}", Stop::MISSING)
    }
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
    /// Who uploaded the workbook through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Who submitted the workbook. A retry has that of the run that it retries. `None`: nobody is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<Submitter>,
    /// The current state.
    pub state: RunState,
    /// When split first received the event.
    pub created: DateTime<Utc>,
    /// When the run last made progress.
    pub updated: DateTime<Utc>,
    /// The number of jobs; known once split is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// The number of jobs of the second round, in addition to `jobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_round: Option<u32>,
    /// The number of rows by result.
    #[serde(default)]
    pub counts: Counts,
    /// Why the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why the run was stopped early. It is never unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
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
    /// What the run costs for what its children do; known once split is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_rates: Option<CostRates>,
    /// What the plan expects; known once split is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// What the run used and cost; known with the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<RunCost>,
    /// What the steps took, in their order; known with the result. Empty if a step never ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<StepSeconds>,
    /// How often report started; in a deployment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportStarts>,
    /// When all temporary objects were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned: Option<DateTime<Utc>>,
    /// How the result is stored. `None`: it can be read, and was never archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<ResultStorage>,
}

impl RunItem {
    /// Returns what the run cost in USD at list prices, or has cost so far. `tally`: what its children
    /// have done, if it has no result yet. `None`: not known.
    pub fn cost_usd(&self, tally: Option<&Tally>) -> Option<f64> {
        let cost = match (&self.used, &self.cost_rates, tally) {
            (Some(used), ..) => used.usd,
            (None, Some(rates), Some(tally)) => rates.cost(tally),
            _ => return None,
        };
        Some(cost.total())
    }

    /// Returns what the run used and cost, compared with its plan. `None`: it has no result yet.
    pub fn cost_report(&self) -> Option<CostReport> {
        let used = self.used.as_ref()?;
        Some(CostReport::new(used, self.planned, self.counts.records))
    }

    /// Creates a run in its first state.
    pub fn new(id: RunId, source: UploadSource, now: DateTime<Utc>) -> RunItem {
        RunItem {
            id,
            source,
            owner: None,
            submitter: None,
            state: RunState::Splitting,
            created: now,
            updated: now,
            jobs: None,
            second_round: None,
            counts: Counts::default(),
            failure: None,
            stop: None,
            result: None,
            mail: None,
            bounced: BTreeMap::new(),
            linked_mail: None,
            definitions: Vec::new(),
            cost_rates: None,
            planned: None,
            used: None,
            measured: Vec::new(),
            report: None,
            cleaned: None,
            storage: None,
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
    /// Submitting the second round.
    SecondRound,
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
            Work::SecondRound => "second-round",
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
    fn a_stop_says_why_in_words_and_reads_back() {
        let at = DateTime::UNIX_EPOCH;
        for (reason, words) in [
            (
                StopReason::Cancelled { by: "ana".into() },
                "Stopped: the run was cancelled by ana",
            ),
            (
                StopReason::MaxCost { limit: 5.0 },
                "Stopped: the cost limit of 5 USD was reached",
            ),
            (
                StopReason::StopAfter {
                    limit: "20%".into(),
                    failed: 45,
                    done: 200,
                },
                "Stopped: 45 of 200 records failed, and the limit is 20%",
            ),
        ] {
            let stop = Stop { reason, at };
            assert_eq!(stop.missing(), words);
            let json = serde_json::to_string(&stop).unwrap();
            // DynamoDB returns 5.0 as 5.
            let json = json.replace("5.0", "5");
            assert_eq!(serde_json::from_str::<Stop>(&json).unwrap(), stop);
        }
    }

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
        let mut retry = id.clone();
        for number in [1, 2] {
            retry = retry.next_retry().unwrap();
            assert_eq!(retry.as_str(), format!("{id}-r{number}"));
            assert_eq!(retry.as_str().parse::<RunId>().unwrap(), retry);
            assert_eq!(retry.retry_number(), Some(number));
            assert_eq!(
                (retry.original(), retry.pipeline()),
                (id.clone(), id.pipeline())
            );
        }
        assert_eq!((id.original(), id.retry_number()), (id.clone(), None));
        let last: RunId = format!("{id}-r{RETRIES_MAX}").parse().unwrap();
        assert_eq!(last.next_retry(), None);
        for bad in ["-r", "-r0", "-r01", "-r10000", "-r1-r1", "-rx", "-r1-"] {
            assert!(format!("{id}{bad}").parse::<RunId>().is_err(), "{bad}");
        }
        // A pipeline's name may look like the end of a retry.
        let odd: RunId = "20261121-a-r1-0123456789ab".parse().unwrap();
        assert_eq!(
            (odd.pipeline().as_str(), odd.retry_number()),
            ("a-r1", None)
        );
        assert_eq!(
            RunId::new("b", "k", "v", date, "Bad Name")
                .pipeline()
                .as_str(),
            "unknown"
        );
    }
}
