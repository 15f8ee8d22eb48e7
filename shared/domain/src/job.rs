//! Jobs as AWS Batch knows them: what is submitted, and what is told of it.

mod graph;
pub mod rules;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use graph::{PlannedJob, job_graph};

use crate::run::RunId;

/// A job's name: letters, digits, `-` and `_`, at most [`crate::limits::JOB_NAME_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(pub String);

impl JobName {
    /// The name of the job of a run's chunk and phase: `<run>-c00000-p0`.
    pub fn new(run: &RunId, chunk: u32, phase: u16) -> JobName {
        JobName(format!("{run}-c{chunk:05}-p{phase}"))
    }

    /// The run, chunk and phase that a name says; `None` for a job that is not ours.
    pub fn parse(name: &str) -> Option<(RunId, u32, u16)> {
        let (rest, phase) = name.rsplit_once("-p")?;
        let (run, chunk) = rest.rsplit_once("-c")?;
        Some((run.parse().ok()?, chunk.parse().ok()?, phase.parse().ok()?))
    }
}

/// A job's id as Batch gave it; a child of an array is `<parent>:<index>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl JobId {
    /// The id of an array's child.
    pub fn child(&self, index: u32) -> JobId {
        JobId(format!("{}:{index}", self.0))
    }

    /// The index, where it is a child's id.
    pub fn index(&self) -> Option<u32> {
        self.0.rsplit_once(':')?.1.parse().ok()
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a job depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DependencyType {
    /// Child n after child n of the other, which must be an array of the same size.
    #[serde(rename = "N_TO_N")]
    NToN,
    /// The children of this array one after another; names no other job.
    #[serde(rename = "SEQUENTIAL")]
    Sequential,
}

/// One `dependsOn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other job; absent for [`DependencyType::Sequential`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Absent: after the whole other job.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DependencyType>,
}

/// What an `evaluateOnExit` rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExitAction {
    /// Try again while attempts are left.
    Retry,
    /// Fail at once.
    Exit,
}

/// One rule of a retry strategy. All patterns given must match; a pattern may end in `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateOnExit {
    /// Against the attempt's `statusReason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_status_reason: Option<String>,
    /// Against the container's `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_reason: Option<String>,
    /// Against the exit code in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_code: Option<String>,
    /// What then.
    pub action: ExitAction,
}

/// How often a job is tried. No matching rule means retry, as in AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryStrategy {
    /// 1 to [`crate::limits::ATTEMPTS_MAX`].
    pub attempts: u32,
    /// At most [`crate::limits::EVALUATE_ON_EXIT_MAX`]; the first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate_on_exit: Vec<EvaluateOnExit>,
}

/// How an attempt ended, as far as rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd<'a> {
    /// The attempt's `statusReason`.
    pub status_reason: &'a str,
    /// The container's `reason`; none where its program ended by itself.
    pub reason: Option<&'a str>,
    /// The container's exit code; none where it never ran, or its host was taken away.
    pub exit_code: Option<i32>,
}

impl RetryStrategy {
    /// What becomes of a job, while attempts are left, whose attempt failed so.
    pub fn action(&self, end: AttemptEnd<'_>) -> ExitAction {
        let mut rules = self.evaluate_on_exit.iter();
        let decides = rules.find(|rule| rule.matches(end));
        decides.map_or(ExitAction::Retry, |rule| rule.action)
    }
}

impl EvaluateOnExit {
    fn matches(&self, end: AttemptEnd<'_>) -> bool {
        let given = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| glob(pattern, text))
        };
        let code = end.exit_code.map(|code| code.to_string());
        given(&self.on_status_reason, end.status_reason)
            // AWS's own final rule for "all other job failures" is `onReason: "*"`, so it takes
            // attempts without a reason. Source: AWS CloudFormation, AWS::Batch::JobDefinition
            // RetryStrategy, "Retrying jobs".
            && given(&self.on_reason, end.reason.unwrap_or_default())
            && given(&self.on_exit_code, code.as_deref().unwrap_or_default())
    }
}

/// Whether `text` is `pattern`, or begins with what stands before its final `*`, in either case
/// of letters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text
            .get(..start.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(start)),
        None => text.eq_ignore_ascii_case(pattern),
    }
}

/// A job definition to register. Registering the same content again gives the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDefinition {
    /// Its name: `<stack>-<hash of the content>`.
    pub name: String,
    /// The container's image; locally the program itself is the image.
    pub image: String,
    /// The command; `Ref::name` stands for the job's parameter of that name.
    #[serde(default)]
    pub command: Vec<String>,
    /// vCPUs.
    pub vcpu: f64,
    /// MiB.
    pub memory_mib: u32,
    /// Environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Environment that Batch fills from Secrets Manager or Parameter Store: the variable, and
    /// what [`value_from`] makes its `valueFrom` of. Locally the variable is
    /// inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Retries.
    pub retry: RetryStrategy,
    /// Time limit of an attempt in seconds; at least
    /// [`crate::limits::ATTEMPT_SECONDS_MIN`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// A job to submit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmitJob {
    /// Its name.
    pub name: JobName,
    /// The queue.
    pub queue: String,
    /// The definition's ARN, or name with revision.
    pub definition: String,
    /// Array size, [`crate::limits::ARRAY_MIN`] to [`crate::limits::ARRAY_MAX`]; `None` is a
    /// plain job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_size: Option<u32>,
    /// At most [`crate::limits::DEPENDS_ON_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Environment on top of the definition's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Retries in place of the definition's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStrategy>,
    /// Time limit in place of the definition's, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Tags, for cost allocation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A job's state, as Batch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    /// Taken.
    Submitted,
    /// Waits for another job; an array parent stays here while its children are at work.
    Pending,
    /// Waits for a place.
    Runnable,
    /// Its container starts.
    Starting,
    /// At work.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise, or never ran because what it depends on failed.
    Failed,
}

impl JobStatus {
    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        self >= JobStatus::Succeeded
    }

    /// As Batch writes it.
    pub fn name(self) -> &'static str {
        match self {
            JobStatus::Submitted => "SUBMITTED",
            JobStatus::Pending => "PENDING",
            JobStatus::Runnable => "RUNNABLE",
            JobStatus::Starting => "STARTING",
            JobStatus::Running => "RUNNING",
            JobStatus::Succeeded => "SUCCEEDED",
            JobStatus::Failed => "FAILED",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<JobStatus> {
        [
            JobStatus::Submitted,
            JobStatus::Pending,
            JobStatus::Runnable,
            JobStatus::Starting,
            JobStatus::Running,
            JobStatus::Succeeded,
            JobStatus::Failed,
        ]
        .into_iter()
        .find(|s| s.name() == name)
    }
}

/// What DescribeJobs says of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDetail {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
    /// Its state.
    pub status: JobStatus,
    /// Why it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Array size, of a parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_size: Option<u32>,
    /// Index, of a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_index: Option<u32>,
    /// Exit code of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The container's reason of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts made.
    #[serde(default)]
    pub attempts: u32,
    /// Epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// Epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// Epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<i64>,
}

/// A job state change, as report's event says it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStateChange {
    /// The job's id.
    pub id: JobId,
    /// The job's name.
    pub name: JobName,
    /// The queue's ARN or name.
    pub queue: String,
    /// Its state.
    pub status: JobStatus,
    /// Why.
    pub status_reason: Option<String>,
    /// Index, of a child; report looks at parents and plain jobs only.
    pub array_index: Option<u32>,
}

/// The `valueFrom` of AWS Batch for a reference in [`JobDefinition::secrets`]. Source: AWS Batch API, Secret: the
/// ARN of a secret, or of a parameter, or the name of a parameter of the same Region.
pub fn value_from(reference: &str, partition: &str, region: &str, account: &str) -> String {
    if reference.starts_with("arn:") {
        reference.to_owned()
    } else if let Some(parameter) = reference.strip_prefix("ssm:") {
        parameter.to_owned()
    } else {
        format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{reference}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_star_takes_every_text_that_begins_so(
            start in "[a-zA-Z0-9.: ]{0,12}",
            rest in "\\PC{0,12}",
        ) {
            let text = format!("{start}{rest}");
            let pattern = format!("{start}*");
            prop_assert!(glob(&pattern, &text));
            prop_assert!(glob(&pattern.to_ascii_uppercase(), &text));
            prop_assert_eq!(glob(&start, &text), rest.is_empty());
        }
    }

    #[test]
    fn job_names_read_back() {
        let run: RunId = "20261121-tax-sale-0123456789ab".parse().unwrap();
        let name = JobName::new(&run, 12, 1);
        assert_eq!(JobName::parse(&name.0), Some((run, 12, 1)));
        assert_eq!(JobName::parse("nightly-backup"), None);
    }
}
