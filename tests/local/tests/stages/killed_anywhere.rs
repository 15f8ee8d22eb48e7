//! Split, submit and cleanup are killed before and after every single call through a port. Then their
//! retry resumes, or another invocation does after the lease has ended.

use std::collections::HashSet;

use crate::bench::{Bench, at};
use bytes::Bytes;
use rowmill_domain::archive::{ARCHIVE_VERSION, ArchiveInfo, write_line};
use rowmill_domain::event::Reported;
use rowmill_domain::job::job_graph;
use rowmill_domain::message::{RetryRequest, RetryRows, RunMessage};
use rowmill_domain::{Manifest, RunId, RunState, Submitter, keys};
use rowmill_ports::{Jobs, Objects, Outcomes, Put, RunPatch, Runs, Submitters};
use rowmill_runs::Transition;

/// Two phases, with one record per child.
pub(crate) const PIPELINE: &str = r#"
[input]
required = ["id"]
key = ["id"]

[[step]]
kind = "command"
program = ["true"]
outputs = ["a"]

[[step]]
kind = "command"
program = ["true"]
outputs = ["b"]
image = "other"

[batch]
records_per_child = 1
"#;
pub(crate) const INPUT: &str = "id,n\n1,5\n,6\n2,7\n1,8\n\n3,9\n";

/// The stored data and the jobs of a run after submit.
#[derive(Debug, PartialEq)]
struct Submitted {
    chunks: Vec<(String, bytes::Bytes)>,
    jobs: Vec<(String, Option<u32>)>,
}

async fn submitted(bench: &Bench, run: &RunId) -> Submitted {
    let item = bench.item(run).await;
    assert_eq!(item.state, RunState::Running);
    assert_eq!((item.counts.records, item.counts.rejected), (3, 3));
    let mut chunks = bench.objects_under(&keys::run_prefix(run)).await;
    let at = chunks
        .iter()
        .position(|(key, _)| *key == keys::manifest(run))
        .unwrap();
    let manifest = Manifest::from_json(&chunks.remove(at).1).unwrap();
    assert_eq!(item.jobs, Some(manifest.jobs()));
    assert_eq!(manifest.rows_in, 6);
    assert_eq!(
        bench.ledger.list_tables().await.unwrap(),
        std::slice::from_ref(run)
    );

    // Each planned job exists once and is recorded.
    let jobs = bench.jobs().await;
    let recorded = bench.ledger.jobs(run).await.unwrap();
    let planned: HashSet<_> = job_graph(&manifest)
        .into_iter()
        .map(|job| job.name)
        .collect();
    assert_eq!(
        jobs.len(),
        planned.len(),
        "a job was submitted twice, or never"
    );
    assert_eq!(recorded.len(), planned.len());
    for job in &recorded {
        assert!(planned.contains(&job.name));
        assert!(jobs.iter().any(|j| j.id == job.id && j.name == job.name));
    }
    assert_eq!(item.definitions.len(), 2);
    Submitted {
        chunks,
        jobs: jobs
            .into_iter()
            .map(|job| (job.name.0, job.array_size))
            .collect(),
    }
}

/// Runs all three stages, each killed at point `steps`. Returns whether any was killed.
async fn run(steps: u64, resumed_by: &str, hours: u32) -> (Submitted, bool) {
    let bench = Bench::new();
    bench.pipeline("p", PIPELINE).await;
    let event = bench.upload("p/a.csv", INPUT, &[]).await;
    let run = rowmill_split::run_id(&event);
    let mut killed = false;

    bench.faults.kill_after(steps);
    if bench.split.handle(&event, &at("first", 0)).await.is_err() {
        assert!(bench.faults.is_killed());
        killed = true;
        bench.faults.restart();
        bench
            .split
            .handle(&event, &at(resumed_by, hours))
            .await
            .unwrap();
    }
    let messages = bench.published();
    assert!(
        !messages.is_empty()
            && messages
                .iter()
                .all(|m| *m == RunMessage::Split { run: run.clone() })
    );

    bench.faults.kill_after(steps);
    if bench.submit.handle(&run, &at("first", 2)).await.is_err() {
        assert!(bench.faults.is_killed());
        killed = true;
        bench.faults.restart();
        bench
            .submit
            .handle(&run, &at(resumed_by, 2 + hours))
            .await
            .unwrap();
    }
    let result = submitted(&bench, &run).await;
    let [(due, _)] = &bench.due()[..] else {
        panic!("a running run has a scheduled check: {:?}", bench.due())
    };
    assert_eq!(*due, RunMessage::Due { run: run.clone() });

    bench.deliver(&run, at("report", 4).now).await;
    let reported = Reported { run: run.clone() };
    bench.faults.kill_after(steps);
    if bench
        .cleanup
        .handle(&reported, &at("first", 4))
        .await
        .is_err()
    {
        assert!(bench.faults.is_killed());
        killed = true;
        bench.faults.restart();
        bench
            .cleanup
            .handle(&reported, &at(resumed_by, 4 + hours))
            .await
            .unwrap();
    }
    assert_eq!(bench.objects_under(keys::RUNS).await, []);
    assert_eq!(bench.ledger.list_tables().await.unwrap(), []);
    assert_eq!(bench.batch.definitions("").await.unwrap(), [] as [&str; 0]);
    assert!(
        bench
            .jobs()
            .await
            .iter()
            .all(|job| job.status.is_terminal())
    );
    assert!(bench.item(&run).await.cleaned.is_some());
    assert_eq!(bench.due(), [], "no further check");

    // Running everything again does not change anything.
    bench.faults.restart();
    let before = (
        bench.item(&run).await,
        bench.published().len(),
        bench.jobs().await,
    );
    bench.split.handle(&event, &at("again", 9)).await.unwrap();
    bench.submit.handle(&run, &at("again", 9)).await.unwrap();
    bench
        .cleanup
        .handle(&reported, &at("again", 9))
        .await
        .unwrap();
    let after = (
        bench.item(&run).await,
        bench.published().len(),
        bench.jobs().await,
    );
    assert_eq!(before, after);
    assert_eq!(bench.objects_under(keys::RUNS).await, []);
    (result, killed)
}

#[tokio::test]
async fn a_stage_killed_at_any_call_is_resumed() {
    let (undisturbed, killed) = run(u64::MAX, "", 0).await;
    assert!(!killed);
    assert_eq!(undisturbed.jobs.len(), 2);
    assert_eq!(
        undisturbed.jobs[0].1,
        Some(3),
        "an array of the three records"
    );
    let mut steps = 0;
    loop {
        // The retry of the same invocation resumes immediately, another one after the lease.
        let (own, killed) = run(steps, "first", 0).await;
        assert_eq!(
            own, undisturbed,
            "killed at {steps}, resumed by its own retry"
        );
        let (other, _) = run(steps, "second", 1).await;
        assert_eq!(other, undisturbed, "killed at {steps}, resumed by another");
        if !killed {
            break;
        }
        steps += 1;
    }
    // The longest stage makes well over ten calls, each with two points.
    assert!(steps > 20, "{steps}");
}

/// Archives a run in which the second of three rows failed in its second step, and delivers it.
pub(crate) async fn archived(bench: &Bench) -> RunId {
    bench.pipeline("p", PIPELINE).await;
    let event = bench.upload("p/a.csv", INPUT, &[]).await;
    let run = rowmill_split::run_id(&event);
    bench.split.handle(&event, &at("first", 0)).await.unwrap();
    let objects = bench.objects_under(&keys::run_prefix(&run)).await;
    let body = |key: String| {
        let found = objects.iter().find(|(name, _)| *name == key);
        found.unwrap().1.clone()
    };
    let manifest = Manifest::from_json(&body(keys::manifest(&run))).unwrap();
    let chunk = body(keys::chunk(&run, 0));
    let mut rows = Vec::new();
    for (n, line) in chunk
        .trim_ascii_end()
        .split(|byte| *byte == b'\n')
        .enumerate()
    {
        let row: serde_json::Value = serde_json::from_slice(line).unwrap();
        let mut outcome = serde_json::json!({
            "row": row["row"], "status": "ok", "outputs": { "a": 1, "b": 2 }, "attempts": 1, "steps": 2,
        });
        if n == 1 {
            outcome["status"] = "failed".into();
            outcome["outputs"] = serde_json::json!({ "a": 1 });
            outcome["steps"] = 1.into();
        }
        write_line(line, &serde_json::from_value(outcome).unwrap(), &mut rows).unwrap();
    }
    let started = event.time;
    let about = ArchiveInfo {
        v: ARCHIVE_VERSION,
        started,
        finished: started,
        reasons: Vec::new(),
        manifest,
    };
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, bytes).unwrap();
        Bytes::from(gzip.finish().unwrap())
    };
    for (key, body) in [
        (keys::archived_rows(&run, 0), gzip(&rows)),
        (
            keys::archived_rejected(&run),
            gzip(&body(keys::rejected(&run))),
        ),
        (
            keys::about(&run),
            serde_json::to_vec(&about).unwrap().into(),
        ),
    ] {
        let put = bench
            .objects
            .put(crate::bench::WORK, &key, body, Put::default());
        put.await.unwrap();
    }
    bench.deliver(&run, at("report", 1).now).await;
    let reported = Reported { run: run.clone() };
    bench
        .cleanup
        .handle(&reported, &at("first", 1))
        .await
        .unwrap();
    run
}

/// Retries a run, killed at point `steps`. Returns what is stored, and whether the retry was killed.
async fn retried(steps: u64, resumed_by: &str, hours: u32) -> (Vec<(String, Bytes)>, bool) {
    let bench = Bench::new();
    let run = archived(&bench).await;
    let ada: Submitter = "ada@example.com".parse().unwrap();
    let patch = RunPatch {
        submitter: Some(ada.clone()),
        ..RunPatch::default()
    };
    let (change, now) = (Transition::RecordSubmitter, at("first", 1).now);
    change
        .apply(&*bench.ledger, &run, patch, now)
        .await
        .unwrap();
    let before = bench.published().len();
    let request = RetryRequest {
        run: run.clone(),
        retry: None,
        rows: RetryRows::Failed,
        pipeline: None,
    };
    let retry = run.next_retry().unwrap();
    bench.faults.kill_after(steps);
    let killed = bench.split.retry(&request, &at("first", 2)).await.is_err();
    if killed {
        assert!(bench.faults.is_killed());
        bench.faults.restart();
        let again = at(resumed_by, 2 + hours);
        bench.split.retry(&request, &again).await.unwrap();
    }
    bench.faults.restart();
    bench.split.retry(&request, &at("again", 9)).await.unwrap();
    let messages = &bench.published()[before..];
    let split = RunMessage::Split { run: retry.clone() };
    assert!(
        !messages.is_empty() && messages.iter().all(|m| *m == split),
        "{messages:?}"
    );
    let item = bench.item(&retry).await;
    assert_eq!(
        (item.state, item.counts.records, item.jobs),
        (RunState::Running, 1, Some(2))
    );
    assert_eq!(item.submitter.as_ref(), Some(&ada), "of the run");
    let runs = bench.ledger.runs_of(&ada, None, 9).await.unwrap();
    assert_eq!(runs, std::slice::from_ref(&retry));
    assert_eq!(
        bench.ledger.list_tables().await.unwrap(),
        std::slice::from_ref(&retry)
    );
    let due = bench.due();
    assert!(
        matches!(&due[..], [(RunMessage::Due { run }, _)] if *run == retry),
        "{due:?}"
    );

    let mut objects = bench.objects_under(keys::RUNS).await;
    let at = objects
        .iter()
        .position(|(key, _)| *key == keys::manifest(&retry));
    let manifest = Manifest::from_json(&objects.remove(at.unwrap()).1).unwrap();
    assert_eq!(
        (manifest.records, manifest.processed(), manifest.rows_in),
        (3, 1, 6)
    );
    assert_eq!(manifest.base.unwrap().run, run);
    (objects, killed)
}

#[tokio::test]
async fn a_retry_killed_at_any_call_is_resumed() {
    let (undisturbed, killed) = retried(u64::MAX, "", 0).await;
    assert!(!killed);
    let [(_, chunk), (_, rejected)] = &undisturbed[..] else {
        panic!("{undisturbed:?}")
    };
    let chunk = String::from_utf8(chunk.to_vec()).unwrap();
    let before = r#","before":{"row":4,"status":"ok","outputs":{"a":1},"attempts":0,"steps":1}}"#;
    assert!(
        chunk.starts_with(r#"{"row":4,"values":"#) && chunk.ends_with(&format!("{before}\n")),
        "{chunk}"
    );
    assert_eq!(rejected.split(|byte| *byte == b'\n').count(), 3 + 1);
    let mut steps = 0;
    loop {
        let (own, killed) = retried(steps, "first", 0).await;
        assert_eq!(
            own, undisturbed,
            "killed at {steps}, resumed by its own retry"
        );
        let (other, _) = retried(steps, "second", 1).await;
        assert_eq!(other, undisturbed, "killed at {steps}, resumed by another");
        if !killed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20, "{steps}");
}
