//! The second round: what it submits, and that it can stop anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowmill_domain::job::JobName;
use rowmill_domain::second_round::SecondRound;
use rowmill_domain::{RunState, Status, keys};
use rowmill_events::ToReport;
use rowmill_ports::faulty::Faults;
use rowmill_ports::{Jobs, Objects, RunPatch, Runs};
use rowmill_runs::Transition;
use tokio::sync::watch;

use crate::bench::{Bench, Spec, TWO_PHASES, WORK, at};

/// A run of two phases whose child 1 of the first chunk was killed in the first phase.
async fn bench(code: i32) -> Bench {
    let spec = Spec {
        pipeline: TWO_PHASES,
        phases: 2,
        exits: vec![("0-0-1", code)],
        ..Spec::default()
    };
    let bench = Bench::new(spec).await;
    let definitions = bench.jobs.definitions("test").await.unwrap();
    let patch = RunPatch {
        definitions: Some(vec![definitions[0].clone(); 2]),
        ..RunPatch::default()
    };
    let changed = Transition::RecordDefinitions.apply(&*bench.ledger, &bench.run, patch, at(1).now);
    assert!(changed.await.unwrap());
    // The records of the child that was killed have no outcome.
    let plan = bench.manifest.chunks[0];
    let first = plan.first_row + plan.slice(1).start as u32;
    let last = plan.first_row + plan.slice(1).end as u32;
    let unfinished = first..last;
    bench
        .outcomes(|outcome| (!unfinished.contains(&outcome.row)).then_some(outcome))
        .await;
    bench
}

/// Runs the jobs of the second round to their end.
async fn run_jobs(bench: &Bench) {
    let (stop, stopped) = watch::channel(false);
    let jobs = bench.jobs.clone();
    let worker = tokio::spawn(async move { jobs.run(stopped).await });
    for record in bench.ledger.jobs(&bench.run).await.unwrap() {
        bench.jobs.wait_for_end(&record.id).await.unwrap();
    }
    stop.send_replace(true);
    worker.await.unwrap().unwrap();
}

async fn decided(bench: &Bench) -> Option<SecondRound> {
    let at = rowmill_ports::Location::new(WORK, keys::second_round(&bench.run));
    let object = bench.objects.get(&at).await.ok()?;
    Some(SecondRound::from_json(&object.body).unwrap())
}

/// The jobs of the second round in Batch, by name.
fn second_jobs(bench: &Bench) -> BTreeMap<JobName, usize> {
    let mut jobs = BTreeMap::new();
    for event in bench.events() {
        if event.name.is_second_round() && event.array_index.is_none() {
            jobs.entry(event.name)
                .or_insert_with(std::collections::BTreeSet::new)
                .insert(event.id.0);
        }
    }
    jobs.into_iter()
        .map(|(name, ids)| (name, ids.len()))
        .collect()
}

async fn handle_all(bench: &Bench, faults: &Arc<Faults>, minute: u32) -> usize {
    let report = bench.report(faults);
    let mut reported = 0;
    for event in bench.events() {
        match report.handle(&ToReport::Job(event), &at(minute)).await {
            Ok(done) => reported += usize::from(done.is_some()),
            Err(error) => assert!(faults.is_killed(), "{error}"),
        }
        if faults.is_killed() {
            break;
        }
    }
    reported
}

/// A whole run, whose report is killed at a point of the first round's events and of the second's.
/// Returns whether it was killed.
async fn run(steps: u64) -> bool {
    let bench = bench(137).await;
    let faults = Faults::never();
    faults.kill_after(steps);
    assert_eq!(
        handle_all(&bench, &faults, 3).await,
        0,
        "the run waits for the second round"
    );
    let mut killed = faults.is_killed();
    faults.restart();
    assert_eq!(handle_all(&bench, &faults, 3).await, 0);

    let chunks = decided(&bench).await.unwrap().chunks;
    assert_eq!(chunks.len(), 1, "one chunk runs again");
    let again = &chunks[0];
    assert_eq!(again.children, [(1, 1)]);
    assert_eq!((again.out_of_memory, again.no_capacity), (1, 0));
    let memory = again
        .phases
        .iter()
        .map(|p| p.resources.map(|r| r.memory_mib));
    assert_eq!(memory.collect::<Vec<_>>(), [Some(1024), None]);
    assert_eq!(bench.item().await.second_round, Some(2));
    assert_eq!(bench.item().await.state, RunState::Running);

    run_jobs(&bench).await;
    bench.outcomes(Some).await;
    faults.kill_after(steps);
    let first = handle_all(&bench, &faults, 30).await;
    killed |= faults.is_killed();
    faults.restart();
    assert!(
        first + handle_all(&bench, &faults, 30).await > 0,
        "reported"
    );
    assert_eq!(bench.item().await.state, RunState::Delivered);

    // Each job was submitted once, whatever stopped in between.
    let jobs = second_jobs(&bench);
    let names: Vec<&JobName> = jobs.keys().collect();
    let expected = [0, 1].map(|phase| JobName::second_round(&bench.run, 0, phase));
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    assert!(jobs.values().all(|count| *count == 1), "{jobs:?}");
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_round_that_is_killed_at_any_call_is_resumed() {
    let mut steps = 0;
    while run(steps).await {
        steps += 1;
    }
    assert!(steps > 20, "{steps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_says_that_a_second_round_ran_and_why() {
    let bench = bench(137).await;
    handle_all(&bench, &Faults::never(), 3).await;
    run_jobs(&bench).await;
    bench.outcomes(Some).await;
    handle_all(&bench, &Faults::never(), 30).await;
    let sent = bench.sent();
    let [(_, mail)] = &sent[..] else {
        panic!("{} mails", sent.len())
    };
    let mail = mail.replace("=\r\n", "");
    for part in ["1 job ran out of memory", "1,024 MiB instead of 512 MiB"] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_fails_for_another_reason_has_no_second_round() {
    let bench = bench(2).await;
    assert!(handle_all(&bench, &Faults::never(), 3).await > 0);
    assert_eq!(decided(&bench).await, None);
    assert_eq!(bench.item().await.second_round, None);
    assert_eq!(bench.item().await.state, RunState::DeliveredWithErrors);
    assert!(second_jobs(&bench).is_empty());
    let rows = bench.sheet("Results").await;
    let missing = rows
        .iter()
        .filter(|row| row.contains(&Status::Missing.name().to_owned()));
    assert_eq!(missing.count(), bench.manifest.chunks[0].slice(1).len());
}
