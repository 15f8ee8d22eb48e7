//! Records per second through a Python program, compared with the same program in a shell pipe.
//!
//! `cargo bench -p rowmill-steps --bench command [-- RECORDS]` (1,000,000 by default; needs
//! python3 and a shell).

#![allow(clippy::print_stdout)]

use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rowmill_domain::job::Resources;
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row};
use rowmill_pipeline::{CommandStep, ProcessPer, Step, StepKind};
use rowmill_steps::{StepDeps, runner};

/// Records at a time, as with `[batch] concurrency`.
const CONCURRENCY: usize = 64;

const PROGRAM: &str = r#"
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    score = len(record["values"]["Notes"])
    print(json.dumps({"row": record["row"], "outputs": {"score": score}}), flush=True)
"#;

fn record(row: u32) -> Record {
    Record {
        row,
        values: vec![
            Some(format!("{row:07}").into()),
            Some("Arrived on time and does its job.".into()),
        ],
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u32 = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("score.py"), PROGRAM)?;
    let columns = Columns::new(["ID", "Notes"]);

    let mut file = BufWriter::new(std::fs::File::create(directory.path().join("records"))?);
    let mut line = Vec::new();
    for row in 1..=records {
        line.clear();
        record(row).write_json(&columns, &mut line)?;
        line.push(b'\n');
        file.write_all(&line)?;
    }
    file.into_inner()?.sync_all()?;

    let pipe = || -> std::io::Result<Duration> {
        let start = Instant::now();
        let status = std::process::Command::new("sh")
            .args(["-c", "cat records | python3 score.py | cat > /dev/null"])
            .current_dir(directory.path())
            .status()?;
        assert!(status.success());
        Ok(start.elapsed())
    };
    let step = Step {
        kind: StepKind::Command(CommandStep {
            program: vec!["python3".into(), "score.py".into()],
            outputs: vec!["score".into()],
            timeout: Duration::from_secs(60),
            attempts: 1,
            process: ProcessPer::Child,
            process_memory_mib: None,
            fetch: None,
            aws: false,
        }),
        image: None,
        resources: Resources::SMALLEST,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ours = || -> Result<Duration, Box<dyn std::error::Error>> {
        let deps = StepDeps::new(CONCURRENCY, directory.path().to_path_buf());
        let start = Instant::now();
        runtime.block_on(async {
            let step: Arc<dyn rowmill_steps::Runner> = Arc::from(runner(&step, &deps)?);
            let next = Arc::new(AtomicU32::new(1));
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..CONCURRENCY {
                let (step, next, columns) = (step.clone(), next.clone(), columns.clone());
                workers.spawn(async move {
                    loop {
                        let row = next.fetch_add(1, Ordering::Relaxed);
                        if row > records {
                            return;
                        }
                        let record = record(row);
                        let result = step
                            .run(Row {
                                columns: &columns,
                                record: &record,
                                outputs: &[],
                            })
                            .await;
                        assert_eq!(result.outputs.map(|o| o.len()), Ok(1));
                    }
                });
            }
            while let Some(done) = workers.join_next().await {
                done?;
            }
            step.close().await;
            Ok::<_, Box<dyn std::error::Error>>(())
        })?;
        Ok(start.elapsed())
    };
    for _ in 0..2 {
        let (pipe, ours) = (pipe()?, ours()?);
        let rate = |d: Duration| f64::from(records) / d.as_secs_f64();
        println!(
            "shell pipe {:.0} records/s, command step {:.0} records/s (ratio {:.2})",
            rate(pipe),
            rate(ours),
            rate(ours) / rate(pipe)
        );
    }
    Ok(())
}
