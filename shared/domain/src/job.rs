//! AWS Batch jobs: definitions, requests, and what Batch reports about them.

mod graph;
mod resources;
pub mod rules;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use graph::{PlannedJob, job_graph};
pub use resources::Resources;

use crate::run::RunId;

/// The name of a job: at most [`crate::limits::JOB_NAME_MAX`] letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(pub String);

/// What ends the names of jobs of the second round.
const SECOND_ROUND: &str = "-second";

impl JobName {
    /// Returns the name of the job for a chunk and phase of a run: `<run>-c00000-p0`.
    pub fn new(run: &RunId, chunk: u32, phase: u16) -> JobName {
        JobName(format!("{run}-c{chunk:05}-p{phase}"))
    }

    /// Returns the name of the job for a chunk and phase in the second round of a run:
    /// `<run>-c00000-p0-second`.
    pub fn second_round(run: &RunId, chunk: u32, phase: u16) -> JobName {
        JobName(format!("{}{SECOND_ROUND}", JobName::new(run, chunk, phase)))
    }

    /// Whether the job belongs to the second round of its run.
    pub fn is_second_round(&self) -> bool {
        self.0.ends_with(SECOND_ROUND)
    }

    /// Returns the run, chunk and phase in a name, in either round. `None`: Rowmill did not submit the
    /// job.
    pub fn parse(name: &str) -> Option<(RunId, u32, u16)> {
        let name = name.strip_suffix(SECOND_ROUND).unwrap_or(name);
        let (rest, phase) = name.rsplit_once("-p")?;
        let (run, chunk) = rest.rsplit_once("-c")?;
        Some((run.parse().ok()?, chunk.parse().ok()?, phase.parse().ok()?))
    }
}

/// The id of a job, assigned by Batch. For a child of an array it is `<parent>:<index>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl JobId {
    /// Returns the id of a child of this array.
    pub fn child(&self, index: u32) -> JobId {
        JobId(format!("{}:{index}", self.0))
    }

    /// Returns the index, if it is the id of a child.
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
    /// Child n waits for child n of the other job, an array of the same size.
    #[serde(rename = "N_TO_N")]
    NToN,
    /// The children of this array run one after another. There is no other job.
    #[serde(rename = "SEQUENTIAL")]
    Sequential,
}

/// One entry of `dependsOn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other job. Absent for [`DependencyType::Sequential`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Absent: the job waits for the whole other job.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DependencyType>,
}

/// The action of an `evaluateOnExit` rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExitAction {
    /// Retry while attempts are left.
    Retry,
    /// Fail immediately.
    Exit,
}

/// One rule of a retry strategy. It matches if all its patterns match. A pattern can end with `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateOnExit {
    /// Pattern for the `statusReason` of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_status_reason: Option<String>,
    /// Pattern for the `reason` of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_reason: Option<String>,
    /// Pattern for the exit code in decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_code: Option<String>,
    /// What to do if the rule matches.
    pub action: ExitAction,
}

/// How many times a job is attempted. If no rule matches, it is retried, as in AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryStrategy {
    /// Maximum number of attempts, 1 to [`crate::limits::ATTEMPTS_MAX`].
    pub attempts: u32,
    /// At most [`crate::limits::EVALUATE_ON_EXIT_MAX`] rules. The first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate_on_exit: Vec<EvaluateOnExit>,
}

/// How an attempt ended, as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptEnd<'a> {
    /// The `statusReason` of the attempt.
    pub status_reason: &'a str,
    /// The `reason` of the container. `None`: its program exited by itself.
    pub reason: Option<&'a str>,
    /// The exit code of the container. `None`: it never ran, or its host was reclaimed.
    pub exit_code: Option<i32>,
}

impl RetryStrategy {
    /// Returns what happens after a failed attempt, while attempts are left.
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

/// Whether `text` equals `pattern`, or starts with the part before its final `*`, ignoring case.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text
            .get(..start.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(start)),
        None => text.eq_ignore_ascii_case(pattern),
    }
}

/// What jobs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capacity {
    /// Fargate: `fargate`. The queue decides between Spot and On-Demand.
    Fargate,
    /// EC2 instances: `ec2`.
    Ec2,
}

/// A text that is not the name of a [`Capacity`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither fargate nor ec2")]
pub struct UnknownCapacity(String);

impl std::str::FromStr for Capacity {
    type Err = UnknownCapacity;
    fn from_str(text: &str) -> Result<Capacity, UnknownCapacity> {
        match text {
            "fargate" => Ok(Capacity::Fargate),
            "ec2" => Ok(Capacity::Ec2),
            _ => Err(UnknownCapacity(text.to_owned())),
        }
    }
}

/// A job definition to register. The same content always has the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDefinition {
    /// The name: `<stack>-<hash of the content>`.
    pub name: String,
    /// The container image. Ignored on one machine.
    pub image: String,
    /// The command. `Ref::name` stands for the parameter `name` of the job.
    #[serde(default)]
    pub command: Vec<String>,
    /// vCPUs, memory and storage.
    #[serde(flatten)]
    pub resources: Resources,
    /// Environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Environment variables that Batch sets from Secrets Manager or Parameter Store, with the
    /// reference that [`value_from`] converts to `valueFrom`. On one machine they are inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// When a failed attempt is retried.
    pub retry: RetryStrategy,
    /// Time limit for an attempt in seconds, at least [`crate::limits::ATTEMPT_SECONDS_MIN`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// Returns the queue that runs jobs On-Demand only, beside a queue given by name or ARN. Every
/// deployment has both.
pub fn on_demand_queue(queue: &str) -> String {
    format!("{queue}-on-demand")
}

/// The share of the queue's capacity that all jobs have in common. Priorities count within a share.
pub const SHARE: &str = "rowmill";

/// A request to submit a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmitJob {
    /// The name of the job.
    pub name: JobName,
    /// The queue, by name or ARN.
    pub queue: String,
    /// The ARN of the definition, or its name with revision.
    pub definition: String,
    /// The array size, [`crate::limits::ARRAY_MIN`] to [`crate::limits::ARRAY_MAX`]. `None`: a plain
    /// job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_size: Option<u32>,
    /// Jobs of a queue with a higher priority start first. The queue must have a fair-share scheduling
    /// policy. At most [`crate::limits::PRIORITY_MAX`].
    #[serde(default)]
    pub priority: u32,
    /// Overrides the vCPUs and memory of the definition. Its storage stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// At most [`crate::limits::DEPENDS_ON_MAX`] dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Environment variables in addition to those of the definition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Overrides the retry strategy of the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryStrategy>,
    /// Overrides the time limit of the definition, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Tags, for cost allocation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The state of a job in Batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    /// Accepted.
    Submitted,
    /// Waits for another job. The parent of an array stays in this state while its children run.
    Pending,
    /// Waits for capacity.
    Runnable,
    /// The container is starting.
    Starting,
    /// The container is running.
    Running,
    /// The container exited with code 0.
    Succeeded,
    /// The last attempt failed, or a job that it depends on failed.
    Failed,
}

impl JobStatus {
    /// Whether the job has ended.
    pub fn is_terminal(self) -> bool {
        self >= JobStatus::Succeeded
    }

    /// Returns the name that Batch uses.
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

    /// Returns the state with this name.
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

/// The result of DescribeJobs for one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDetail {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub name: JobName,
    /// The state of the job.
    pub status: JobStatus,
    /// Why the job is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The array size of a parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_size: Option<u32>,
    /// The index of a child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_index: Option<u32>,
    /// Of an array's parent: the number of its children in each state. Empty in listings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<JobStatus, u32>,
    /// The exit code of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The reason of the container in the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// When the job was submitted, in epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// When the last attempt started, in epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// When the job ended, in epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<i64>,
    /// Where the output of the last attempt is: a file on one machine, a log stream on AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A change of the state of a job. An event of report.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStateChange {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub name: JobName,
    /// The queue, by ARN or name.
    pub queue: String,
    /// The state of the job.
    pub status: JobStatus,
    /// Why the job is in this state.
    pub status_reason: Option<String>,
    /// The index of a child. Report uses only parents and plain jobs.
    pub array_index: Option<u32>,
}

/// Returns the `valueFrom` of AWS Batch for a reference in [`JobDefinition::secrets`]: the ARN of a
/// secret or parameter, or the name of a parameter in the same Region. Source: AWS Batch API, Secret.
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
        fn a_star_matches_every_text_with_this_prefix(
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
    fn capacities_are_parsed_as_in_the_environment() {
        assert_eq!("fargate".parse(), Ok(Capacity::Fargate));
        assert_eq!("ec2".parse(), Ok(Capacity::Ec2));
        let error = "Fargate".parse::<Capacity>().unwrap_err();
        assert_eq!(error.to_string(), "`Fargate` is neither fargate nor ec2");
    }

    #[test]
    fn job_names_read_back() {
        let run: RunId = "20261121-tax-sale-0123456789ab".parse().unwrap();
        let name = JobName::new(&run, 12, 1);
        assert_eq!(JobName::parse(&name.0), Some((run, 12, 1)));
        assert_eq!(JobName::parse("nightly-backup"), None);
    }
}
