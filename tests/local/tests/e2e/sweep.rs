//! `rowmill sweep`: what killed commands left behind.

use std::fs;
use std::time::Duration;

use rowmill_tests_local::program::{Job, files};
use rowmill_tests_local::source::{Answer, Source};
use rowmill_tests_local::workbook::Book;
use serde_json::Value;

fn kinds(swept: &Value) -> Vec<&str> {
    let findings = swept["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect()
}

#[test]
fn leftovers_are_listed_and_then_removed_and_interrupted_runs_stay() {
    let answer = || Box::new(Answer::Json("{\"value\": 1}".into()));
    let source = Source::start(move |_, _| Answer::After(Duration::from_millis(50), answer()));
    let job = Job::new(&Book::numbered(300), &source.step());
    let state = job.out().join(".rowmill");
    let nothing = job.control(&["sweep"]).expect(0).json;
    assert_eq!(kinds(&nothing), [] as [&str; 0]);
    assert!(!state.exists(), "a sweep creates nothing");

    job.run(&["--limit", "1"]).expect(0);
    let mut killed = job.command(&[]).spawn().unwrap();
    let began = std::time::Instant::now();
    while source.hits().len() < 20 {
        assert!(began.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let run = "20261121-job-0123456789ab";
    fs::write(state.join("tables").join(format!("{run}.db")), "").unwrap();
    let chunks = state.join("work/runs").join(run).join("chunks");
    fs::create_dir_all(&chunks).unwrap();
    fs::write(chunks.join("00000.json"), "{\"row\": 2, \"val").unwrap();
    let part = state.join("delivery.part");
    fs::write(&part, "half").unwrap();
    let expected = ["stray_table", "stray_objects", "partial_file"];
    let dry = job.control(&["sweep", "--dry-run"]).expect(0).json;
    assert_eq!(kinds(&dry), expected, "{dry}");
    assert_eq!(dry["dry_run"], true);
    assert!(chunks.exists() && part.exists());
    let swept = job.control(&["sweep"]).expect(0).json;
    assert_eq!(kinds(&swept), expected, "{swept}");
    assert!(!chunks.exists() && !part.exists());
    let again = job.control(&["sweep"]).expect(0).json;
    assert_eq!(kinds(&again), [] as [&str; 0], "{again}");
    let interrupted = again["interrupted"].as_array().unwrap();
    assert_eq!(interrupted.len(), 1, "{again}");

    // The run that was killed has lost nothing.
    let before = source.hits().len();
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["run_id"], interrupted[0]);
    let requests = source.hits().len();
    assert!(requests > before && requests < 1 + 300 + 60, "{requests}");
    let left = files(&state.join("work/runs"));
    assert_eq!(left, [] as [&str; 0]);
    let over = job.control(&["sweep"]).expect(0).json;
    assert_eq!(
        (kinds(&over), &over["interrupted"]),
        (vec![], &serde_json::json!([]))
    );
}
