//! `rowmill plan`: time and cost before a run, and the plan that a run uses.

use std::process::Command;

use rowmill_tests_local::program::binary;
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
