//! Kills a process that runs the local Batch, at random moments with SIGKILL.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// The environment variable that makes a process of this test program the host of a state directory.
const HOST: &str = "ROWMILL_TEST_HOST";
/// The file that the host creates when it has opened its state.
const READY: &str = "ready";

/// Not a test: the process that is killed below.
#[tokio::test(flavor = "multi_thread")]
async fn host() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch between processes of this test"
    )]
    let state = std::env::var(HOST);
    let Ok(state) = state else {
        return;
    };
    let (_stop, stopped) = watch::channel(false);
    let batch = open(Path::new(&state), 3);
    std::fs::write(Path::new(&state).join(READY), "").unwrap();
    batch.run(stopped).await.unwrap();
}

fn start_host(state: &Path) -> Child {
    let this = std::env::current_exe().unwrap();
    Command::new(this)
        .args(["--exact", "batch::tests::killed::host", "--nocapture"])
        .env(HOST, state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut host: Child) {
    host.kill().unwrap();
    assert_eq!(
        host.wait().unwrap().signal(),
        Some(9),
        "the host exited by itself"
    );
    // Children have their own output, so only the host held this one open.
    let mut output = String::new();
    host.stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(!output.contains("panicked"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_and_correctly_although_its_host_is_killed_repeatedly() {
    let state = tempfile::tempdir().unwrap();
    let ends = state.path().join("ends");
    let note = format!(
        "sleep 0.0$AWS_BATCH_JOB_ARRAY_INDEX; \
         echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT >> {}",
        ends.display()
    );
    let batch = open(state.path(), 1);
    let sized = |job: &mut SubmitJob, on: Vec<Dependency>| {
        job.array_size = Some(8);
        job.depends_on = on;
    };
    let a = submit(&batch, &note, |job| sized(job, Vec::new())).await;
    // Child 3 fails in both attempts; the others succeed in the first.
    let three = format!("{note}; test $AWS_BATCH_JOB_ARRAY_INDEX != 3");
    let b = submit(&batch, &three, |job| {
        sized(job, vec![on(&a, Some(DependencyType::NToN))]);
        job.retry = attempts(2, Vec::new());
    })
    .await;
    let c = submit(&batch, &note, |job| {
        sized(job, vec![on(&b, Some(DependencyType::NToN))]);
    })
    .await;
    let d = submit(&batch, &note, |job| job.depends_on = vec![on(&c, None)]).await;
    let e = submit(&batch, &note, |job| job.depends_on = vec![on(&a, None)]).await;
    let jobs = [&a, &b, &c, &d, &e];
    drop(batch);

    let ready = state.path().join(READY);
    let mut kills = 0;
    loop {
        let _ = std::fs::remove_file(&ready);
        let host = start_host(state.path());
        // Mostly kill it while it runs jobs, and sometimes while it recovers the jobs of the last one.
        if kills % 4 != 3 {
            wait_for_file(&ready).await;
        }
        // Longer each time: on a busy machine, a host needs more time to end a job.
        let wait = Duration::from_millis(rand::random_range(0..80 + kills));
        tokio::time::sleep(wait).await;
        kill(host);
        kills += 1;
        // Read the jobs without recovering them.
        let cloud = Cloud::open(state.path()).unwrap();
        let machine = cloud.with(|conn| store::load(conn)).unwrap();
        let ended = |id: &JobId| {
            let unit = machine.find(id).unwrap();
            machine.job(unit.job).unwrap().own.status.is_terminal()
        };
        if jobs.iter().all(|id| ended(id)) {
            break;
        }
        assert!(kills < 500, "the jobs do not end");
    }
    eprintln!("{kills} kills");
    assert!(kills > 3, "only {kills} kills");

    let batch = open(state.path(), 1);
    let found = batch.describe(&jobs.map(Clone::clone)).await.unwrap();
    let states: Vec<_> = found.iter().map(|job| job.status).collect();
    use JobStatus::{Failed, Succeeded};
    assert_eq!(states, [Succeeded, Failed, Failed, Failed, Succeeded]);

    // Each unit ended once, in the expected state.
    let mut ended: HashMap<String, Vec<JobStatus>> = HashMap::new();
    for (id, status) in events(&batch) {
        if status.is_terminal() {
            ended.entry(id).or_default().push(status);
        }
    }
    assert_eq!(ended.len(), 3 * 9 + 2);
    let log = text(&ends);
    let ran = |id: &JobId| {
        log.lines()
            .filter(|l| l.split(' ').next() == Some(&id.0))
            .count()
    };
    for index in 0..8 {
        for (job, status) in [
            (&a, Succeeded),
            (&b, if index == 3 { Failed } else { Succeeded }),
            (&c, if index == 3 { Failed } else { Succeeded }),
        ] {
            let child = job.child(index);
            assert_eq!(ended[&child.0], [status], "{child}");
            let never = job == &c && index == 3;
            assert_eq!(ran(&child) == 0, never, "{child}");
        }
    }
    assert_eq!(ran(&d), 0);
    let child = batch.describe(&[b.child(3)]).await.unwrap().remove(0);
    assert_eq!(child.attempts, 2, "a killed host uses no attempt");
    // Report gets each job once.
    let mut reported: Vec<JobId> = super::reported(&batch).into_iter().map(|c| c.id).collect();
    reported.sort();
    let mut expected = jobs.map(Clone::clone);
    expected.sort();
    assert_eq!(reported, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_of_a_killed_host_are_killed() {
    let state = tempfile::tempdir().unwrap();
    let batch = open(state.path(), 1);
    // The child ignores its standard input and SIGTERM.
    let script = format!(
        "trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 0.01; done",
        state.path().join("pid").display()
    );
    let id = submit(&batch, &script, |_| {}).await;
    drop(batch);
    let host = start_host(state.path());
    wait_for_file(&state.path().join("pid")).await;
    kill(host);
    let pid = text(&state.path().join("pid"));
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(alive(), "the child outlives its host");
    let batch = open(state.path(), 1);
    assert!(!alive());
    let job = batch.describe(&[id]).await.unwrap().remove(0);
    assert_eq!((job.status, job.attempts), (JobStatus::Runnable, 0));
}
