//! Tests through the port, with real processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rowmill_domain::job::{
    Dependency, DependencyType, EvaluateOnExit, ExitAction, JobDefinition, JobName, JobStatus,
    Resources, RetryStrategy, SubmitJob, on_demand_queue,
};
use rowmill_ports::conformance::jobs as suite;
use rowmill_ports::{ErrorKind, JobFilter, Jobs};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::exit::{DEPENDENCY_FAILED, EXITED, HOST_TERMINATED, TIMED_OUT};
use super::*;
use crate::bus::{Chaos, Target};

mod killed;

/// A minute of AWS takes 0.6 seconds, and its grace period of 30 seconds 0.3.
const SCALE: f64 = 0.01;
/// Longest wait for a single event.
const TIMEOUT: Duration = Duration::from_secs(20);

fn config(state: &Path, slots: usize) -> BatchConfig {
    BatchConfig {
        queue: "main".into(),
        slots,
        program: vec!["/bin/sh".into(), "-c".into()],
        environment: BTreeMap::new(),
        logs: state.join("logs"),
        chaos: None,
        clock_scale: SCALE,
    }
}

fn open(state: &Path, slots: usize) -> LocalBatch {
    LocalBatch::open(Cloud::open(state).unwrap(), config(state, slots)).unwrap()
}

struct Fixture {
    batch: LocalBatch,
    state: TempDir,
    stop: watch::Sender<bool>,
    worker: JoinHandle<Result<(), LocalError>>,
}

impl Fixture {
    fn new(slots: usize) -> Fixture {
        let state = tempfile::tempdir().unwrap();
        let batch = open(state.path(), slots);
        let (stop, stopped) = watch::channel(false);
        let worker = tokio::spawn({
            let batch = batch.clone();
            async move { batch.run(stopped).await }
        });
        Fixture {
            batch,
            state,
            stop,
            worker,
        }
    }

    async fn submit(&self, script: &str, change: impl FnOnce(&mut SubmitJob)) -> JobId {
        submit(&self.batch, script, change).await
    }

    async fn wait_for_end(&self, id: &JobId) -> JobDetail {
        wait_for_end(&self.batch, id).await
    }

    /// Waits until a file exists, which a script creates when it runs.
    async fn wait_for_file(&self, name: &str) {
        wait_for_file(&self.state.path().join(name)).await;
    }

    /// Waits until a job is RUNNING, which is soon after its program was started.
    async fn wait_until_running(&self, id: &JobId) {
        let mut last_event = self.batch.last_event();
        let wait = async {
            while self.batch.detail(id).unwrap().unwrap().status != JobStatus::Running {
                last_event.changed().await.unwrap();
            }
        };
        tokio::time::timeout(TIMEOUT, wait).await.unwrap();
    }

    async fn stop(self) -> (LocalBatch, TempDir) {
        self.stop.send_replace(true);
        tokio::time::timeout(TIMEOUT, self.worker)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        (self.batch, self.state)
    }
}

async fn wait_for_file(path: &Path) {
    let wait = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, wait)
        .await
        .unwrap_or_else(|_| panic!("{} does not exist", path.display()));
}

async fn define(batch: &LocalBatch, script: &str) -> String {
    let definition = JobDefinition {
        command: vec![script.into()],
        ..suite::definition("script")
    };
    batch.register(&definition).await.unwrap()
}

async fn submit(batch: &LocalBatch, script: &str, change: impl FnOnce(&mut SubmitJob)) -> JobId {
    let arn = define(batch, script).await;
    let mut job = suite::job("job", "main", &arn);
    change(&mut job);
    loop {
        match batch.submit(&job).await {
            Err(e) if e.kind == ErrorKind::Throttled => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            answer => return answer.unwrap(),
        }
    }
}

async fn wait_for_end(batch: &LocalBatch, id: &JobId) -> JobDetail {
    let ended = tokio::time::timeout(TIMEOUT, batch.wait_for_end(id)).await;
    ended
        .unwrap_or_else(|_| panic!("{id} does not end"))
        .unwrap()
        .unwrap()
}

fn attempts(attempts: u32, rules: Vec<EvaluateOnExit>) -> Option<RetryStrategy> {
    Some(RetryStrategy {
        attempts,
        evaluate_on_exit: rules,
    })
}

fn on(id: &JobId, kind: Option<DependencyType>) -> Dependency {
    Dependency {
        job_id: Some(id.clone()),
        kind,
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The ids and states of all events, oldest first.
fn events(batch: &LocalBatch) -> Vec<(String, JobStatus)> {
    let events = batch.events(0, usize::MAX).unwrap();
    events
        .into_iter()
        .map(|(_, e)| (e.id.0, e.status))
        .collect()
}

/// The events that report gets.
fn reported(batch: &LocalBatch) -> Vec<JobStateChange> {
    let payloads: Vec<String> = batch
        .inner
        .cloud
        .with(|conn| {
            conn.prepare("SELECT payload FROM message WHERE target = ?1 ORDER BY id")?
                .query_map([Target::Report.name()], |row| row.get(0))?
                .collect()
        })
        .unwrap();
    payloads
        .iter()
        .map(|p| rowmill_events::job_state_change(&serde_json::from_str(p).unwrap()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_batch_passes_the_suite() {
    let state = tempfile::tempdir().unwrap();
    suite::jobs(&open(state.path(), 1), "main").await;
    // Also while jobs run.
    let fixture = Fixture::new(8);
    suite::jobs(&fixture.batch, "main").await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_batch_enforces_the_limits_of_aws() {
    let state = tempfile::tempdir().unwrap();
    suite::jobs_limits(&open(state.path(), 1), "main").await;
}

#[tokio::test]
async fn more_than_fifty_submissions_per_second_are_throttled() {
    let state = tempfile::tempdir().unwrap();
    let scaled = |clock_scale| BatchConfig {
        clock_scale,
        ..config(state.path(), 1)
    };
    let cloud = Cloud::open(state.path()).unwrap();
    // With a second that lasts an hour, the test is always within it.
    let batch = LocalBatch::open(cloud.clone(), scaled(3600.0)).unwrap();
    let arn = define(&batch, "true").await;
    let job = suite::job("job", "main", &arn);
    for _ in 0..50 {
        batch.submit(&job).await.unwrap();
    }
    let refused = batch.submit(&job).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Throttled);
    assert!(refused.is_retryable());
    let batch = LocalBatch::open(cloud, scaled(0.0)).unwrap();
    for _ in 0..60 {
        batch.submit(&job).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_gets_the_environment_of_aws_batch() {
    let fixture = Fixture::new(2);
    let script = "echo \"$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT $AWS_BATCH_JQ_NAME \
        $AWS_BATCH_CE_NAME ${AWS_BATCH_JOB_ARRAY_INDEX-none} ${AWS_BATCH_JOB_ARRAY_SIZE-none} \
        $OWN\"; echo error >&2";
    let plain = fixture
        .submit(script, |job| {
            job.environment.insert("OWN".into(), "mine".into());
        })
        .await;
    fixture.wait_for_end(&plain).await;
    assert_eq!(
        text(&fixture.batch.log_path(&plain, 1)),
        format!("{plain} 1 main local none none mine\nerror\n")
    );
    let array = fixture.submit(script, |job| job.array_size = Some(2)).await;
    assert_eq!(
        fixture.wait_for_end(&array).await.status,
        JobStatus::Succeeded
    );
    assert_eq!(
        text(&fixture.batch.log_path(&array.child(1), 1)),
        format!("{array}:1 1 main local 1 2 \nerror\n")
    );
    fixture.batch.remove_logs(&array).unwrap();
    fixture.batch.remove_logs(&array).unwrap();
    assert!(!fixture.batch.log_path(&array.child(1), 1).exists());
    assert!(fixture.batch.log_path(&plain, 1).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_signals_are_reported() {
    let fixture = Fixture::new(4);
    for (script, code, status) in [
        ("exit 0", 0, JobStatus::Succeeded),
        ("exit 3", 3, JobStatus::Failed),
        ("kill -9 $$", 137, JobStatus::Failed),
        ("kill -15 $$", 143, JobStatus::Failed),
    ] {
        let job = fixture
            .wait_for_end(&fixture.submit(script, |_| {}).await)
            .await;
        assert_eq!(
            (job.status, job.exit_code),
            (status, Some(code)),
            "{script}"
        );
        assert_eq!(job.status_reason.as_deref(), Some(EXITED), "{script}");
        assert_eq!(job.attempts, 1);
        assert!(job.started_at <= job.stopped_at && job.started_at.is_some());
    }
}

#[tokio::test]
async fn a_missing_program_fails_the_job() {
    let state = tempfile::tempdir().unwrap();
    let program = vec!["/no/such/program".into()];
    let config = BatchConfig {
        program,
        ..config(state.path(), 1)
    };
    let batch = LocalBatch::open(Cloud::open(state.path()).unwrap(), config).unwrap();
    let id = submit(&batch, "x", |job| job.retry = attempts(2, Vec::new())).await;
    let (_stop, stopped) = watch::channel(false);
    let job = tokio::select! {
        job = wait_for_end(&batch, &id) => job,
        end = batch.run(stopped) => panic!("{end:?}"),
    };
    assert_eq!((job.status, job.attempts), (JobStatus::Failed, 2));
    assert_eq!(job.exit_code, None);
    let reason = job.reason.unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: /no/such/program: "),
        "{reason}"
    );
}

#[tokio::test]
async fn a_briefly_unavailable_program_costs_no_attempt() {
    let state = tempfile::tempdir().unwrap();
    let program = state.path().join("program");
    let away = vec![program.display().to_string()];
    let config = BatchConfig {
        program: away,
        ..config(state.path(), 1)
    };
    let batch = LocalBatch::open(Cloud::open(state.path()).unwrap(), config).unwrap();
    let id = submit(&batch, "x", |job| job.retry = attempts(1, Vec::new())).await;
    let (_stop, stopped) = watch::channel(false);
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::os::unix::fs::symlink("/bin/true", &program).unwrap();
        wait_for_end(&batch, &id).await
    };
    let job = tokio::select! {
        job = back => job,
        end = batch.run(stopped) => panic!("{end:?}"),
    };
    assert_eq!((job.status, job.attempts), (JobStatus::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_back_off() {
    let fixture = Fixture::new(1);
    let start = Instant::now();
    let id = fixture
        .submit("exit 9", |job| job.retry = attempts(8, Vec::new()))
        .await;
    let job = fixture.wait_for_end(&id).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Failed, 8));
    // 0.5 + 1 + 2 + 4 + 8 + 16 + 30 s at the scale of the tests.
    assert!(start.elapsed() >= Duration::from_millis(615));
}

/// The runtime of the test has one thread, which the test blocks: as if this process was stopped.
#[tokio::test]
async fn an_exit_while_this_process_is_suspended_is_not_a_timeout() {
    let fixture = Fixture::new(2);
    let limited = |job: &mut SubmitJob| job.timeout_seconds = Some(60);
    let ended = fixture.submit("sleep 0.3", limited).await;
    // It runs for 2.5 s with a limit of 1.8 s, 2 s of which this process is stopped.
    let running = fixture
        .submit("sleep 2.5", |job| {
            job.timeout_seconds = Some(3 * 60);
        })
        .await;
    fixture.wait_until_running(&ended).await;
    fixture.wait_until_running(&running).await;
    std::thread::sleep(Duration::from_secs(2));
    for id in [ended, running] {
        let job = fixture.wait_for_end(&id).await;
        assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.status_reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_are_retried_according_to_the_rules() {
    let fixture = Fixture::new(2);
    let exit_on = |code: &str| EvaluateOnExit {
        on_status_reason: None,
        on_reason: None,
        on_exit_code: Some(code.into()),
        action: ExitAction::Exit,
    };
    // Succeeds at its third attempt.
    let third = "test $AWS_BATCH_JOB_ATTEMPT = 3 || exit 9";
    for (allowed, rules, status, made) in [
        (3, vec![], JobStatus::Succeeded, 3),
        (3, vec![exit_on("8")], JobStatus::Succeeded, 3),
        (2, vec![], JobStatus::Failed, 2),
        (5, vec![exit_on("9")], JobStatus::Failed, 1),
    ] {
        let id = fixture
            .submit(third, |job| job.retry = attempts(allowed, rules))
            .await;
        let job = fixture.wait_for_end(&id).await;
        assert_eq!((job.status, job.attempts), (status, made));
        assert!(fixture.batch.log_path(&id, made).exists());
        assert!(!fixture.batch.log_path(&id, made + 1).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_exceeds_its_time_limit_is_not_retried() {
    let fixture = Fixture::new(2);
    let limited = |job: &mut SubmitJob| {
        job.timeout_seconds = Some(60);
        job.retry = attempts(3, Vec::new());
    };
    let start = Instant::now();
    let mild = fixture
        .submit("trap 'exit 7' TERM; while :; do sleep 0.01; done", limited)
        .await;
    let stubborn = fixture
        .submit("trap '' TERM; while :; do sleep 0.01; done", limited)
        .await;
    for (id, code) in [(mild, 7), (stubborn, 137)] {
        let job = fixture.wait_for_end(&id).await;
        assert_eq!((job.status, job.exit_code), (JobStatus::Failed, Some(code)));
        assert_eq!(job.status_reason.as_deref(), Some(TIMED_OUT));
        assert_eq!(job.attempts, 1);
    }
    // 60 s, and 30 s more for the one that ignores SIGTERM, at the scale of the tests.
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_is_reported_as_such() {
    let fixture = Fixture::new(1);
    let rules = vec![
        EvaluateOnExit {
            on_status_reason: Some("Host EC2*".into()),
            on_reason: None,
            on_exit_code: None,
            action: ExitAction::Retry,
        },
        EvaluateOnExit {
            on_status_reason: None,
            on_reason: Some("*".into()),
            on_exit_code: None,
            action: ExitAction::Exit,
        },
    ];
    let mark = fixture.state.path().join("runs");
    let script = format!(
        "test $AWS_BATCH_JOB_ATTEMPT = 2 && exit 4; touch {}; sleep 60",
        mark.display()
    );
    let id = fixture
        .submit(&script, |job| job.retry = attempts(5, rules))
        .await;
    fixture.wait_for_file("runs").await;
    fixture.batch.lose_host(&id).unwrap();
    let job = fixture.wait_for_end(&id).await;
    assert_eq!((job.attempts, job.exit_code), (2, Some(4)));
    let events = fixture.batch.events(0, usize::MAX).unwrap();
    let reasons: Vec<_> = events
        .iter()
        .filter_map(|(_, event)| event.status_reason.as_deref())
        .collect();
    assert_eq!(reasons, [HOST_TERMINATED, EXITED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_order_jobs_and_propagate_failures() {
    let fixture = Fixture::new(4);
    let order = fixture.state.path().join("order");
    let note = |name: &str| {
        format!(
            "echo {name}$AWS_BATCH_JOB_ARRAY_INDEX >> {}",
            order.display()
        )
    };
    let a = fixture
        .submit(&format!("sleep 0.1; {}", note("a")), |job| {
            job.array_size = Some(3);
        })
        .await;
    let b = fixture
        .submit(
            &format!("{}; exit $AWS_BATCH_JOB_ARRAY_INDEX", note("b")),
            |job| {
                job.array_size = Some(3);
                job.depends_on = vec![on(&a, Some(DependencyType::NToN))];
            },
        )
        .await;
    let c = fixture
        .submit(&note("c"), |job| {
            job.array_size = Some(3);
            job.depends_on = vec![on(&b, Some(DependencyType::NToN))];
        })
        .await;
    let d = fixture
        .submit(&note("d"), |job| job.depends_on = vec![on(&c, None)])
        .await;
    let one_by_one = Dependency {
        job_id: None,
        kind: Some(DependencyType::Sequential),
    };
    let e = fixture
        .submit(&note("e"), |job| {
            job.array_size = Some(4);
            job.depends_on = vec![on(&a, None), one_by_one];
        })
        .await;
    assert_eq!(fixture.wait_for_end(&a).await.status, JobStatus::Succeeded);
    assert_eq!(fixture.wait_for_end(&b).await.status, JobStatus::Failed);
    assert_eq!(fixture.wait_for_end(&c).await.status, JobStatus::Failed);
    assert_eq!(fixture.wait_for_end(&e).await.status, JobStatus::Succeeded);
    let d = fixture.wait_for_end(&d).await;
    assert_eq!(d.status, JobStatus::Failed);
    assert_eq!(d.status_reason.as_deref(), Some(DEPENDENCY_FAILED));
    assert_eq!((d.started_at, d.attempts), (None, 0));

    let lines = text(&order);
    let at = |what: &str| lines.lines().position(|line| line == what);
    for (before, after) in [
        ("a0", "b0"),
        ("a1", "b1"),
        ("a2", "b2"),
        ("b0", "c0"),
        ("a0", "e0"),
        ("a1", "e0"),
        ("a2", "e0"),
        ("e0", "e1"),
        ("e1", "e2"),
        ("e2", "e3"),
    ] {
        assert!(at(before) < at(after), "{before} {after}: {lines}");
        assert!(at(before).is_some());
    }
    for never in ["c1", "c2", "d"] {
        assert_eq!(at(never), None, "{lines}");
    }
    // Report gets the end of each job once, and no children.
    let mut ends: Vec<_> = reported(&fixture.batch)
        .into_iter()
        .map(|change| (change.id, change.status, change.array_index))
        .collect();
    ends.sort();
    let mut expected = vec![
        (a, JobStatus::Succeeded, None),
        (b, JobStatus::Failed, None),
        (c, JobStatus::Failed, None),
        (d.id, JobStatus::Failed, None),
        (e, JobStatus::Succeeded, None),
    ];
    expected.sort();
    assert_eq!(ends, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_ends_running_children_and_cancel_ends_waiting_ones() {
    let fixture = Fixture::new(1);
    let mark = fixture.state.path().join("runs");
    let script = format!("touch {}; exec sleep 60", mark.display());
    let array = fixture
        .submit(&script, |job| {
            job.array_size = Some(3);
            job.retry = attempts(5, Vec::new());
        })
        .await;
    fixture.wait_for_file("runs").await;
    fixture.wait_until_running(&array.child(0)).await;
    fixture
        .batch
        .cancel(&array.child(0), "too late")
        .await
        .unwrap();
    fixture
        .batch
        .cancel(&array.child(2), "early")
        .await
        .unwrap();
    fixture.batch.terminate(&array, "enough").await.unwrap();
    let parent = fixture.wait_for_end(&array).await;
    assert_eq!(parent.status, JobStatus::Failed);
    assert_eq!(parent.status_reason.as_deref(), Some("enough"));
    let children: Vec<JobId> = (0..3).map(|i| array.child(i)).collect();
    let children = fixture.batch.describe(&children).await.unwrap();
    let reasons: Vec<_> = children
        .iter()
        .map(|child| (child.status_reason.as_deref(), child.exit_code))
        .collect();
    assert_eq!(
        reasons,
        [
            (Some("enough"), Some(143)),
            (Some("enough"), None),
            (Some("early"), None)
        ]
    );
    // The slot is free again.
    let next = fixture.submit("exit 0", |_| {}).await;
    assert_eq!(
        fixture.wait_for_end(&next).await.status,
        JobStatus::Succeeded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_of_a_child_is_left_behind() {
    let fixture = Fixture::new(1);
    let pid = fixture.state.path().join("pid");
    // The child leaves a process in its group that ignores SIGTERM.
    let script = format!(
        "(trap '' TERM; echo > {0}.runs; while :; do sleep 0.05; done) & echo $! > {0}; \
         while ! test -e {0}.runs; do sleep 0.01; done",
        pid.display()
    );
    let job = fixture
        .wait_for_end(&fixture.submit(&script, |_| {}).await)
        .await;
    assert_eq!(job.status, JobStatus::Succeeded);
    let pid = text(&pid).trim().to_owned();
    let state = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
    let gone = async {
        // A zombie has ended, but was not reaped yet.
        while std::fs::read_to_string(&state).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_children_save_their_work_and_uses_no_attempt() {
    let fixture = Fixture::new(3);
    let state = fixture.state.path().to_owned();
    let mark = |name: &str| state.join(name).display().to_string();
    let quick = fixture
        .submit(
            &format!(
                "trap 'exit 0' TERM; touch {}; while :; do sleep 0.01; done",
                mark("quick")
            ),
            |_| {},
        )
        .await;
    let script = format!(
        "test -e {0} && exit 0; trap 'touch {0}; exit 143' TERM; touch {1}; \
         while :; do sleep 0.01; done",
        mark("stored"),
        mark("interrupted"),
    );
    let interrupted = fixture.submit(&script, |_| {}).await;
    let stubborn = fixture
        .submit(
            &format!(
                "test -e {0} && exit 0; trap '' TERM; touch {0}; while :; do sleep 0.01; done",
                mark("stubborn")
            ),
            |_| {},
        )
        .await;
    for name in ["quick", "interrupted", "stubborn"] {
        fixture.wait_for_file(name).await;
    }
    let (batch, state) = fixture.stop().await;
    let of = async |id: &JobId| {
        batch
            .describe(std::slice::from_ref(id))
            .await
            .unwrap()
            .remove(0)
    };
    assert_eq!(of(&quick).await.status, JobStatus::Succeeded);
    for id in [&interrupted, &stubborn] {
        let job = of(id).await;
        assert_eq!((job.status, job.attempts), (JobStatus::Runnable, 0));
    }
    // The next command resumes the jobs.
    drop(batch);
    let batch = open(state.path(), 2);
    let (_stop, stopped) = watch::channel(false);
    let worker = tokio::spawn({
        let batch = batch.clone();
        async move { batch.run(stopped).await }
    });
    for id in [&interrupted, &stubborn] {
        let job = wait_for_end(&batch, id).await;
        assert_eq!((job.status, job.attempts), (JobStatus::Succeeded, 1));
    }
    worker.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_reads_end_of_file_only_when_its_host_has_ended() {
    let fixture = Fixture::new(1);
    let mark = |name: &str| fixture.state.path().join(name).display().to_string();
    let script = format!("touch {}; cat; touch {}", mark("runs"), mark("eof"));
    let id = fixture.submit(&script, |_| {}).await;
    fixture.wait_for_file("runs").await;
    fixture.wait_until_running(&id).await;
    fixture.batch.terminate(&id, "enough").await.unwrap();
    let job = fixture.wait_for_end(&id).await;
    assert_eq!(job.exit_code, Some(143));
    assert!(!fixture.state.path().join("eof").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_arrays_are_scheduled_without_delay() {
    let state = tempfile::tempdir().unwrap();
    let batch = LocalBatch::open(
        Cloud::open(state.path()).unwrap(),
        BatchConfig {
            program: vec!["/bin/true".into()],
            ..config(state.path(), 8)
        },
    )
    .unwrap();
    let waiting = submit(&batch, "", |job| job.array_size = Some(10_000)).await;
    batch.cancel(&waiting, "not now").await.unwrap();
    let cancelled = batch
        .describe(std::slice::from_ref(&waiting))
        .await
        .unwrap();
    assert_eq!(cancelled[0].status, JobStatus::Failed);

    let array = submit(&batch, "", |job| job.array_size = Some(250)).await;
    let (_stop, stopped) = watch::channel(false);
    let worker = tokio::spawn({
        let batch = batch.clone();
        async move { batch.run(stopped).await }
    });
    let start = Instant::now();
    assert_eq!(
        wait_for_end(&batch, &array).await.status,
        JobStatus::Succeeded
    );
    let took = start.elapsed();
    eprintln!("250 children took {took:?}");
    worker.abort();
    for index in [0, 249] {
        let states: Vec<JobStatus> = events(&batch)
            .into_iter()
            .filter(|(id, _)| *id == array.child(index).0)
            .map(|(_, status)| status)
            .collect();
        assert_eq!(
            states,
            [
                JobStatus::Pending,
                JobStatus::Runnable,
                JobStatus::Starting,
                JobStatus::Running,
                JobStatus::Succeeded
            ]
        );
    }
    let filter = JobFilter::Name {
        queue: "main".into(),
        name: JobName("job".into()),
    };
    assert_eq!(batch.list(&filter, None).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn chaos_loses_no_event_for_report() {
    let state = tempfile::tempdir().unwrap();
    let config = BatchConfig {
        chaos: Some(Chaos { seed: 7 }),
        ..config(state.path(), 1)
    };
    let batch = LocalBatch::open(Cloud::open(state.path()).unwrap(), config).unwrap();
    let mut expected = Vec::new();
    for _ in 0..20 {
        let id = submit(&batch, "true", |_| {}).await;
        batch.terminate(&id, "enough").await.unwrap();
        expected.push(id);
    }
    let mut ended: Vec<JobId> = reported(&batch).into_iter().map(|c| c.id).collect();
    assert!(ended.len() > expected.len(), "some events are duplicated");
    ended.sort();
    ended.dedup();
    expected.sort();
    assert_eq!(ended, expected);
}

#[tokio::test]
async fn jobs_are_deleted_a_week_after_their_end() {
    let state = tempfile::tempdir().unwrap();
    let batch = open(state.path(), 1);
    let old = submit(&batch, "true", |job| job.array_size = Some(2)).await;
    let new = submit(&batch, "true", |job| {
        job.depends_on = vec![on(&old, None)];
    })
    .await;
    batch.terminate(&old, "enough").await.unwrap();
    let week = 7 * 24 * 3600 * 1000;
    let age = format!("UPDATE job_state SET stopped_at = stopped_at - {week} - 1 WHERE job = 1");
    let cloud = &batch.inner.cloud;
    cloud.with(|conn| conn.execute_batch(&age)).unwrap();
    let logs = [&old, &old.child(1), &new].map(|id| batch.log_path(id, 1));
    for log in &logs {
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(log, "output").unwrap();
    }
    drop(batch);
    let batch = open(state.path(), 1);
    let found = batch.describe(&[old, new.clone()]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].id, found[0].status), (&new, JobStatus::Failed));
    assert!(events(&batch).iter().all(|(id, _)| *id == new.0));
    assert_eq!(logs.map(|log| log.exists()), [false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_with_a_higher_priority_start_first_in_both_queues() {
    let state = tempfile::tempdir().unwrap();
    let batch = open(state.path(), 1);
    let mut ids = Vec::new();
    for (name, priority) in [("a", 0), ("b", 7), ("c", 9999), ("d", 7)] {
        let script = format!("echo {name} >> {}/order", state.path().display());
        let change = |job: &mut SubmitJob| {
            job.priority = priority;
            if name == "c" {
                job.queue = on_demand_queue("main");
            }
        };
        ids.push(submit(&batch, &script, change).await);
    }
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn({
        let batch = batch.clone();
        async move { batch.run(stopped).await }
    });
    for id in &ids {
        assert_eq!(wait_for_end(&batch, id).await.status, JobStatus::Succeeded);
    }
    stop.send_replace(true);
    worker.await.unwrap().unwrap();
    let order = std::fs::read_to_string(state.path().join("order")).unwrap();
    assert_eq!(order, "c\nb\nd\na\n");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_uses_too_much_memory_is_killed() {
    let fixture = Fixture::new(2);
    let hungry = "python3 -c 'import time; kept = b\"x\" * (600 << 20); time.sleep(5)'; true";
    let sized = |memory_mib| {
        move |job: &mut SubmitJob| {
            job.resources = Some(Resources {
                memory_mib,
                ..Resources::SMALLEST
            });
        }
    };
    let killed = fixture.submit(hungry, sized(512)).await;
    let enough = fixture.submit(hungry, sized(1024)).await;
    let killed = fixture.wait_for_end(&killed).await;
    assert_eq!(killed.status, JobStatus::Failed);
    assert_eq!(killed.exit_code, Some(137));
    let reason = killed.reason.unwrap_or_default();
    assert!(reason.starts_with("OutOfMemoryError"), "{reason}");
    let enough = fixture.wait_for_end(&enough).await;
    assert_eq!(enough.status, JobStatus::Succeeded, "{enough:?}");
}
