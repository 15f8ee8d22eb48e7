//! The rules of AWS Batch for requests, with the numbers in [`crate::limits`] and AWS's own messages
//! where they are known. Every adapter checks a request here before it accepts or sends it.
//!
//! AWS accepts overrides that are too long and fails the job when it starts. Here they are refused
//! like everything else.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::job::{DependencyType, JobDefinition, RetryStrategy, SHARE, SubmitJob};
use crate::limits;

/// The rule that a request violates: always an error of the caller (`ClientException` of AWS).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

type Checked = Result<(), Violation>;

fn refuse_if(bad: bool, why: impl FnOnce() -> String) -> Checked {
    if bad { Err(Violation(why())) } else { Ok(()) }
}

/// Checks a request to RegisterJobDefinition.
///
/// # Errors
/// The first violated rule.
pub fn definition(definition: &JobDefinition) -> Checked {
    name("Job definition", &definition.name)?;
    storage(definition.resources.storage_gib)?;
    retry(&definition.retry)?;
    timeout(definition.timeout_seconds)
}

/// Checks a request to SubmitJob. Whether the queue, the definition and the dependencies exist, and
/// whether the sizes of arrays match, only the service can check.
///
/// # Errors
/// The first violated rule.
pub fn submit(job: &SubmitJob) -> Checked {
    name("Job", &job.name.0)?;
    if let Some(size) = job.array_size {
        refuse_if(
            !(limits::ARRAY_MIN..=limits::ARRAY_MAX).contains(&size),
            || {
                format!(
                    "Array size must be between {} and {}, got {size}",
                    limits::ARRAY_MIN,
                    limits::ARRAY_MAX
                )
            },
        )?;
    }
    refuse_if(job.depends_on.len() > limits::DEPENDS_ON_MAX, || {
        format!(
            "Job cannot have more than {} dependencies, got {}",
            limits::DEPENDS_ON_MAX,
            job.depends_on.len()
        )
    })?;
    for dependency in &job.depends_on {
        let (id, array) = (dependency.job_id.as_ref(), job.array_size.is_some());
        refuse_if(dependency.kind.is_some() && !array, || {
            "N_TO_N and SEQUENTIAL dependencies need an array job".into()
        })?;
        match dependency.kind {
            Some(DependencyType::Sequential) => refuse_if(id.is_some(), || {
                "A SEQUENTIAL dependency must not specify a job".into()
            })?,
            Some(DependencyType::NToN) | None => {
                refuse_if(id.is_none(), || "A dependency must name a job".into())?;
            }
        }
    }
    refuse_if(job.priority > limits::PRIORITY_MAX, || {
        format!(
            "schedulingPriorityOverride must be between 0 and {}, got {}",
            limits::PRIORITY_MAX,
            job.priority
        )
    })?;
    if let Some(strategy) = &job.retry {
        retry(strategy)?;
    }
    timeout(job.timeout_seconds)?;
    tags(&job.tags)?;
    let overrides = overrides(job).to_string().chars().count();
    refuse_if(overrides > limits::OVERRIDES_MAX, || {
        format!(
            "Container Overrides length must be at most {}, got {overrides}",
            limits::OVERRIDES_MAX
        )
    })?;
    let bytes = payload(job).to_string().len();
    refuse_if(bytes > limits::SUBMIT_PAYLOAD_MAX, || {
        format!(
            "Job size must be less than {} KiB, got {} KiB ({bytes} bytes)",
            limits::SUBMIT_PAYLOAD_MAX / 1024,
            bytes.div_ceil(1024)
        )
    })
}

/// Checks the number of jobs in a request to DescribeJobs.
///
/// # Errors
/// There are too many.
pub fn describe(jobs: usize) -> Checked {
    refuse_if(jobs > limits::DESCRIBE_JOBS_MAX, || {
        format!(
            "Maximum number of jobs supported is {}, got {jobs}",
            limits::DESCRIBE_JOBS_MAX
        )
    })
}

fn name(what: &str, name: &str) -> Checked {
    let ok = name.len() <= limits::JOB_NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    refuse_if(!ok, || {
        format!(
            "{what} name must be 1 to {} letters, digits, hyphens and underscores, and begin with \
             a letter or digit, got {} characters: {name:?}",
            limits::JOB_NAME_MAX,
            name.chars().count()
        )
    })
}

fn storage(gib: Option<u32>) -> Checked {
    let (included, most) = (
        limits::FARGATE_STORAGE_INCLUDED_GIB,
        limits::FARGATE_STORAGE_MAX_GIB,
    );
    let bad = gib.filter(|gib| !(included + 1..=most).contains(gib));
    refuse_if(bad.is_some(), || {
        format!(
            "sizeInGiB of ephemeralStorage must be between {} and {most}, got {}",
            included + 1,
            bad.unwrap_or_default()
        )
    })
}

fn retry(retry: &RetryStrategy) -> Checked {
    refuse_if(
        !(1..=limits::ATTEMPTS_MAX).contains(&retry.attempts),
        || {
            format!(
                "attempts must be between 1 and {}, got {}",
                limits::ATTEMPTS_MAX,
                retry.attempts
            )
        },
    )?;
    let rules = &retry.evaluate_on_exit;
    refuse_if(rules.len() > limits::EVALUATE_ON_EXIT_MAX, || {
        format!(
            "evaluateOnExit cannot have more than {} rules, got {}",
            limits::EVALUATE_ON_EXIT_MAX,
            rules.len()
        )
    })?;
    let text = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ".:".contains(c);
    for rule in rules {
        pattern("onStatusReason", rule.on_status_reason.as_deref(), text)?;
        pattern("onReason", rule.on_reason.as_deref(), text)?;
        pattern("onExitCode", rule.on_exit_code.as_deref(), |c| {
            c.is_ascii_digit()
        })?;
    }
    Ok(())
}

fn pattern(field: &str, pattern: Option<&str>, allowed: impl Fn(char) -> bool) -> Checked {
    let Some(pattern) = pattern else {
        return Ok(());
    };
    let body = pattern.strip_suffix('*').unwrap_or(pattern);
    let ok = pattern.chars().count() <= limits::EVALUATE_ON_EXIT_PATTERN_MAX
        && body.chars().all(allowed);
    refuse_if(!ok, || {
        format!(
            "{field} must be at most {} characters that AWS Batch allows, with a * only at the end, \
             got {pattern:?}",
            limits::EVALUATE_ON_EXIT_PATTERN_MAX
        )
    })
}

fn timeout(seconds: Option<u32>) -> Checked {
    refuse_if(
        seconds.is_some_and(|s| s < limits::ATTEMPT_SECONDS_MIN),
        || {
            format!(
                "attemptDurationSeconds must be at least {}, got {}",
                limits::ATTEMPT_SECONDS_MIN,
                seconds.unwrap_or_default()
            )
        },
    )
}

fn tags(tags: &BTreeMap<String, String>) -> Checked {
    refuse_if(tags.len() > limits::TAGS_MAX, || {
        let (max, got) = (limits::TAGS_MAX, tags.len());
        format!("A job can have at most {max} tags, got {got}")
    })?;
    for (key, value) in tags {
        let (k, v) = (key.chars().count(), value.chars().count());
        let ok = (1..=limits::TAG_KEY_MAX).contains(&k) && v <= limits::TAG_VALUE_MAX;
        refuse_if(!ok, || {
            format!(
                "A tag has 1 to {} characters in its key and at most {} in its value, got {k} and \
                 {v}: {key:?}",
                limits::TAG_KEY_MAX,
                limits::TAG_VALUE_MAX
            )
        })?;
    }
    Ok(())
}

/// Returns `containerOverrides` of a request. The characters of its JSON count against
/// [`limits::OVERRIDES_MAX`].
fn overrides(job: &SubmitJob) -> Value {
    let environment: Vec<Value> = job
        .environment
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mut overrides = Map::new();
    if !environment.is_empty() {
        overrides.insert("environment".to_owned(), json!(environment));
    }
    if let Some(resources) = job.resources {
        let requirements = json!([
            { "type": "VCPU", "value": resources.vcpu.to_string() },
            { "type": "MEMORY", "value": resources.memory_mib.to_string() },
        ]);
        overrides.insert("resourceRequirements".to_owned(), requirements);
    }
    Value::Object(overrides)
}

/// Returns the body of the request as AWS receives it.
fn payload(job: &SubmitJob) -> Value {
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("jobName", Some(json!(job.name)));
    set("jobQueue", Some(json!(job.queue)));
    set("jobDefinition", Some(json!(job.definition)));
    let size = job.array_size.map(|size| json!({ "size": size }));
    set("arrayProperties", size);
    set("shareIdentifier", Some(json!(SHARE)));
    set("schedulingPriorityOverride", Some(json!(job.priority)));
    set(
        "dependsOn",
        (!job.depends_on.is_empty()).then(|| json!(job.depends_on)),
    );
    set(
        "containerOverrides",
        Some(overrides(job)).filter(|o| o.as_object().is_some_and(|o| !o.is_empty())),
    );
    set("retryStrategy", job.retry.as_ref().map(|r| json!(r)));
    let limit = job
        .timeout_seconds
        .map(|s| json!({ "attemptDurationSeconds": s }));
    set("timeout", limit);
    set("tags", (!job.tags.is_empty()).then(|| json!(job.tags)));
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{EvaluateOnExit, ExitAction, JobName};

    fn job() -> SubmitJob {
        SubmitJob {
            name: JobName("a".into()),
            queue: "main".into(),
            definition: "d:1".into(),
            array_size: None,
            priority: 0,
            resources: None,
            depends_on: Vec::new(),
            environment: Default::default(),
            retry: None,
            timeout_seconds: None,
            tags: Default::default(),
        }
    }

    #[test]
    fn the_payload_has_the_names_of_the_aws_api() {
        let mut job = job();
        job.array_size = Some(2);
        job.environment.insert("A".into(), "é\"".into());
        job.timeout_seconds = Some(60);
        job.priority = 7;
        job.resources = Some(crate::job::Resources::SMALLEST);
        assert_eq!(
            payload(&job).to_string(),
            r#"{"jobName":"a","jobQueue":"main","jobDefinition":"d:1","arrayProperties":{"size":2},"shareIdentifier":"rowmill","schedulingPriorityOverride":7,"containerOverrides":{"environment":[{"name":"A","value":"é\""}],"resourceRequirements":[{"type":"VCPU","value":"0.25"},{"type":"MEMORY","value":"512"}]},"timeout":{"attemptDurationSeconds":60}}"#
        );
    }

    #[test]
    fn sizes_are_refused_only_above_the_limit() {
        let with = |value: usize| {
            let mut job = job();
            job.environment.insert("A".into(), "x".repeat(value));
            job
        };
        let frame = overrides(&with(0)).to_string().chars().count();
        assert_eq!(submit(&with(limits::OVERRIDES_MAX - frame)), Ok(()));
        let refusal = submit(&with(limits::OVERRIDES_MAX - frame + 1)).unwrap_err();
        assert!(refusal.0.contains("8192"), "{}", refusal.0);

        // Characters, not bytes, count there; bytes count in the payload.
        let mut wide = job();
        wide.environment.insert("A".into(), "ü".repeat(8000));
        assert_eq!(submit(&wide), Ok(()));
        // Four bytes per character, filled up with single bytes.
        let bytes = |value: usize| {
            let mut job = job();
            let text = "\u{1F600}".repeat(value / 4) + &"x".repeat(value % 4);
            job.environment.insert("A".into(), text);
            job
        };
        let frame = payload(&bytes(0)).to_string().len();
        assert_eq!(submit(&bytes(limits::SUBMIT_PAYLOAD_MAX - frame)), Ok(()));
        let refusal = submit(&bytes(limits::SUBMIT_PAYLOAD_MAX - frame + 1)).unwrap_err();
        assert!(
            refusal.0.contains("30 KiB") && refusal.0.contains("30721 bytes"),
            "{}",
            refusal.0
        );
    }

    #[test]
    fn names_and_patterns_follow_the_rules_of_aws() {
        for (name, ok) in [
            ("a", true),
            ("20261121-a_b-c00000-p0", true),
            ("", false),
            ("-a", false),
            ("_a", false),
            ("a b", false),
            ("ä", false),
            (&"a".repeat(128), true),
            (&"a".repeat(129), false),
        ] {
            let mut job = job();
            job.name = JobName(name.into());
            assert_eq!(submit(&job).is_ok(), ok, "{name}");
        }
        for (reason, code, ok) in [
            (Some("Host EC2*"), None, true),
            (Some("CannotPullContainerError: a.b"), Some("13*"), true),
            (Some("*"), Some("*"), true),
            (Some("a*b"), None, false),
            (Some("**"), None, false),
            (Some("a-b"), None, false),
            (None, Some("-1"), false),
            (None, Some("1a"), false),
        ] {
            let mut job = job();
            job.retry = Some(RetryStrategy {
                attempts: 1,
                evaluate_on_exit: vec![EvaluateOnExit {
                    on_status_reason: None,
                    on_reason: reason.map(str::to_owned),
                    on_exit_code: code.map(str::to_owned),
                    action: ExitAction::Exit,
                }],
            });
            assert_eq!(submit(&job).is_ok(), ok, "{reason:?} {code:?}");
        }
    }
}
