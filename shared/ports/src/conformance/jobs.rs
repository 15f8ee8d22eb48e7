//! What every [`crate::Jobs`] keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use rowmill_domain::job::{
    Dependency, DependencyType, EvaluateOnExit, ExitAction, JobDefinition, JobDetail, JobId,
    JobName, JobStatus, RetryStrategy, SubmitJob,
};
use rowmill_domain::limits;

use crate::{ErrorKind, JobFilter, Jobs, Result};

const STATES: [JobStatus; 7] = [
    JobStatus::Submitted,
    JobStatus::Pending,
    JobStatus::Runnable,
    JobStatus::Starting,
    JobStatus::Running,
    JobStatus::Succeeded,
    JobStatus::Failed,
];

/// A definition of that name. Its program is `true`, in case it is run.
pub fn definition(name: &str) -> JobDefinition {
    JobDefinition {
        name: name.into(),
        image: "busybox".into(),
        command: vec!["true".into()],
        vcpu: 0.25,
        memory_mib: 512,
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        retry: RetryStrategy {
            attempts: 1,
            evaluate_on_exit: Vec::new(),
        },
        timeout_seconds: None,
    }
}

/// A plain job of that definition.
pub fn job(name: &str, queue: &str, definition: &str) -> SubmitJob {
    SubmitJob {
        name: JobName(name.into()),
        queue: queue.into(),
        definition: definition.into(),
        array_size: None,
        depends_on: Vec::new(),
        environment: BTreeMap::new(),
        retry: None,
        timeout_seconds: None,
        tags: BTreeMap::new(),
    }
}

fn after(id: &JobId, kind: Option<DependencyType>) -> Dependency {
    Dependency {
        job_id: Some(id.clone()),
        kind,
    }
}

/// Submits, and again where there were too many calls.
async fn submit(jobs: &dyn Jobs, job: &SubmitJob) -> Result<JobId> {
    // Blocks its thread: a suite has no runtime to sleep in, and this is a test.
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        match jobs.submit(job).await {
            Err(e) if e.kind == ErrorKind::Throttled => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// All pages of a listing; no page is longer than 100.
async fn list_all(jobs: &dyn Jobs, filter: &JobFilter) -> Vec<JobDetail> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = jobs.list(filter, after.as_deref()).await.unwrap();
        assert!(page.len() <= 100, "a page of {}", page.len());
        all.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// Definitions and jobs, as any adapter keeps them, whether or not it runs the jobs. `queue` is
/// a queue that exists; leaves no active definition, and no job that has not been ended.
pub async fn jobs(jobs: &dyn Jobs, queue: &str) {
    definitions(jobs).await;

    let arn = jobs.register(&definition("suite-jobs")).await.unwrap();
    let mut submitted = Vec::new();
    let mut plain = job("suite-plain", queue, &arn);
    plain.environment.insert("A".into(), "1".into());
    for _ in 0..2 {
        submitted.push(submit(jobs, &plain).await.unwrap());
    }
    assert_ne!(submitted[0], submitted[1], "every call makes a job");

    let mut array = job("suite-array", queue, &arn);
    array.array_size = Some(120);
    let array = submit(jobs, &array).await.unwrap();
    let mut next = job("suite-next", queue, &arn);
    next.array_size = Some(120);
    next.depends_on = vec![after(&array, Some(DependencyType::NToN))];
    let next = submit(jobs, &next).await.unwrap();
    submitted.extend([array.clone(), next]);

    let nobody = JobId("00000000-0000-4000-8000-000000000000".into());
    let mut ids = submitted.clone();
    ids.push(nobody.clone());
    let details = jobs.describe(&ids).await.unwrap();
    assert_eq!(details.len(), submitted.len(), "unknown ones are left out");
    for id in &submitted {
        let detail = details.iter().find(|d| d.id == *id).unwrap();
        assert!(detail.created_at.is_some(), "{detail:?}");
        assert_eq!(detail.array_index, None);
    }
    let of = |id: &JobId| details.iter().find(|d| d.id == *id).unwrap();
    assert_eq!(of(&array).array_size, Some(120));
    assert_eq!(of(&submitted[0]).array_size, None);
    assert_eq!(of(&submitted[0]).name, plain.name);
    assert!(jobs.describe(&[]).await.unwrap().is_empty());

    let child = jobs.describe(&[array.child(119)]).await.unwrap();
    assert_eq!(child.len(), 1, "children are described by their own ids");
    assert_eq!(child[0].array_index, Some(119));
    assert!(jobs.describe(&[array.child(120)]).await.unwrap().is_empty());

    listings(jobs, queue, &plain, &submitted[..2], &array).await;

    for id in &submitted {
        jobs.terminate(id, "the suite is done").await.unwrap();
        jobs.terminate(id, "again").await.unwrap();
        jobs.cancel(id, "and again").await.unwrap();
    }
    jobs.deregister(&arn).await.unwrap();
}

async fn definitions(jobs: &dyn Jobs) {
    let one = jobs.register(&definition("suite-def-one")).await.unwrap();
    let again = jobs.register(&definition("suite-def-one")).await.unwrap();
    assert_eq!(one, again, "the same content gives the same ARN");
    let mut other = definition("suite-def-one");
    other.memory_mib = 1024;
    let other = jobs.register(&other).await.unwrap();
    assert_ne!(one, other, "other content gives another ARN");
    let two = jobs.register(&definition("suite-def-two")).await.unwrap();

    let listed = jobs.definitions("suite-def-").await.unwrap();
    for arn in [&one, &other, &two] {
        assert_eq!(listed.iter().filter(|l| *l == arn).count(), 1, "{listed:?}");
    }
    let listed = jobs.definitions("suite-def-t").await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&two));
    assert!(jobs.definitions("suite_def").await.unwrap().is_empty());

    for arn in [&one, &other, &two, &two] {
        jobs.deregister(arn).await.unwrap();
    }
    assert!(jobs.definitions("suite-def-").await.unwrap().is_empty());
    let back = jobs.register(&definition("suite-def-two")).await.unwrap();
    assert_eq!(
        jobs.definitions("suite-def-").await.unwrap(),
        std::slice::from_ref(&back)
    );
    jobs.deregister(&back).await.unwrap();
}

async fn listings(jobs: &dyn Jobs, queue: &str, plain: &SubmitJob, named: &[JobId], array: &JobId) {
    let by_name = |name: &str| JobFilter::Name {
        queue: queue.into(),
        name: JobName(name.into()),
    };
    let found = list_all(jobs, &by_name(&plain.name.0)).await;
    let ids: Vec<&JobId> = found.iter().map(|job| &job.id).collect();
    assert_eq!(ids, [&named[1], &named[0]], "newest first");
    assert!(list_all(jobs, &by_name("suite-plai")).await.is_empty());

    // Each job is in one state at a time, but may move between two listings.
    let in_states = async |filter: &dyn Fn(JobStatus) -> JobFilter, wanted: usize| {
        for _ in 0..10 {
            let mut found = Vec::new();
            for status in STATES {
                let page = list_all(jobs, &filter(status)).await;
                assert!(page.iter().all(|job| job.status == status), "{page:?}");
                found.extend(page);
            }
            if found.len() == wanted {
                return found;
            }
        }
        panic!("listings by state do not show {wanted} jobs");
    };
    let children = |status| JobFilter::Children {
        parent: array.clone(),
        status,
    };
    let found = in_states(&children, 120).await;
    let mut indexes: Vec<_> = found.iter().filter_map(|child| child.array_index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..120).collect::<Vec<_>>());
    assert_eq!(
        found[0].id,
        array.child(found[0].array_index.unwrap()),
        "a child's id is its parent's with its index"
    );

    let mut ours = Vec::new();
    for status in STATES {
        let filter = JobFilter::Status {
            queue: queue.into(),
            status,
        };
        ours.extend(list_all(jobs, &filter).await);
    }
    assert!(
        ours.iter().all(|job| job.array_index.is_none()),
        "a queue lists no children"
    );
}

/// The limits and rules of AWS Batch, which emulators do not keep: each is met, then passed by
/// one. `queue` is a queue that exists.
pub async fn jobs_limits(jobs: &dyn Jobs, queue: &str) {
    let arn = jobs.register(&definition("suite-limits")).await.unwrap();
    let mut accepted = Vec::new();
    let base = job("suite-limit", queue, &arn);
    let first = submit(jobs, &base).await.unwrap();
    let table = refusals(&base, &first);
    for (what, good, bad) in &table {
        if let Some(good) = good {
            match submit(jobs, good).await {
                Ok(id) => accepted.push(id),
                Err(e) => panic!("{what}: at the limit it is refused: {e}"),
            }
        }
        match submit(jobs, bad).await {
            Ok(_) => panic!("{what}: beyond the limit it is taken"),
            Err(e) => {
                assert_eq!(e.kind, ErrorKind::Invalid, "{what}: {e}");
                assert!(!e.is_retryable());
            }
        }
    }

    // N_TO_N: two arrays of one size.
    let array = |size| SubmitJob {
        array_size: size,
        ..base.clone()
    };
    let three = submit(jobs, &array(Some(3))).await.unwrap();
    let pair = |on: &JobId, size| SubmitJob {
        depends_on: vec![after(on, Some(DependencyType::NToN))],
        ..array(size)
    };
    accepted.push(submit(jobs, &pair(&three, Some(3))).await.unwrap());
    for (on, size) in [(&three, Some(2)), (&three, None), (&first, Some(3))] {
        let refused = submit(jobs, &pair(on, size)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid, "{size:?}: {refused}");
    }

    for (what, bad) in bad_definitions() {
        match jobs.register(&bad).await {
            Ok(_) => panic!("{what}: a definition beyond the limit is taken"),
            Err(e) => assert_eq!(e.kind, ErrorKind::Invalid, "{what}: {e}"),
        }
    }

    let many = vec![first.clone(); limits::DESCRIBE_JOBS_MAX + 1];
    jobs.describe(&many[1..]).await.unwrap();
    let refused = jobs.describe(&many).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");

    for id in accepted.iter().chain([&first, &three]) {
        jobs.terminate(id, "the suite is done").await.unwrap();
    }
    jobs.deregister(&arn).await.unwrap();
    let refused = submit(jobs, &base).await.unwrap_err();
    assert_eq!(
        refused.kind,
        ErrorKind::Invalid,
        "of an inactive definition: {refused}"
    );
}

type Case = (&'static str, Option<SubmitJob>, SubmitJob);

/// What is at a limit and taken, and one beyond it.
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
    let tagged = |bytes: usize| {
        with(&|job| {
            job.tags.insert("t".into(), "x".repeat(bytes));
        })
    };
    // Far enough below the limit for the JSON around the text.
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
            "unknown dependency",
            None,
            with(&|job| {
                let nobody = JobId("00000000-0000-4000-8000-000000000000".into());
                job.depends_on = vec![after(&nobody, None)];
            }),
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
            Some(tagged(limits::SUBMIT_PAYLOAD_MAX - FRAME)),
            tagged(limits::SUBMIT_PAYLOAD_MAX),
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
        (
            "unknown queue",
            None,
            with(&|job| job.queue = "no-such-queue".into()),
        ),
        (
            "unknown definition",
            None,
            with(&|job| job.definition = "no-such-definition:1".into()),
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
    vec![
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
