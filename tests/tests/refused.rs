//! Input that cannot be used is told before the first row, with the place.

use rowmill_tests::program::Job;
use rowmill_tests::workbook::Book;

#[test]
fn a_column_that_the_workbook_lacks_is_told_before_the_first_row() {
    let pipeline = "[[column]]\nname = \"x\"\nvalue = \"row.Amuont * 2\"\n";
    let job = Job::new(&Book::numbered(2), pipeline);
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("pipeline.toml:3"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Amount"), "{}", ran.stderr);
    assert_eq!(job.mails(), 0);
}

#[test]
fn a_misspelt_key_in_the_third_step_is_told_with_its_place_and_the_right_name() {
    let pipeline = r#"
[[step]]
kind = "sentiment"
column = "Note"

[[step]]
kind = "command"
program = ["true"]
outputs = ["a"]

[[step]]
kind = "http"
url = "http://example.com/"
timout = "20s"
[step.outputs]
b = { json = "$.b" }
"#;
    let job = Job::new(&Book::numbered(2), pipeline);
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("pipeline.toml:14:1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("timeout"), "{}", ran.stderr);
}

#[test]
fn what_is_not_there_is_told() {
    let job = Job::new(&Book::numbered(2), "");
    std::fs::remove_file(job.folder().join("pipeline.toml")).unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("pipeline.toml"), "{}", ran.stderr);
    std::fs::write(job.folder().join("pipeline.toml"), "").unwrap();
    std::fs::remove_file(&job.workbook).unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("input.xlsx"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_no_workbook_ends_in_words_and_not_in_a_panic() {
    let job = Job::new(&Book::numbered(2), "");
    std::fs::write(&job.workbook, b"PK\x03\x04 this is no zip archive").unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("input.xlsx"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn a_workbook_beyond_a_limit_is_told_with_the_key_that_raises_it() {
    let pipeline = |cells: u32| format!("[input]\nlimits = {{ cells = {cells} }}\n");
    let job = Job::new(&Book::numbered(4), &pipeline(11));
    let said = job.run(&[]).expect(2).stderr;
    assert!(said.contains("`cells` under [input.limits]"), "{said}");
    std::fs::write(job.folder().join("pipeline.toml"), pipeline(12)).unwrap();
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["records"], 4);
}
