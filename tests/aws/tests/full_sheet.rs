//! Measures split and report on a full sheet, with the processors and the memory that they have in Lambda.
//!
//!     .ci/full full-sheet

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::Utc;
use rowmill_domain::message::RunMessage;
use rowmill_domain::{RunId, RunState};
use rowmill_events::sns_messages_event;
use rowmill_ports::Runs;
use rowmill_tests_aws::cgroup::Cgroup;
use rowmill_tests_aws::deployment::{Deliver, Deployment, MEASURED_PIPELINE};
use rowmill_tests_aws::runtime::Function;
use rowmill_tests_local::program::root;
use rowmill_tests_local::workbook::{Cell, Texts, save_rows};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Excel's limit, with the header.
const ROWS: u32 = 1_048_576;
const RECORDS: u32 = ROWS - 1;
/// What the template gives both functions, in MiB. Lambda gives a vCPU for each 1,769 MiB.
/// Source: Lambda developer guide, "Configure Lambda function memory".
const MEMORY: u64 = 2048;
const PROCESSORS: f64 = 1.2;
/// Timeout of both functions in the template.
const TIMEOUT: Duration = Duration::from_secs(900);

const HEADER: [&str; 13] = [
    "ID", "Amount", "Note", "Name", "City", "Opened", "Closed", "Paid", "Open", "Price", "Share",
    "Visits", "Code",
];

fn row(n: u32) -> Vec<Cell> {
    let number = f64::from(n);
    let note = [
        "A lovely place, we",
        "Never again! They",
        "It was open and we",
    ][n as usize % 3];
    vec![
        Cell::Text(format!("{n:07}")),
        Cell::Number(number),
        Cell::Text(format!("{note} stayed for {} days in room {n}.", n % 14)),
        Cell::Text(format!("Müller & Sons {}", n % 100_003)),
        Cell::from(["London", "Paris", "São Paulo", "Tōkyō"][n as usize % 4]),
        Cell::Formatted(40_000.0 + f64::from(n % 5000), "yyyy-mm-dd"),
        Cell::Formatted(45_000.5 + f64::from(n % 900), "yyyy-mm-dd hh:mm"),
        Cell::Bool(n.is_multiple_of(2)),
        Cell::Bool(n.is_multiple_of(7)),
        Cell::Number(number / 100.0),
        Cell::Number(1.0 / (number + 1.0)),
        Cell::Number(f64::from(n % 365)),
        Cell::Text(format!("{:x}", u64::from(n) * 2_654_435_761)),
    ]
}

/// A full sheet.
fn book(path: &Path, texts: Texts) {
    let header = HEADER.map(Cell::from).to_vec();
    save_rows(
        path,
        texts,
        std::iter::once(header).chain((0..RECORDS).map(row)),
    );
    let size = std::fs::metadata(path).unwrap().len() >> 20;
    println!("made {texts:?}: {size} MiB");
}

/// A function of the deployment within its limits.
struct Measured {
    function: Function,
    group: Cgroup,
    what: String,
}

impl Measured {
    async fn start(d: &Deployment, stage: &str, what: &str) -> Measured {
        let group = Cgroup::new(&format!("rowmill-{stage}"), PROCESSORS, MEMORY);
        let group = group.expect("a control group, which needs root");
        let environment = d.environment(stage).await;
        let program = root().join("target/release").join(stage);
        let function = Function::start_within(&group, TIMEOUT, &program, &environment).await;
        Measured {
            function,
            group,
            what: what.to_owned(),
        }
    }

    async fn invoke(&self, event: &Value) -> Value {
        let (began, before) = (Instant::now(), self.group.processor_time());
        let answer = self.function.invoke("measured", event).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let (wall, used) = (began.elapsed(), self.group.processor_time() - before);
        if wall > Duration::from_secs(1) {
            println!(
                "{}: {:.1} minutes, {:.1} minutes of processor time; {} MiB resident at most, {} MiB with pages of files",
                self.what,
                wall.as_secs_f64() / 60.0,
                used.as_secs_f64() / 60.0,
                self.function.peak(),
                self.group.peak(),
            );
        }
        answer
    }
}

async fn state(d: &Deployment, run: &RunId) -> RunState {
    d.ledger.find_run(run).await.unwrap().unwrap().state
}

/// The events of the end of all jobs of a run.
async fn jobs_ended(d: &Deployment, jobs: usize) -> Vec<Value> {
    let mut events = d.events.as_ref().unwrap().lock().await;
    let (mut ids, mut ended) = (HashSet::new(), Vec::new());
    while ended.len() < jobs {
        let event = events.recv().await.unwrap();
        let detail = &event["detail"];
        let parent = detail["arrayProperties"]["index"].is_null();
        if parent && detail["status"] == "SUCCEEDED" && ids.insert(detail["jobId"].to_string()) {
            ended.push(event);
        }
    }
    ended
}

/// The number of rows in each sheet of a workbook, and the row of the last one.
fn rows(workbook: &Path) -> String {
    const COUNT: &str = r#"
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as book:
    for name in sorted(n for n in book.namelist() if n.startswith("xl/worksheets/sheet")):
        rows, rest, last = 0, b"", b""
        with book.open(name) as sheet:
            while data := sheet.read(1 << 24):
                data = rest + data
                found = re.findall(rb'<row r="(\d+)"', data)
                rows, last = rows + len(found), found[-1] if found else last
                rest = data[-20:] if b'<row r="' not in data[-20:] else b""
        print(rows, last.decode())
"#;
    let output = Command::new("python3")
        .args(["-c", COUNT])
        .arg(workbook)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a measurement: needs root, and split, enrich and report in release mode"]
async fn a_full_sheet_fits() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (inline, shared) = (
        folder.path().join("inline.xlsx"),
        folder.path().join("shared.xlsx"),
    );
    book(&inline, Texts::Inline);
    book(&shared, Texts::Shared);
    let enrich = root().join("target/release/enrich");
    let deployment = Deployment::start_for_many_records(Deliver::ByHand, &enrich).await;
    let d = &deployment;
    d.put_pipeline("full", MEASURED_PIPELINE).await;

    for (name, path) in [("shared strings", &shared), ("inline strings", &inline)] {
        let upload = d.upload(&format!("full/{name}.xlsx"), path).await;
        let what = format!("split, {ROWS} rows of 13 columns, {name}");
        Measured::start(d, "split", &what)
            .await
            .invoke(&upload.event)
            .await;
        let item = d.ledger.find_run(&upload.run).await.unwrap().unwrap();
        assert_eq!(item.state, RunState::Running, "{name}: {item:?}");
        if name == "inline strings" {
            finish(d, &upload.run, &folder).await;
        }
    }
}

/// The rest of the run.
async fn finish(d: &Deployment, run: &RunId, folder: &TempDir) {
    let message = RunMessage::Split { run: run.clone() };
    let submit = sns_messages_event(&message, "m", Utc::now());
    let environment = d.environment("submit").await;
    let function = Function::start(&d.program("submit"), &environment).await;
    function.invoke("submit", &submit).await.unwrap();
    let jobs = d.batch.submitted().len();
    let began = Instant::now();
    let ended = jobs_ended(d, jobs).await;
    println!(
        "{jobs} jobs on the emulators: {:.1} minutes",
        began.elapsed().as_secs_f64() / 60.0
    );

    let report = Measured::start(d, "report", &format!("report, {ROWS} rows of 13 columns")).await;
    let (last, before) = ended.split_last().unwrap();
    for event in before {
        assert_eq!(report.invoke(event).await, Value::Null);
    }
    assert_eq!(report.invoke(last).await, json!({ "run": run }));
    assert_eq!(state(d, run).await, RunState::Delivered);
    let item = d.ledger.find_run(run).await.unwrap().unwrap();
    assert_eq!(
        (item.counts.records, item.counts.ok),
        (RECORDS.into(), RECORDS.into())
    );

    let key = d.object_ending(&format!("results/{run}/"), ".xlsx").await;
    let result = folder.path().join("result.xlsx");
    std::fs::write(&result, d.object(&key).await).unwrap();
    let found = rows(&result);
    println!(
        "result: {} MiB",
        std::fs::metadata(&result).unwrap().len() >> 20
    );
    assert!(
        found.lines().any(|line| line == format!("{ROWS} {ROWS}")),
        "{found}"
    );
}
