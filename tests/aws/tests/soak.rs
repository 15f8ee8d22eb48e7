//! Measures a large run on a deployment without AWS.
//!
//!     cargo test -p rowmill-tests-aws --test soak -- --ignored --nocapture

use std::path::Path;
use std::time::{Duration, Instant};

use rowmill_domain::RunState;
use rowmill_tests_aws::deployment::{Deliver, Deployment, MEASURED_PIPELINE};
use rowmill_tests_local::program::Read;
use rowmill_tests_local::workbook::{Book, Cell, read};
use tempfile::TempDir;

const RECORDS: u32 = 25_000;
/// The number of duplicate keys, which are rejected.
const REJECTED: u32 = 100;
/// Several times the duration on two busy cores.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// A wrapper that records the maximum resident memory of each child, in KB.
const MEASURED: &str = r#"
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(sys.argv[1], "a") as f:
    f.write(f"{most}\n")
sys.exit(code if code >= 0 else 128 - code)
"#;

fn memory(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "a measurement: 25,000 records through ministack take many minutes"]
async fn twenty_five_thousand_records() {
    let folder = TempDir::new().unwrap();
    let peaks = folder.path().join("peaks");
    let peaks_arg = peaks.display().to_string();
    let program = ["python3", "-c", MEASURED, &peaks_arg];
    let deployment = Deployment::start(Deliver::Once, &program, &[]).await;
    let d = &deployment;
    d.put_pipeline("soak", MEASURED_PIPELINE).await;
    let rows = (0..RECORDS + REJECTED).map(|n| {
        let id = n % RECORDS;
        let note = ["A lovely place.", "Never again!", "It was open."][n as usize % 3];
        vec![
            Cell::Text(format!("{id:07}")),
            Cell::Number(f64::from(id)),
            Cell::Text(note.to_owned()),
        ]
    });
    let book = folder.path().join("soak.xlsx");
    Book::new(&["ID", "Amount", "Note"], rows).save(&book);

    let began = Instant::now();
    let run = d.upload("soak/soak.xlsx", &book).await.run;
    let ended = |item: &rowmill_domain::RunItem| item.cleaned.is_some();
    let item = d.until_within(PATIENCE, &run, ended).await;
    let wall = began.elapsed();
    let mails = d.mails_of(&run);
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(item.state, RunState::Delivered, "{}", mails[0].text);
    let counts = item.counts;
    assert_eq!(
        (counts.records, counts.ok, counts.rejected),
        (RECORDS.into(), RECORDS.into(), REJECTED.into())
    );

    let name = &mails[0].attachments[0];
    let result = Read(read(&mails[0].attachment(name), false));
    let doubles = result.texts("double");
    let expected: Vec<_> = (0..RECORDS).map(|n| (n * 2).to_string()).collect();
    assert_eq!(doubles, expected, "every row once, in order");
    assert_eq!(result.rows("Rejected").len() - 1, REJECTED as usize);
    let remains = d.remains(&run).await;
    assert!(remains.is_empty(), "{remains:?}");
    let letters = d.dead_letters().await;
    assert!(letters.is_empty(), "{letters:?}");

    let peaks = memory(&peaks);
    println!(
        "{RECORDS} records in {:.1} s, {:.0} a second; {} jobs, {} children, the largest of {:.1} MiB",
        wall.as_secs_f64(),
        f64::from(RECORDS) / wall.as_secs_f64(),
        item.jobs.unwrap(),
        peaks.len(),
        *peaks.iter().max().unwrap() as f64 / 1024.0,
    );
}
