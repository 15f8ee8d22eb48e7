//! Split, submit and cleanup, killed before and after every single call through a port, and then
//! gone on with by their own retry or by another invocation once the lease has ended.

use std::collections::HashSet;

use crate::place::{Place, at};
use rowmill_domain::event::Reported;
use rowmill_domain::job::job_graph;
use rowmill_domain::message::Message;
use rowmill_domain::{Manifest, RunId, RunState, keys};
use rowmill_ports::{Jobs, Outcomes, Runs};

/// Two phases; each record is a child of its own.
const PIPELINE: &str = r#"
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
seconds_per_record = 240
concurrency = 1
"#;
const INPUT: &str = "id,n\n1,5\n,6\n2,7\n1,8\n\n3,9\n";

/// What a run looks like once it is submitted.
#[derive(Debug, PartialEq)]
struct Submitted {
    chunks: Vec<(String, bytes::Bytes)>,
    jobs: Vec<(String, Option<u32>)>,
}

async fn submitted(place: &Place, run: &RunId) -> Submitted {
    let item = place.item(run).await;
    assert_eq!(item.state, RunState::Running);
    assert_eq!((item.counts.records, item.counts.rejected), (3, 3));
    let mut chunks = place.objects_under(&keys::run_prefix(run)).await;
    let at = chunks
        .iter()
        .position(|(key, _)| *key == keys::manifest(run))
        .unwrap();
    let manifest = Manifest::from_json(&chunks.remove(at).1).unwrap();
    assert_eq!(item.jobs, Some(manifest.jobs()));
    assert_eq!(manifest.rows_in, 6);
    assert_eq!(
        place.ledger.tables().await.unwrap(),
        std::slice::from_ref(run)
    );

    // Each planned job is there once, is recorded, and waits for the one before it.
    let jobs = place.jobs().await;
    let recorded = place.ledger.jobs(run).await.unwrap();
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

/// Goes through all three stages, each killed at its `steps`-th point; whether any was.
async fn run(steps: u64, resumed_by: &str, hours: u32) -> (Submitted, bool) {
    let place = Place::new();
    place.pipeline("p", PIPELINE).await;
    let event = place.upload("p/a.csv", INPUT, &[]).await;
    let run = rowmill_split::run_id(&event);
    let mut killed = false;

    place.faults.kill_after(steps);
    if place.split.handle(&event, &at("first", 0)).await.is_err() {
        assert!(place.faults.is_killed());
        killed = true;
        place.faults.restart();
        place
            .split
            .handle(&event, &at(resumed_by, hours))
            .await
            .unwrap();
    }
    let told = place.published();
    assert!(
        !told.is_empty()
            && told
                .iter()
                .all(|m| *m == Message::Split { run: run.clone() })
    );

    place.faults.kill_after(steps);
    if place.submit.handle(&run, &at("first", 2)).await.is_err() {
        assert!(place.faults.is_killed());
        killed = true;
        place.faults.restart();
        place
            .submit
            .handle(&run, &at(resumed_by, 2 + hours))
            .await
            .unwrap();
    }
    let result = submitted(&place, &run).await;
    let [(due, _)] = &place.due()[..] else {
        panic!("a live run is looked at: {:?}", place.due())
    };
    assert_eq!(*due, Message::Due { run: run.clone() });

    place.deliver(&run, at("report", 4).now).await;
    let reported = Reported { run: run.clone() };
    place.faults.kill_after(steps);
    if place
        .cleanup
        .handle(&reported, &at("first", 4))
        .await
        .is_err()
    {
        assert!(place.faults.is_killed());
        killed = true;
        place.faults.restart();
        place
            .cleanup
            .handle(&reported, &at(resumed_by, 4 + hours))
            .await
            .unwrap();
    }
    assert_eq!(place.objects_under(keys::RUNS).await, []);
    assert_eq!(place.ledger.tables().await.unwrap(), []);
    assert_eq!(place.batch.definitions("").await.unwrap(), [] as [&str; 0]);
    assert!(
        place
            .jobs()
            .await
            .iter()
            .all(|job| job.status.is_terminal())
    );
    assert!(place.item(&run).await.cleaned.is_some());
    assert_eq!(place.due(), [], "nobody will look at it again");

    // All of it once more changes nothing.
    place.faults.restart();
    let before = (
        place.item(&run).await,
        place.published().len(),
        place.jobs().await,
    );
    place.split.handle(&event, &at("again", 9)).await.unwrap();
    place.submit.handle(&run, &at("again", 9)).await.unwrap();
    place
        .cleanup
        .handle(&reported, &at("again", 9))
        .await
        .unwrap();
    let after = (
        place.item(&run).await,
        place.published().len(),
        place.jobs().await,
    );
    assert_eq!(before, after);
    assert_eq!(place.objects_under(keys::RUNS).await, []);
    (result, killed)
}

#[tokio::test]
async fn a_stage_killed_at_any_call_is_gone_on_with() {
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
        // The holder's own retry goes on at once; another invocation once the lease has ended.
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
