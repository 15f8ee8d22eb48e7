//! The guarantees of [`Runs`].

use rowmill_domain::cost::{Cost, Planned, RunCost};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::result_storage::{ResultRestore, ResultState, ResultStorage};
use rowmill_domain::run::{
    Counts, Failure, ReportStarts, StepSeconds, Stop, StopReason, UploadSource,
};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::tally::CostRates;
use rowmill_domain::{RunId, RunItem, RunState};

use super::{at, id};
use crate::{ErrorKind, JobRecord, RunPatch, Runs};

/// Checks an adapter. It must hold no runs at the start, and holds a few at the end.
///
/// # Panics
/// If a guarantee of [`Runs`] does not hold.
pub async fn runs(runs: &dyn Runs) {
    create_and_list(runs).await;
    newest_and_delete(runs).await;
    open(runs).await;
    updates(runs).await;
    results(runs).await;
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

async fn newest_and_delete(runs: &dyn Runs) {
    // Later than all others, two of the same time.
    let mut expected = Vec::new();
    for (n, seconds) in [(0, 500), (1, 900), (2, 700), (3, 700)] {
        let mut run = item(&id(&format!("newest/{n}")));
        run.created = at(seconds);
        assert!(runs.create_run(&run).await.unwrap());
        expected.push((run.created, run.id));
    }
    expected.sort_unstable();
    expected.reverse();
    let list = async |limit| {
        let (mut found, mut before) = (Vec::new(), None);
        while found.len() < expected.len() {
            let page = runs.newest_runs(before.as_ref(), limit).await.unwrap();
            assert_eq!(page.len(), limit, "only the last page is shorter");
            found.extend(page.into_iter().map(|run| (run.created, run.id)));
            before = found.last().cloned();
        }
        found
    };
    assert_eq!(list(2).await, expected, "in pages");
    assert_eq!(list(4).await, expected, "at once");
    // A second creation with another time is not listed.
    let mut again = item(&expected[1].1);
    again.created = at(950);
    assert!(!runs.create_run(&again).await.unwrap());
    assert_eq!(list(1).await, expected);
    let end = Some((at(-3600), expected[0].1.clone()));
    assert_eq!(runs.newest_runs(end.as_ref(), 5).await.unwrap(), []);

    let gone = &expected[0].1;
    let (name, job) = (JobName(format!("{gone}-0")), JobId("job".into()));
    runs.record_job(gone, &name, &job).await.unwrap();
    for _ in 0..2 {
        runs.delete_run(gone).await.unwrap();
        assert_eq!(runs.find_run(gone).await.unwrap(), None);
        assert_eq!(runs.jobs(gone).await.unwrap(), []);
    }
    let left = runs.newest_runs(None, 1).await.unwrap();
    assert_eq!(left[0].id, expected[1].1, "it is not listed");
    assert!(runs.create_run(&item(gone)).await.unwrap(), "a new run");
    for (_, id) in &expected {
        runs.delete_run(id).await.unwrap();
    }
}

async fn open(runs: &dyn Runs) {
    let mut ids: Vec<RunId> = (0..5).map(|n| id(&format!("open/{n}"))).collect();
    ids.sort_unstable();
    for id in &ids {
        runs.create_run(&item(id)).await.unwrap();
    }
    let from = [RunState::Splitting];
    let change = async |id, state, cleaned| {
        let patch = RunPatch {
            state,
            cleaned,
            ..RunPatch::default()
        };
        runs.update_run(id, &from, patch, at(1)).await.unwrap()
    };
    // Ended but not cleaned up; cleaned up; not cleaned up, because it has another state.
    assert!(change(&ids[0], Some(RunState::Failed), None).await);
    assert!(change(&ids[2], None, Some(at(2))).await);
    assert!(!change(&ids[0], None, Some(at(2))).await);
    // A late delivery of the upload of a run that is over.
    assert!(!runs.create_run(&item(&ids[2])).await.unwrap());
    for _ in 0..2 {
        let (mut sizes, mut listed, mut after) = (Vec::new(), Vec::new(), None::<RunId>);
        loop {
            let page = runs.open_runs(after.as_ref(), 3).await.unwrap();
            sizes.push(page.len());
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            listed.extend(page);
        }
        assert!(sizes[..sizes.len() - 2].iter().all(|size| *size == 3));
        let ours = listed.iter().filter(|run| ids.contains(&run.id));
        let ours: Vec<&RunId> = ours.map(|run| &run.id).collect();
        assert_eq!(ours, [&ids[0], &ids[1], &ids[3], &ids[4]]);
        let ended = listed.iter().find(|run| run.id == ids[0]);
        assert_eq!(ended.unwrap().state, RunState::Failed, "as it is now");
    }
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
    let usd = |vcpu| Cost {
        vcpu,
        addresses: vcpu / 2.0,
        ..Cost::default()
    };
    let all = RunPatch {
        owner: Some("ada@example.com".into()),
        submitter: "ada@example.com".parse().ok(),
        state: Some(RunState::Running),
        jobs: Some(4),
        second_round: Some(2),
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
        stop: Some(Stop {
            reason: StopReason::MaxCost { limit: 5.0 },
            at: at(2),
        }),
        result: Some("results/r.xlsx".into()),
        mail: Some("mail@example.com".into()),
        bounced: Some([("a@example.com".into(), "full".into())].into()),
        linked_mail: Some("linked@example.com".into()),
        definitions: Some(vec!["arn:1".into(), "arn:2".into()]),
        cost_rates: Some(CostRates {
            base: usd(0.5),
            task: usd(0.25),
            seconds: vec![usd(0.125), usd(1e-9)],
            outcome: usd(0.0625),
        }),
        planned: Some(Planned {
            seconds: 300.5,
            cost: 1.25,
            cost_one_per_child: 480.0,
        }),
        used: Some(RunCost {
            tasks: 3,
            task_seconds: 180.5,
            vcpu_seconds: 45.125,
            gib_seconds: 90.25,
            usd: usd(1.5),
        }),
        measured: Some(vec![StepSeconds {
            kind: "http".into(),
            p95_seconds: 0.125,
            records: 10,
        }]),
        report: Some(ReportStarts::after(None, at(1))),
        cleaned: Some(at(3)),
    };
    let from = [RunState::Splitting, RunState::Running];
    assert!(
        runs.update_run(&run, &from, all.clone(), at(2))
            .await
            .unwrap()
    );
    expected.owner = all.owner;
    expected.submitter = all.submitter;
    expected.state = RunState::Running;
    expected.jobs = all.jobs;
    expected.second_round = all.second_round;
    expected.counts = all.counts.unwrap();
    expected.failure = all.failure;
    expected.stop = all.stop;
    expected.result = all.result;
    expected.mail = all.mail;
    expected.bounced = all.bounced.unwrap();
    expected.linked_mail = all.linked_mail;
    expected.definitions = all.definitions.unwrap();
    expected.cost_rates = all.cost_rates;
    expected.planned = all.planned;
    expected.used = all.used;
    expected.measured = all.measured.unwrap();
    expected.report = all.report;
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

async fn results(runs: &dyn Runs) {
    let run = id("results");
    let storage = |state, seconds| ResultStorage {
        state,
        since: at(seconds),
        class: Some(ArchiveClass::DeepArchive),
        restore: Some(ResultRestore {
            speed: RestoreSpeed::Bulk,
            requested: at(seconds - 1),
            by: "ada@example.com".into(),
        }),
    };
    let update =
        async |from: &[ResultState], to: &ResultStorage| runs.update_result(&run, from, to).await;
    let hot = ResultStorage::hot(at(1));
    let absent = update(&[ResultState::Hot], &hot).await;
    assert_eq!(absent.unwrap_err().kind, ErrorKind::NotFound);
    runs.create_run(&item(&run)).await.unwrap();
    let others: Vec<ResultState> = (ResultState::ALL.into_iter())
        .filter(|state| *state != ResultState::Hot)
        .collect();
    assert!(!update(&others, &hot).await.unwrap(), "it is hot");
    let mut expected = item(&run);
    for (n, state) in ResultState::ALL.into_iter().enumerate() {
        let before = expected
            .storage
            .as_ref()
            .map_or(ResultState::Hot, |s| s.state);
        let next = storage(state, n as i64);
        assert!(
            update(&[ResultState::Deleted, before], &next)
                .await
                .unwrap()
        );
        expected.storage = Some(next);
        assert_eq!(runs.find_run(&run).await.unwrap().as_ref(), Some(&expected));
    }
    // It is deleted now.
    let hot = [ResultState::Hot, ResultState::Restoring];
    assert!(
        !update(&hot, &storage(ResultState::Archived, 9))
            .await
            .unwrap()
    );
    let kept = runs.find_run(&run).await.unwrap();
    assert_eq!(
        kept.as_ref(),
        Some(&expected),
        "nothing changes in another state"
    );
    // Changes of the run and of its result do not affect each other.
    let patch = RunPatch {
        jobs: Some(3),
        ..RunPatch::default()
    };
    runs.update_run(&run, &[RunState::Splitting], patch, at(7))
        .await
        .unwrap();
    (expected.jobs, expected.updated) = (Some(3), at(7));
    assert_eq!(runs.find_run(&run).await.unwrap(), Some(expected));
    runs.delete_run(&run).await.unwrap();
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
