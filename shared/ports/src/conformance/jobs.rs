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
        // Whole, as moto tells of a part of a vCPU in a way that no client can read.
        vcpu: 1.0,
        memory_mib: 2048,
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

/// All pages of a listing.
async fn list_all(jobs: &dyn Jobs, filter: &JobFilter) -> Vec<JobDetail> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = jobs.list(filter, after.as_deref()).await.unwrap();
        all.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn by_name(queue: &str, name: &str) -> JobFilter {
    JobFilter::Name {
        queue: queue.into(),
        name: JobName(name.into()),
    }
}

/// Definitions and jobs, as any adapter keeps them, whether or not it runs the jobs. `queue` is
/// a queue that exists; leaves no active definition, and no job that has not been ended.
pub async fn jobs(jobs: &dyn Jobs, queue: &str) {
    shapes(jobs, queue).await;
    listings(jobs, queue).await;
}

/// The part of [`jobs`] that holds where a listing is one page in any order and shows children
/// beside their parents, as in emulators.
pub async fn shapes(jobs: &dyn Jobs, queue: &str) {
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

    let found = list_all(jobs, &by_name(queue, &plain.name.0)).await;
    let mut ids: Vec<&JobId> = found.iter().map(|job| &job.id).collect();
    ids.sort_unstable();
    let mut expected = [&submitted[0], &submitted[1]];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let found = list_all(jobs, &by_name(queue, "suite-plai")).await;
    assert!(found.is_empty(), "the start of a name is none: {found:?}");

    let children = |status| JobFilter::Children {
        parent: array.clone(),
        status,
    };
    let found = in_states(jobs, &children, 120).await;
    let mut indexes: Vec<_> = found.iter().filter_map(|child| child.array_index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..120).collect::<Vec<_>>());
    assert_eq!(
        found[0].id,
        array.child(found[0].array_index.unwrap()),
        "a child's id is its parent's with its index"
    );

    end(jobs, &submitted, &arn).await;
}

/// Each job is in one state at a time, but may move between two listings.
async fn in_states(
    jobs: &dyn Jobs,
    filter: &dyn Fn(JobStatus) -> JobFilter,
    wanted: usize,
) -> Vec<JobDetail> {
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
}

/// Ends jobs, again where they have ended, and their definition.
async fn end(jobs: &dyn Jobs, submitted: &[JobId], arn: &str) {
    for id in submitted {
        jobs.terminate(id, "the suite is done").await.unwrap();
        jobs.terminate(id, "again").await.unwrap();
        jobs.cancel(id, "and again").await.unwrap();
    }
    jobs.deregister(arn).await.unwrap();
}

/// The order of listings, their pages, and what is on them.
async fn listings(jobs: &dyn Jobs, queue: &str) {
    let arn = jobs.register(&definition("suite-lists")).await.unwrap();
    let plain = job("suite-order", queue, &arn);
    let mut submitted = Vec::new();
    for _ in 0..2 {
        submitted.push(submit(jobs, &plain).await.unwrap());
    }
    let found = list_all(jobs, &by_name(queue, &plain.name.0)).await;
    let ids: Vec<&JobId> = found.iter().map(|job| &job.id).collect();
    assert_eq!(ids, [&submitted[1], &submitted[0]], "newest first");

    let mut array = job("suite-pages", queue, &arn);
    array.array_size = Some(120);
    let array = submit(jobs, &array).await.unwrap();
    submitted.push(array.clone());
    jobs.terminate(&array, "so that all children are in one state")
        .await
        .unwrap();
    let filter = JobFilter::Children {
        parent: array.clone(),
        status: JobStatus::Failed,
    };
    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = jobs.list(&filter, after.as_deref()).await.unwrap();
        sizes.push(page.len());
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");

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
    assert!(ours.iter().any(|job| job.id == array));
    end(jobs, &submitted, &arn).await;
}

async fn definitions(jobs: &dyn Jobs) {
    let one = jobs.register(&definition("suite-def-one")).await.unwrap();
    let again = jobs.register(&definition("suite-def-one")).await.unwrap();
    assert_eq!(one, again, "the same content gives the same ARN");
    let mut other = definition("suite-def-one");
    other.memory_mib = 3072;
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

/// The limits and rules of AWS Batch, which emulators do not keep: each is met, then passed by
/// one. `queue` is a queue that exists.
pub async fn jobs_limits(jobs: &dyn Jobs, queue: &str) {
    limits_of_requests(jobs, queue).await;
    limits_of_references(jobs, queue).await;
}

/// The part of [`jobs_limits`] that a request alone tells, so that an adapter can refuse it before
/// it sends it.
pub async fn limits_of_requests(jobs: &dyn Jobs, queue: &str) {
    let arn = jobs.register(&definition("suite-limits")).await.unwrap();
    let mut accepted = Vec::new();
    let base = job("suite-limit", queue, &arn);
    let first = submit(jobs, &base).await.unwrap();
    for (what, good, bad) in &refusals(&base, &first) {
        if let Some(good) = good {
            match submit(jobs, good).await {
                Ok(id) => accepted.push(id),
                Err(e) => panic!("{what}: at the limit it is refused: {e}"),
            }
        }
        refused(jobs, what, bad).await;
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

    accepted.push(first);
    end(jobs, &accepted, &arn).await;
}

/// What a job names must be there, and fit.
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

    // N_TO_N: two arrays of one size.
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
        Ok(_) => panic!("{what}: beyond the limit it is taken"),
        Err(e) => {
            assert_eq!(e.kind, ErrorKind::Invalid, "{what}: {e}");
            assert!(!e.is_retryable());
        }
    }
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
    // Characters of four bytes: fewer than the overrides may have.
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
    let tags = |count: usize| {
        with(&|job| job.tags = (0..count).map(|n| (n.to_string(), String::new())).collect())
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
