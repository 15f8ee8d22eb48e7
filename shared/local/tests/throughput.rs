//! Measures how fast two processes store and read the outcomes of a run. Run it by hand:
//! `cargo test --release -p rowmill-local --test throughput -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::time::Instant;

use rowmill_domain::outcome::StepTime;
use rowmill_domain::{Outcome, RunId, Status, Value};
use rowmill_local::SqliteLedger;
use rowmill_ports::{Outcomes, TablePlan};

const RECORDS: u32 = 200_000;
const CHUNK: u32 = 10_000;

fn outcome(row: u32) -> Outcome {
    Outcome {
        row,
        phase: 0,
        status: Status::Ok,
        outputs: vec![
            ("sa_class".into(), Value::Text("positive".into())),
            ("sa_score".into(), Value::Number(f64::from(row) / 7.0)),
        ],
        error: None,
        attempts: 1,
        times: vec![StepTime { step: 0, ms: 0.25 }],
        steps: 1,
        notes: Vec::new(),
    }
}

#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread")]
async fn storing_and_reading_outcomes() {
    let state = tempfile::tempdir().unwrap();
    // Two ledgers with separate connections, like two processes.
    let open = || SqliteLedger::open(state.path()).unwrap();
    let (one, two) = (open(), open());
    let run: RunId = "20261121-suite-0123456789ab".parse().unwrap();
    let plan = TablePlan {
        writes_per_second: 1,
        records: RECORDS.into(),
    };
    one.create_table(&run, plan).await.unwrap();
    let all: Vec<Outcome> = (0..RECORDS).map(outcome).collect();

    let start = Instant::now();
    let write = async |ledger: &SqliteLedger, part: &[Outcome]| {
        for rows in part.chunks(1000) {
            let chunk = rows[0].row / CHUNK;
            ledger.put_outcomes(&run, chunk, rows).await.unwrap();
        }
    };
    let (first, second) = all.split_at(all.len() / 2);
    tokio::join!(write(&one, first), write(&two, second));
    println!("{RECORDS} stored in {:?}", start.elapsed());

    let start = Instant::now();
    assert_eq!(one.progress(&run).await.unwrap(), u64::from(RECORDS));
    println!("counted in {:?}", start.elapsed());

    let start = Instant::now();
    let mut read = 0;
    for chunk in 0..RECORDS / CHUNK {
        read += one
            .read_outcomes(&run, chunk, 0..=u32::MAX)
            .await
            .unwrap()
            .len();
    }
    println!("{read} read in {:?}", start.elapsed());
    assert_eq!(read, all.len());
}
