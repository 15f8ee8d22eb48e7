//! Tiers on one machine: `tiers.toml` beside the pipeline, `rowmill tier show` and `rowmill tier set`.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::workbook::Book;

const PIPELINE: &str = "[input]\nkey = [\"Amount\"]\n";
const TIERS: &str = "\
default = \"free\"
[tier.free]
max_records = 2
archive_after = \"30m\"
[tier.premium]
";
/// The submitter of workbooks on one machine.
const YOU: &str = "you@localhost";

fn failure(job: &Job) -> String {
    let runs = job.control(&["runs"]).expect(0);
    let newest = &runs.json[0]["failure"]["reason"];
    newest.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_submitter_with_another_tier_may_run_what_was_refused() {
    let job = Job::new(&Book::numbered(3), PIPELINE);
    let file = job.folder().join("tiers.toml");
    std::fs::write(&file, TIERS).unwrap();
    let refused = job.run(&[]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let reason = failure(&job);
    assert!(
        reason.contains("3 records") && reason.contains("tier `free` of you@localhost allows 2"),
        "{reason}"
    );
    let unknown = job.control(&["tier", "set", YOU, "gold"]).expect(2);
    assert!(unknown.stderr.contains("free, premium"), "{unknown:?}");
    job.control(&["tier", "set", "You@Localhost", "premium"])
        .expect(0);
    job.run(&["--force"]).expect(0);

    let shown = job.control(&["tier", "show", YOU]).expect(0).json;
    assert_eq!(shown["submitter"]["tier"], "premium");
    assert!(shown["submitter"]["since"].is_string(), "{shown}");
    let free = &shown["tiers"][0];
    assert_eq!(
        (&free["tier"], &free["default"], &free["max_records"]),
        (&"free".into(), &true.into(), &2.into())
    );
    assert_eq!(free["archive_after_seconds"], 1800);
    // The result of three rows is so small that archiving it never saves anything.
    assert!(
        free["archiving"]["bytes"].as_f64().unwrap() > 0.0,
        "{shown}"
    );
    assert!(free["archiving"]["saves_from_seconds"].is_null(), "{shown}");
    let warning = free["warning"].as_str().unwrap();
    assert!(warning.contains("never saves anything"), "{warning}");
    assert!(shown["tiers"][1]["archiving"].is_null(), "{shown}");

    // Without the file there are no tiers.
    std::fs::remove_file(&file).unwrap();
    job.control(&["tier", "set", YOU, "free"]).expect(0);
    job.run(&["--force"]).expect(0);
    let none = job.control(&["tier", "show"]).expect(0).json;
    assert_eq!(none["tiers"].as_array().unwrap().len(), 0, "{none}");
    job.control(&["tier", "set", YOU, "free"]).expect(2);
}
