//! Events arrive at least once, and a run happens exactly once.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::workbook::Book;

const PIPELINE: &str = "[[column]]\nname = \"doubled\"\nvalue = \"row.Amount * 2\"\n";

#[test]
fn the_same_workbook_twice_is_one_run_and_one_mail() {
    let job = Job::new(&Book::numbered(20), PIPELINE);
    let first = job.run(&[]).expect(0);
    let again = job.run(&[]).expect(0);
    assert_eq!(first.json["run_id"], again.json["run_id"]);
    assert_eq!(first.json["ok"], again.json["ok"]);
    assert_eq!(job.mails(), 1);

    let forced = job.run(&["--force"]).expect(0);
    assert_ne!(first.json["run_id"], forced.json["run_id"]);
    assert_eq!(job.mails(), 2);
}

#[test]
fn a_deleted_result_is_rebuilt_from_the_archived_rows() {
    let job = Job::new(&Book::numbered(20), PIPELINE);
    let id = job.run(&[]).expect(0).json["run_id"].clone();
    let before = job.result().texts("doubled");
    let kept = job
        .out()
        .join(".rowmill/work/results")
        .join(id.as_str().unwrap());
    let result = job.out().join("input-result.xlsx");
    let delete = || {
        std::fs::remove_file(kept.join("input-result.xlsx")).unwrap();
        std::fs::remove_file(&result).unwrap();
    };
    delete();
    let again = job.run(&[]).expect(0);
    assert!(
        again
            .stderr
            .contains("rebuilding it from the archived rows"),
        "{}",
        again.stderr
    );
    assert_eq!(job.result().texts("doubled"), before);
    assert_eq!(job.mails(), 1);

    std::fs::remove_dir_all(&kept).unwrap();
    std::fs::remove_file(&result).unwrap();
    let gone = job.run(&[]).expect(2);
    assert!(gone.stderr.contains("--force"), "{}", gone.stderr);
    job.run(&["--force"]).expect(0);
    assert_eq!(job.result().texts("doubled"), before);
}

#[test]
fn an_edited_pipeline_starts_another_run() {
    let job = Job::new(&Book::numbered(3), PIPELINE);
    job.run(&[]).expect(0);
    std::fs::write(
        job.folder().join("pipeline.toml"),
        PIPELINE.replace("* 2", "* 3"),
    )
    .unwrap();
    job.run(&[]).expect(0);
    assert_eq!(job.result().texts("doubled"), ["0", "3", "6"]);
    assert_eq!(job.mails(), 2);
}

#[test]
fn duplicate_and_unordered_events_do_not_change_the_result() {
    for seed in ["1", "2", "3"] {
        let job = Job::new(&Book::numbered(10_001), PIPELINE);
        let ran = job.run(&["--chaos", seed]).expect(0);
        assert_eq!(ran.json["ok"], 10_001, "seed {seed}");
        assert_eq!(job.mails(), 1, "seed {seed}");
        let doubled = job.result_cells().texts("doubled");
        assert_eq!(doubled.len(), 10_001);
        assert_eq!(doubled[10_000], "20000");
    }
}

#[test]
fn a_limit_takes_the_first_records_and_rejects_the_rest() {
    let job = Job::new(&Book::numbered(10), PIPELINE);
    let ran = job.run(&["--limit", "4"]).expect(0);
    assert_eq!(
        (&ran.json["records"], &ran.json["rejected"]),
        (&4.into(), &6.into())
    );
    assert_eq!(job.result().texts("doubled"), ["0", "2", "4", "6"]);
}

#[test]
fn a_run_continues_if_standard_error_is_closed() {
    let job = Job::new(&Book::numbered(20), PIPELINE);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = job
        .command(&["--verbose"])
        .stderr(full)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(0));
    assert_eq!(job.mails(), 1);
}
