//! What AWS Batch rejects.

use rowmill_domain::job::{
    Dependency, DependencyType, EvaluateOnExit, ExitAction, JobDefinition, JobId, JobName,
    RetryStrategy, SubmitJob,
};
use rowmill_domain::limits;

use super::{after, definition, end, job, submit};
use crate::{ErrorKind, Jobs};

/// Checks the limits and rules of AWS Batch, which emulators do not enforce: each limit is reached,
/// and then exceeded by one. `queue` must exist.
///
/// # Panics
/// If the adapter rejects what is within the limits, or accepts what is not.
pub async fn jobs_limits(jobs: &dyn Jobs, queue: &str) {
    limits_of_requests(jobs, queue).await;
    limits_of_references(jobs, queue).await;
}

/// The part of [`jobs_limits`] that depends only on the request, so that an adapter can reject it
/// before it is sent.
///
/// # Panics
/// If the adapter rejects what is within the limits, or accepts what is not.
pub async fn limits_of_requests(jobs: &dyn Jobs, queue: &str) {
    let arn = jobs.register(&definition("suite-limits")).await.unwrap();
    let mut accepted = Vec::new();
    let base = job("suite-limit", queue, &arn);
    let first = submit(jobs, &base).await.unwrap();
    for (what, good, bad) in &refusals(&base, &first) {
        if let Some(good) = good {
            match submit(jobs, good).await {
                Ok(id) => accepted.push(id),
                Err(e) => panic!("{what}: rejected at the limit: {e}"),
            }
        }
        refused(jobs, what, bad).await;
    }

    for (what, bad) in bad_definitions() {
        match jobs.register(&bad).await {
            Ok(_) => panic!("{what}: a definition beyond the limit is accepted"),
            Err(e) => assert_eq!(e.kind, ErrorKind::Invalid, "{what}: {e}"),
        }
    }

    let many = vec![first.clone(); limits::DESCRIBE_JOBS_MAX + 1];
    jobs.describe(&many[1..]).await.unwrap();
    let refused = jobs.describe(&many).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");

    accepted.push(first);
    end(jobs, &accepted, &arn).await;
}

/// What a job refers to must exist and be compatible.
async fn limits_of_references(jobs: &dyn Jobs, queue: &str) {
    let arn = jobs.register(&definition("suite-names")).await.unwrap();
    let base = job("suite-name", queue, &arn);
    let first = submit(jobs, &base).await.unwrap();
    let with = |change: &dyn Fn(&mut SubmitJob)| {
        let mut job = base.clone();
        change(&mut job);
        job
    };
    let nobody = JobId("00000000-0000-4000-8000-000000000000".into());
    for (what, bad) in [
        (
            "unknown dependency",
            with(&|job| job.depends_on = vec![after(&nobody, None)]),
        ),
        (
            "unknown queue",
            with(&|job| job.queue = "no-such-queue".into()),
        ),
        (
            "unknown definition",
            with(&|job| job.definition = "no-such-definition:1".into()),
        ),
    ] {
        refused(jobs, what, &bad).await;
    }

    // N_TO_N needs two arrays of the same size.
    let array = |size| with(&|job| job.array_size = size);
    let three = submit(jobs, &array(Some(3))).await.unwrap();
    let pair = |on: &JobId, size| SubmitJob {
        depends_on: vec![after(on, Some(DependencyType::NToN))],
        ..array(size)
    };
    let fits = submit(jobs, &pair(&three, Some(3))).await.unwrap();
    for (on, size) in [(&three, Some(2)), (&three, None), (&first, Some(3))] {
        refused(jobs, &format!("{size:?}"), &pair(on, size)).await;
    }

    end(jobs, &[first, three, fits], &arn).await;
    refused(jobs, "an inactive definition", &base).await;
}

async fn refused(jobs: &dyn Jobs, what: &str, bad: &SubmitJob) {
    match submit(jobs, bad).await {
        Ok(_) => panic!("{what}: accepted beyond the limit"),
        Err(e) => {
            assert_eq!(e.kind, ErrorKind::Invalid, "{what}: {e}");
            assert!(!e.is_retryable());
        }
    }
}

type Case = (&'static str, Option<SubmitJob>, SubmitJob);

/// Jobs at a limit, which are accepted, and jobs beyond it.
fn refusals(base: &SubmitJob, first: &JobId) -> Vec<Case> {
    let with = |change: &dyn Fn(&mut SubmitJob)| {
        let mut job = base.clone();
        change(&mut job);
        job
    };
    let sized = |size| with(&|job| job.array_size = Some(size));
    let named = |name: String| with(&|job| job.name = JobName(name.clone()));
    let depending = |count| with(&|job| job.depends_on = vec![after(first, None); count]);
    let tried = |attempts| with(&|job| job.retry = Some(retry(attempts, 0)));
    let ruled = |rules| with(&|job| job.retry = Some(retry(2, rules)));
    let limited = |seconds| with(&|job| job.timeout_seconds = Some(seconds));
    let overriding = |bytes: usize| {
        with(&|job| {
            job.environment.insert("A".into(), "x".repeat(bytes));
        })
    };
    // Characters of four bytes, so that their number stays within the limit for overrides.
    let large = |bytes: usize| {
        with(&|job| {
            let text = "\u{1F600}".repeat(bytes / 4);
            job.environment.insert("A".into(), text);
        })
    };
    let tagged = |key: usize, value: usize| {
        with(&|job| {
            job.tags.insert("k".repeat(key), "v".repeat(value));
        })
    };
    let ranked = |priority| with(&|job| job.priority = priority);
    let tags = |count: usize| {
        with(&|job| job.tags = (0..count).map(|n| (n.to_string(), String::new())).collect())
    };
    // Leaves room for the JSON around the text.
    const FRAME: usize = 1024;
    let one_by_one = Dependency {
        job_id: None,
        kind: Some(DependencyType::Sequential),
    };
    let sequential = |size: Option<u32>| {
        with(&|job| {
            job.array_size = size;
            job.depends_on = vec![one_by_one.clone()];
        })
    };
    vec![
        ("array of 2", Some(sized(limits::ARRAY_MIN)), sized(1)),
        (
            "array of 10,000",
            Some(sized(limits::ARRAY_MAX)),
            sized(limits::ARRAY_MAX + 1),
        ),
        (
            "name of 128",
            Some(named("a".repeat(limits::JOB_NAME_MAX))),
            named("a".repeat(limits::JOB_NAME_MAX + 1)),
        ),
        ("name's characters", None, named("a b".into())),
        ("name's first character", None, named("-a".into())),
        ("no name", None, named(String::new())),
        (
            "20 dependencies",
            Some(depending(limits::DEPENDS_ON_MAX)),
            depending(limits::DEPENDS_ON_MAX + 1),
        ),
        (
            "SEQUENTIAL arrays",
            Some(sequential(Some(2))),
            sequential(None),
        ),
        (
            "8,192 characters of overrides",
            Some(overriding(limits::OVERRIDES_MAX - FRAME)),
            overriding(limits::OVERRIDES_MAX),
        ),
        (
            "30 KiB",
            Some(large(limits::SUBMIT_PAYLOAD_MAX - FRAME)),
            large(limits::SUBMIT_PAYLOAD_MAX),
        ),
        (
            "a tag's key and value",
            Some(tagged(limits::TAG_KEY_MAX, limits::TAG_VALUE_MAX)),
            tagged(limits::TAG_KEY_MAX, limits::TAG_VALUE_MAX + 1),
        ),
        (
            "priority 9,999",
            Some(ranked(limits::PRIORITY_MAX)),
            ranked(limits::PRIORITY_MAX + 1),
        ),
        ("a tag's key", None, tagged(limits::TAG_KEY_MAX + 1, 1)),
        (
            "50 tags",
            Some(tags(limits::TAGS_MAX)),
            tags(limits::TAGS_MAX + 1),
        ),
        (
            "5 evaluateOnExit rules",
            Some(ruled(limits::EVALUATE_ON_EXIT_MAX)),
            ruled(limits::EVALUATE_ON_EXIT_MAX + 1),
        ),
        ("1 attempt", Some(tried(1)), tried(0)),
        (
            "10 attempts",
            Some(tried(limits::ATTEMPTS_MAX)),
            tried(limits::ATTEMPTS_MAX + 1),
        ),
        (
            "60 seconds",
            Some(limited(limits::ATTEMPT_SECONDS_MIN)),
            limited(limits::ATTEMPT_SECONDS_MIN - 1),
        ),
    ]
}

fn retry(attempts: u32, rules: usize) -> RetryStrategy {
    let rule = EvaluateOnExit {
        on_status_reason: None,
        on_reason: None,
        on_exit_code: Some("1*".into()),
        action: ExitAction::Retry,
    };
    RetryStrategy {
        attempts,
        evaluate_on_exit: vec![rule; rules],
    }
}

fn bad_definitions() -> Vec<(&'static str, JobDefinition)> {
    let base = || definition("suite-bad");
    let stored = |gib| {
        let mut definition = base();
        definition.resources.storage_gib = Some(gib);
        definition
    };
    vec![
        ("storage", stored(limits::FARGATE_STORAGE_INCLUDED_GIB)),
        ("storage", stored(limits::FARGATE_STORAGE_MAX_GIB + 1)),
        ("name", definition(&"a".repeat(limits::JOB_NAME_MAX + 1))),
        (
            "attempts",
            JobDefinition {
                retry: retry(limits::ATTEMPTS_MAX + 1, 0),
                ..base()
            },
        ),
        (
            "rules",
            JobDefinition {
                retry: retry(1, limits::EVALUATE_ON_EXIT_MAX + 1),
                ..base()
            },
        ),
        (
            "time limit",
            JobDefinition {
                timeout_seconds: Some(limits::ATTEMPT_SECONDS_MIN - 1),
                ..base()
            },
        ),
    ]
}
