//! `rowmill plan`: time and cost before a run, and the plan that a run uses.

use std::process::Command;

use rowmill_tests_local::program::{Job, binary};
use rowmill_tests_local::workbook::Book;
use serde_json::Value;

fn plan(args: &[&str]) -> Value {
    let planned = Command::new(binary())
        .arg("plan")
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&planned.stderr);
    assert_eq!(planned.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&planned.stdout).unwrap()
}

#[test]
fn a_million_records_are_planned_without_a_workbook() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.toml");
    std::fs::write(&file, "[batch]\nseconds_per_record = 2\nconcurrency = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let plan = plan(&[
        "--rows",
        "1000000",
        "--pipeline",
        file,
        "--max-vcpus",
        "2048",
    ]);
    let number = |plan: &Value, name: &str| plan[name].as_f64().unwrap();
    assert_eq!(plan["records"], 1_000_000);
    assert!(number(&plan, "makespan_seconds") < 1800.0);
    assert!(number(&plan, "cost_usd") < 10.0);
    assert_eq!(plan["bottleneck"], "launch_rate");
    let chunks = plan["chunks"].as_array().unwrap();
    let children: u64 = chunks
        .iter()
        .map(|chunk| chunk["children"].as_u64().unwrap())
        .sum();
    assert_eq!(plan["children"], children);
    let one = &plan["one_record_per_child"];
    assert_eq!(
        (&one["records"], &one["children"]),
        (&1_000_000.into(), &1_000_000.into())
    );
    assert!((number(one, "launch_seconds") / 3600.0 - 13.9).abs() < 0.05);
    assert!(number(one, "makespan_seconds") >= number(one, "launch_seconds"));
    assert!(number(one, "cost_usd_on_demand") >= 206.0);
}

#[test]
fn a_plan_needs_a_workbook_or_a_number_of_rows() {
    for args in [&["plan"][..], &["plan", "--rows", "5", "book.xlsx"]] {
        let planned = Command::new(binary()).args(args).output().unwrap();
        assert_eq!(planned.status.code(), Some(2));
        assert!(!planned.stderr.is_empty());
    }
}

#[test]
fn a_run_uses_the_plan_and_measures_for_the_next() {
    // Said to take 100 seconds for a record, and takes milliseconds.
    let pipeline = "[[step]]\nkind = \"sentiment\"\ncolumn = \"Note\"\n\
                    [batch]\nseconds_per_record = 100\nconcurrency = 1\nwithin = \"10m\"\n";
    let job = Job::new(&Book::numbered(40), pipeline);
    let (workbook, out) = (job.workbook.to_str().unwrap().to_owned(), job.out());
    let planned = || plan(&[&workbook, "--out", out.to_str().unwrap()]);
    let before = planned();
    assert_eq!(before["seconds_per_record_from"], "pipeline");
    assert_eq!(before["seconds_per_record"], 100.0);
    let children = before["children"].as_u64().unwrap();
    assert!((4..40).contains(&children), "{children}");

    job.run(&[]).expect(0);
    let logs = |job: &Job| {
        let state = job.state();
        state
            .iter()
            .filter(|file| file.starts_with("logs/") && file.ends_with("/1.log"))
            .count()
    };
    assert_eq!(logs(&job) as u64, children);

    let after = planned();
    assert_eq!(after["seconds_per_record_from"], "measured");
    assert!(after["seconds_per_record"].as_f64() < Some(10.0), "{after}");
    assert_eq!(after["children"], 1);
}
