//! The guarantees of [`Jobs`].

mod limits;

use std::collections::BTreeMap;
use std::time::Duration;

use rowmill_domain::job::{
    Dependency, DependencyType, JobDefinition, JobDetail, JobId, JobName, JobStatus, Resources,
    RetryStrategy, SubmitJob,
};

pub use limits::{jobs_limits, limits_of_requests};

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

/// A definition with this name. Its program is `true`, in case the adapter runs it.
pub fn definition(name: &str) -> JobDefinition {
    JobDefinition {
        name: name.into(),
        image: "busybox".into(),
        command: vec!["true".into()],
        resources: Resources {
            // A whole number, because moto reports fractions in a form that no client can read.
            vcpu: 1.0,
            memory_mib: 2048,
            storage_gib: None,
        },
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        retry: RetryStrategy {
            attempts: 1,
            evaluate_on_exit: Vec::new(),
        },
        timeout_seconds: None,
    }
}

/// A plain job with this definition.
pub fn job(name: &str, queue: &str, definition: &str) -> SubmitJob {
    SubmitJob {
        name: JobName(name.into()),
        queue: queue.into(),
        definition: definition.into(),
        array_size: None,
        priority: 0,
        resources: None,
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

/// A pause that blocks the thread: a suite has no runtime to sleep in.
const PAUSE: Duration = Duration::from_millis(20);

/// Submits a job, repeatedly if the service throttles.
async fn submit(jobs: &dyn Jobs, job: &SubmitJob) -> Result<JobId> {
    loop {
        match jobs.submit(job).await {
            Err(e) if e.kind == ErrorKind::Throttled => std::thread::sleep(PAUSE),
            result => return result,
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

/// Checks an adapter, whether or not it runs the jobs. `queue` must exist. Leaves no active
/// definition and no job that has not ended.
///
/// # Panics
/// If a guarantee of [`Jobs`] does not hold.
pub async fn jobs(jobs: &dyn Jobs, queue: &str) {
    shapes(jobs, queue).await;
    listings(jobs, queue).await;
}

/// The part of [`jobs`] that also holds for emulators, which list one page in any order and show
/// children next to their parents.
///
/// # Panics
/// If a guarantee of [`Jobs`] does not hold.
pub async fn shapes(jobs: &dyn Jobs, queue: &str) {
    definitions(jobs).await;

    let arn = jobs.register(&definition("suite-jobs")).await.unwrap();
    let mut submitted = Vec::new();
    let mut plain = job("suite-plain", queue, &arn);
    plain.environment.insert("A".into(), "1".into());
    for _ in 0..2 {
        submitted.push(submit(jobs, &plain).await.unwrap());
    }
    assert_ne!(submitted[0], submitted[1], "every call creates a job");

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
    assert_eq!(details.len(), submitted.len(), "unknown jobs are left out");
    for id in &submitted {
        let detail = details.iter().find(|d| d.id == *id).unwrap();
        assert!(detail.created_at.is_some(), "{detail:?}");
        assert_eq!(detail.array_index, None);
    }
    let of = |id: &JobId| details.iter().find(|d| d.id == *id).unwrap();
    assert_eq!(of(&array).array_size, Some(120));
    assert_eq!(of(&submitted[0]).array_size, None);
    assert!(
        of(&submitted[0]).children.is_empty(),
        "a plain job has no children"
    );
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
    assert!(
        found.is_empty(),
        "the start of a name does not match: {found:?}"
    );

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
        "a child's id is its parent's id with its index"
    );

    end(jobs, &submitted, &arn).await;
}

/// Lists the jobs of all states until there are `wanted`. Each job is in one state at a time, but may
/// change it between two listings.
async fn in_states(
    jobs: &dyn Jobs,
    filter: &dyn Fn(JobStatus) -> JobFilter,
    wanted: usize,
) -> Vec<JobDetail> {
    for _ in 0..100 {
        let mut found = Vec::new();
        for status in STATES {
            let page = list_all(jobs, &filter(status)).await;
            assert!(page.iter().all(|job| job.status == status), "{page:?}");
            found.extend(page);
        }
        if found.len() == wanted {
            return found;
        }
        // Jobs changed their state between the listings.
        std::thread::sleep(PAUSE);
    }
    panic!("listings by state do not show {wanted} jobs");
}

/// Ends jobs, even if they have ended, and deregisters their definition.
async fn end(jobs: &dyn Jobs, submitted: &[JobId], arn: &str) {
    for id in submitted {
        jobs.terminate(id, "the suite is done").await.unwrap();
        jobs.terminate(id, "again").await.unwrap();
        jobs.cancel(id, "and again").await.unwrap();
    }
    jobs.deregister(arn).await.unwrap();
}

/// The order, the pages and the content of listings.
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
    let described = jobs.describe(std::slice::from_ref(&array)).await.unwrap();
    let counted: u32 = described[0].children.values().sum();
    assert_eq!(counted, 120, "children are counted by state");
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
        "a queue does not list children"
    );
    assert!(ours.iter().any(|job| job.id == array));
    end(jobs, &submitted, &arn).await;
}

async fn definitions(jobs: &dyn Jobs) {
    let one = jobs.register(&definition("suite-def-one")).await.unwrap();
    let again = jobs.register(&definition("suite-def-one")).await.unwrap();
    assert_eq!(one, again, "the same content gives the same ARN");
    let mut other = definition("suite-def-one");
    other.resources.memory_mib = 3072;
    let other = jobs.register(&other).await.unwrap();
    assert_ne!(one, other, "different content gives a different ARN");
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
