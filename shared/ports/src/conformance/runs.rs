//! The guarantees of [`Runs`].

use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::run::{Counts, Failure, StepSeconds, UploadSource};
use rowmill_domain::{RunId, RunItem, RunState};

use super::{at, id};
use crate::{ErrorKind, JobRecord, RunPatch, Runs};

/// Checks an adapter. It must hold no runs at the start, and holds a few at the end.
///
/// # Panics
/// If a guarantee of [`Runs`] does not hold.
pub async fn runs(runs: &dyn Runs) {
    create_and_list(runs).await;
    updates(runs).await;
    jobs(runs).await;
}

fn item(id: &RunId) -> RunItem {
    let source = UploadSource {
        bucket: "inbox".into(),
        key: "suite/my file (1)+ü.xlsx".into(),
        version: "v1".into(),
        size: 51_382,
        uploaded: at(-60),
    };
    RunItem::new(id.clone(), source, at(0))
}

async fn create_and_list(runs: &dyn Runs) {
    let mut ids: Vec<RunId> = (0..7).map(|n| id(&format!("runs/{n}"))).collect();
    assert_eq!(runs.find_run(&ids[0]).await.unwrap(), None);
    for id in &ids {
        assert!(runs.create_run(&item(id)).await.unwrap(), "a new run");
    }
    let mut other = item(&ids[0]);
    other.state = RunState::Failed;
    assert!(!runs.create_run(&other).await.unwrap(), "the id exists");
    let kept = runs.find_run(&ids[0]).await.unwrap();
    assert_eq!(kept, Some(item(&ids[0])), "and nothing changed");

    ids.sort_unstable();
    let mut listed = Vec::new();
    let (mut sizes, mut after) = (Vec::new(), None::<RunId>);
    loop {
        let page = runs.list_runs(after.as_ref(), 3).await.unwrap();
        sizes.push(page.len());
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        listed.extend(page.into_iter().map(|run| run.id));
    }
    assert_eq!(
        sizes,
        [3, 3, 1, 0],
        "only the last page is shorter than `limit`"
    );
    assert_eq!(listed, ids, "in the order of ids, each once");
}

async fn updates(runs: &dyn Runs) {
    let run = id("updates");
    let any = [RunState::Splitting, RunState::Running, RunState::Reporting];
    let absent = runs
        .update_run(&run, &any, RunPatch::default(), at(1))
        .await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);

    runs.create_run(&item(&run)).await.unwrap();
    let mut expected = item(&run);
    let all = RunPatch {
        state: Some(RunState::Running),
        jobs: Some(4),
        counts: Some(Counts {
            records: 10,
            rejected: 2,
            ok: 7,
            failed: 2,
            missing: 1,
        }),
        failure: Some(Failure {
            stage: "submit".into(),
            what: "what".into(),
            advice: "advice".into(),
        }),
        result: Some("results/r.xlsx".into()),
        mail: Some("mail@example.com".into()),
        bounced: Some([("a@example.com".into(), "full".into())].into()),
        linked_mail: Some("linked@example.com".into()),
        definitions: Some(vec!["arn:1".into(), "arn:2".into()]),
        measured: Some(vec![StepSeconds {
            kind: "http".into(),
            p95_seconds: 0.125,
            records: 10,
        }]),
        cleaned: Some(at(3)),
    };
    let from = [RunState::Splitting, RunState::Running];
    assert!(
        runs.update_run(&run, &from, all.clone(), at(2))
            .await
            .unwrap()
    );
    expected.state = RunState::Running;
    expected.jobs = all.jobs;
    expected.counts = all.counts.unwrap();
    expected.failure = all.failure;
    expected.result = all.result;
    expected.mail = all.mail;
    expected.bounced = all.bounced.unwrap();
    expected.linked_mail = all.linked_mail;
    expected.definitions = all.definitions.unwrap();
    expected.measured = all.measured.unwrap();
    expected.cleaned = all.cleaned;
    expected.updated = at(2);
    assert_eq!(runs.find_run(&run).await.unwrap().as_ref(), Some(&expected));

    let none = RunPatch::default();
    assert!(runs.update_run(&run, &from, none, at(4)).await.unwrap());
    expected.updated = at(4);
    let kept = runs.find_run(&run).await.unwrap();
    assert_eq!(
        kept.as_ref(),
        Some(&expected),
        "absent fields keep their value"
    );

    let patch = RunPatch {
        state: Some(RunState::Failed),
        ..RunPatch::default()
    };
    let from = [RunState::Splitting, RunState::Reporting];
    assert!(!runs.update_run(&run, &from, patch, at(5)).await.unwrap());
    let kept = runs.find_run(&run).await.unwrap();
    assert_eq!(kept, Some(expected), "nothing changes in another state");
}

async fn jobs(runs: &dyn Runs) {
    let run = id("jobs");
    let job = |n: u32| (JobName(format!("{run}-{n}")), JobId(format!("job-{n}")));
    assert_eq!(runs.jobs(&run).await.unwrap(), []);
    for n in [1, 0, 1] {
        let (name, id) = job(n);
        runs.record_job(&run, &name, &id).await.unwrap();
    }
    let stray = JobId("stray".into());
    let other = runs.record_job(&run, &job(1).0, &stray).await;
    assert_eq!(other.unwrap_err().kind, ErrorKind::Conflict);

    // The event of a job can arrive before submit has recorded it.
    for (n, ended) in [(2, 1), (2, 1), (0, 2), (0, 2), (2, 2)] {
        let (name, id) = job(n);
        assert_eq!(runs.job_ended(&run, &name, &id).await.unwrap(), ended);
    }
    let (name, id) = job(2);
    runs.record_job(&run, &name, &id).await.unwrap();
    let ended = runs.job_ended(&run, &job(1).0, &stray).await.unwrap();
    assert_eq!(ended, 2, "a job with an unrecorded id does not count");
    let expected: Vec<JobRecord> = (0..3)
        .map(|n| {
            let (name, id) = job(n);
            let ended = n != 1;
            JobRecord { name, id, ended }
        })
        .collect();
    assert_eq!(
        runs.jobs(&run).await.unwrap(),
        expected,
        "in the order of names"
    );

    // Concurrent calls count each job once.
    let run = self::id("jobs at once");
    let ends = (0..20_u32).map(|n| {
        let (name, id) = (
            JobName(format!("j-{}", n % 10)),
            JobId(format!("{}", n % 10)),
        );
        let run = run.clone();
        async move { runs.job_ended(&run, &name, &id).await.unwrap() }
    });
    let counts = futures::future::join_all(ends).await;
    assert_eq!(
        counts.into_iter().max(),
        Some(10),
        "the last call sees all jobs"
    );
}
