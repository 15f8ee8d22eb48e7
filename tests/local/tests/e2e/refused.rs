//! Unusable input is refused before the first row, with its location.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rowmill_tests_local::program::{Job, binary};
use rowmill_tests_local::workbook::Book;

#[test]
fn a_missing_column_is_reported_before_the_first_row() {
    let pipeline = "[[column]]\nname = \"x\"\nvalue = \"row.Amuont * 2\"\n";
    let job = Job::new(&Book::numbered(2), pipeline);
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("pipeline.toml:3"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Amount"), "{}", ran.stderr);
    assert_eq!(job.mails(), 0);
}

#[test]
fn a_misspelt_key_is_reported_with_its_line_and_the_correct_name() {
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
fn missing_files_are_reported() {
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
fn a_file_that_is_not_a_workbook_is_an_error_and_not_a_panic() {
    let job = Job::new(&Book::numbered(2), "");
    std::fs::write(&job.workbook, b"PK\x03\x04 this is no zip archive").unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    let named = ran.stderr.matches("input.xlsx").count();
    assert_eq!(named, 1, "{}", ran.stderr);
}

#[test]
fn a_named_pipe_as_pipeline_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipeline.toml");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut check = Command::new(binary())
        .arg("check")
        .arg(&pipe)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while check.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            check.kill().unwrap();
            panic!("it waits for the pipe");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("it is not a file"), "{said}");
}

#[test]
fn an_unusable_state_directory_is_refused_with_advice() {
    let job = Job::new(&Book::numbered(2), "");
    std::fs::create_dir_all(job.out()).unwrap();
    std::fs::write(job.out().join(".rowmill"), b"a file in its place").unwrap();
    let said = job.run(&[]).expect(2).stderr;
    assert!(said.contains("--out"), "{said}");
}

#[test]
fn the_command_that_new_prints_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.current_dir(folder.path()).args(["new", "my trial"]);
    let output = command.args(["--kind", "http"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(cd 'my trial'; "), "{said}");
    assert!(
        said.contains("rowmill run 'my trial/sample.xlsx'"),
        "{said}"
    );
}

#[test]
fn a_workbook_over_a_limit_is_refused_with_the_key_that_raises_it() {
    let pipeline = |cells: u32| format!("[input]\nlimits = {{ cells = {cells} }}\n");
    let job = Job::new(&Book::numbered(4), &pipeline(11));
    let said = job.run(&[]).expect(2).stderr;
    assert!(said.contains("`cells` under [input.limits]"), "{said}");
    std::fs::write(job.folder().join("pipeline.toml"), pipeline(12)).unwrap();
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["records"], 4);
}
