//! A child processes its slice of a chunk.

use bytes::Bytes;
use rowmill_domain::config::child_exit;
use rowmill_domain::limits::CHUNK_RECORDS;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::StopReason;
use rowmill_domain::{Status, Value, keys};
use rowmill_enrich::{ChildReport, EnrichError};
use rowmill_local::bus::{self, Target};
use rowmill_ports::{Objects, Outcomes, Put, TablePlan};
use tokio::sync::watch;

use crate::bench::{Bench, PATIENCE, WORK};

/// A `command` step that runs a shell script for each record, with the row in `$row`.
fn command(script: &str, output: &str) -> String {
    let program =
        format!("while read -r line; do row=${{line#*:}}; row=${{row%%,*}}; {script}; done");
    format!(
        "[[step]]\nkind = \"command\"\nprogram = ['sh', '-c', '''{program}''']\noutputs = [\"{output}\"]\n"
    )
}

const SQUARE: &str = "[[column]]\nname = \"square\"\nvalue = 'row[\"n\"] * row[\"n\"]'\n";

#[tokio::test]
async fn children_share_a_chunk_and_each_row_gets_one_outcome() {
    let bench = Bench::new(SQUARE, 101, 3).await;
    let mut records = 0;
    for index in 0..3 {
        let report = bench.work(0, Some(index)).await.unwrap();
        assert_eq!((report.ok, report.resumed), (report.records, 0));
        records += report.records;
        assert_eq!(bench.outcomes().await.len() as u64, records);
    }
    for (outcome, row) in bench.outcomes().await.iter().zip(2..) {
        let square = Value::Number(f64::from(row) * f64::from(row));
        assert_eq!(
            (outcome.row, outcome.status, outcome.attempts),
            (row, Status::Ok, 0)
        );
        assert_eq!(outcome.outputs, [("square".into(), square)]);
    }
    // A second run has nothing to do.
    let again = bench.work(0, Some(1)).await.unwrap();
    assert_eq!((again.ok, again.resumed), (0, again.records));
}

#[tokio::test]
async fn a_resumed_child_processes_the_remaining_records() {
    let step = command(
        r#"echo x >> calls; echo "{\"row\":$row,\"outputs\":{\"y\":$row}}""#,
        "y",
    );
    let bench = Bench::new(&step, 20, 1).await;
    let (_stop, stopped) = watch::channel(false);
    bench
        .enrich
        .run(&bench.child(0, None), stopped)
        .await
        .unwrap();
    // Remove half of the outcomes, as if the child had been killed before it stored them.
    let all = bench.outcomes().await;
    bench.ledger.drop_table(&bench.run).await.unwrap();
    let plan = TablePlan {
        writes_per_second: 1,
        records: 20,
    };
    bench.ledger.create_table(&bench.run, plan).await.unwrap();
    let half: Vec<_> = all.iter().filter(|o| o.row % 2 == 0).cloned().collect();
    bench
        .ledger
        .put_outcomes(&bench.run, 0, &half)
        .await
        .unwrap();
    let report = bench.work(0, None).await.unwrap();
    assert_eq!((report.records, report.resumed, report.ok), (20, 10, 10));
    let calls = std::fs::read_to_string(bench.directory.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 30);
    let rows: Vec<u32> = bench.outcomes().await.iter().map(|o| o.row).collect();
    assert_eq!(rows, (2..22).collect::<Vec<_>>());
}

#[tokio::test]
async fn checks_and_derived_columns_run_in_the_last_phase() {
    let first = command(
        r#"if [ $row = 3 ]; then echo "{\"row\":3,\"error\":\"no such parcel\"}"; else echo "{\"row\":$row,\"outputs\":{\"a\":$row}}"; fi"#,
        "a",
    );
    let second = command(r#"echo "{\"row\":$row,\"outputs\":{\"b\":1}}""#, "b");
    let pipeline = format!(
        "{first}{second}image = \"other\"\n[[check]]\nrule = 'a < 4'\n\
         [[column]]\nname = \"c\"\nvalue = 'a + b'\n"
    );
    let bench = Bench::new(&pipeline, 3, 1).await;
    let one = bench.work(0, None).await.unwrap();
    assert_eq!((one.ok, one.failed), (2, 1));
    for outcome in bench.outcomes().await {
        assert_eq!(outcome.phase, 0);
        assert!(outcome.outputs.iter().all(|(name, _)| &**name == "a"));
    }
    let two = bench.work(1, None).await.unwrap();
    assert_eq!((two.records, two.resumed, two.ok, two.failed), (3, 0, 1, 2));
    let outcomes = bench.outcomes().await;
    assert!(outcomes.iter().all(|o| o.phase == 1));
    assert_eq!(
        outcomes[0].outputs,
        [
            ("a".into(), 2.0.into()),
            ("b".into(), 1.0.into()),
            ("c".into(), 3.0.into())
        ]
    );
    let error = |i: usize| outcomes[i].error.as_deref().unwrap();
    assert!(
        error(1).starts_with("step 1 (command): ") && error(1).contains("no such parcel"),
        "{}",
        error(1)
    );
    assert_eq!(error(2), "check `a < 4` failed");
    let steps: Vec<u16> = outcomes[0].times.iter().map(|t| t.step).collect();
    assert_eq!(steps, [0, 1]);
}

#[tokio::test]
async fn a_child_of_a_stopped_run_stores_the_records_in_flight_and_succeeds() {
    let step = command(
        r#"echo x >> calls; if [ $row = 3 ]; then touch begun; while ! [ -e go ]; do sleep 0.01; done; fi; echo "{\"row\":$row,\"outputs\":{\"y\":1}}""#,
        "y",
    );
    let bench = Bench::new(&format!("{step}[batch]\nconcurrency = 1\n"), 10, 1).await;
    bench.create_run().await;
    let (_stop, stopped) = watch::channel(false);
    let (enrich, child) = (bench.enrich.clone(), bench.child(0, None));
    let running = tokio::spawn(async move { enrich.run(&child, stopped).await });
    bench.appeared("begun").await;
    bench.cancel().await;
    // Longer than the time between two looks, also on a busy machine.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    std::fs::write(bench.directory.path().join("go"), "").unwrap();
    let report = tokio::time::timeout(PATIENCE, running).await.unwrap();
    let report = report.unwrap().unwrap();
    assert_eq!((report.ok, report.left), (2, 8));
    assert_eq!(bench.outcomes().await.len(), 2);
    // A child that starts later does nothing.
    let later = bench.work(0, None).await.unwrap();
    assert_eq!((later.ok, later.resumed, later.left), (0, 2, 8));
    let calls = std::fs::read_to_string(bench.directory.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2);
}

#[tokio::test]
async fn the_child_with_which_a_run_costs_too_much_stops_the_run() {
    let bench = Bench::new(&format!("{SQUARE}[batch]\nmax_cost = 5\n"), 20, 2).await;
    bench.create_run().await;
    let first = bench.work(0, Some(0)).await.unwrap();
    assert_eq!((first.ok, first.left), (10, 0), "4 USD so far");
    assert_eq!(bus::queue(&bench.cloud).unwrap(), []);
    let second = bench.work(0, Some(1)).await.unwrap();
    assert_eq!((second.ok, second.left), (0, 10), "7 USD");
    let [(Target::Submit, event)] = &bus::queue(&bench.cloud).unwrap()[..] else {
        panic!("one message")
    };
    let expected = RunMessage::Stop {
        run: bench.run.clone(),
        reason: Some(StopReason::MaxCost { limit: 5.0 }),
    };
    assert_eq!(rowmill_events::sns_messages(event).unwrap(), [expected]);
    let tally = bench.ledger.tally(&bench.run).await.unwrap();
    assert_eq!((tally.ok, tally.failed, tally.tasks), (10, 0, 2));
}

#[tokio::test]
async fn a_stopped_child_finishes_and_stores_the_records_in_flight() {
    // The second record signals that it is running, then waits for permission to continue.
    let step = command(
        r#"if [ $row = 3 ]; then touch begun; while ! [ -e go ]; do sleep 0.01; done; fi; echo "{\"row\":$row,\"outputs\":{\"y\":1}}""#,
        "y",
    );
    let bench = Bench::new(&format!("{step}[batch]\nconcurrency = 1\n"), 10, 1).await;
    let (stop, stopped) = watch::channel(false);
    let (enrich, child) = (bench.enrich.clone(), bench.child(0, None));
    let running = tokio::spawn(async move { enrich.run(&child, stopped).await });
    bench.appeared("begun").await;
    stop.send_replace(true);
    std::fs::write(bench.directory.path().join("go"), "").unwrap();
    let error = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, EnrichError::Interrupted { left: Some(8) }),
        "{error}"
    );
    assert_eq!(error.exit_code(), child_exit::INTERRUPTED);
    let rows: Vec<u32> = bench.outcomes().await.iter().map(|o| o.row).collect();
    assert_eq!(rows, [2, 3]);
    let rest = bench.work(0, None).await.unwrap();
    assert_eq!((rest.resumed, rest.ok), (2, 8));
}

#[tokio::test]
async fn the_exit_code_of_a_failed_child_says_whether_to_retry() {
    let bench = Bench::new(SQUARE, 4, 2).await;
    let exit = |result: Result<ChildReport, EnrichError>| {
        let error = result.unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let misconfigured = [
        (1, Some(0), "phase out of range: the run has 1 phases"),
        (0, Some(2), "divided among 2 children"),
        (0, None, "divided among 2 children"),
    ];
    for (phase, index, part) in misconfigured {
        let (code, text) = exit(bench.work(phase, index).await);
        assert_eq!(code, child_exit::MISCONFIGURED);
        assert!(text.contains(part), "{text}");
    }
    let lines = Bytes::from_static(b"{\"row\":2,\"values\":{}}\nnonsense\n");
    let key = keys::chunk(&bench.run, 0);
    bench
        .objects
        .put(WORK, &key, lines, Put::default())
        .await
        .unwrap();
    let (code, text) = exit(bench.work(0, Some(0)).await);
    assert_eq!(code, child_exit::MISCONFIGURED);
    assert!(text.contains("line 2"), "{text}");
    bench
        .objects
        .delete(WORK, &[keys::manifest(&bench.run)])
        .await
        .unwrap();
    let (code, text) = exit(bench.work(0, Some(0)).await);
    assert_eq!(code, child_exit::MISCONFIGURED);
    assert!(text.contains("manifest.json"), "{text}");

    let missing = "[[step]]\nkind = \"command\"\nprogram = [\"./no-such\"]\noutputs = [\"y\"]\n";
    let bench = Bench::new(missing, 1, 1).await;
    let (code, text) = exit(bench.work(0, None).await);
    assert_eq!(code, child_exit::MISCONFIGURED);
    assert!(
        text.contains("./no-such") && text.contains("step 1"),
        "{text}"
    );
    assert!(bench.outcomes().await.is_empty());
}

#[tokio::test]
async fn a_missing_table_fails_the_child_and_not_its_records() {
    let bench = Bench::new(SQUARE, 3, 1).await;
    bench.ledger.drop_table(&bench.run).await.unwrap();
    let error = bench.work(0, None).await.unwrap_err();
    assert!(matches!(error, EnrichError::Port(_)), "{error}");
    assert_eq!(error.exit_code(), child_exit::MISCONFIGURED);
}

/// `cargo test --release -p rowmill-enrich --test stage -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn time_of_a_chunk_with_one_derived_column() {
    let bench = Bench::new(SQUARE, CHUNK_RECORDS, 1).await;
    let begun = std::time::Instant::now();
    let report = bench.work(0, None).await.unwrap();
    println!("{} records in {:?}", report.ok, begun.elapsed());
}
