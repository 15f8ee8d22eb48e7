//! `rowmill preview` shows the first records and stores nothing.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rowmill_tests_local::program::{Job, binary, root};
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn preview(job: &Job, args: &[&str], secrets: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.arg("preview").arg(&job.workbook).args(args);
    command.envs(secrets.iter().copied());
    command.current_dir(job.folder()).output().unwrap()
}

#[test]
fn the_reviews_example_is_shown_as_a_table_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .arg("preview")
        .arg(root().join("examples/reviews/reviews.xlsx"))
        .args(["--rows", "3"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    insta::assert_snapshot!("reviews", text);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_failed_row_shows_the_reason_without_secrets() {
    let pipeline = r#"
secrets = ["API_KEY"]

[[step]]
kind = "command"
program = ["sh", "-c", "echo wrong key $API_KEY >&2; exit 3"]
outputs = ["answer"]

[[column]]
name = "double"
value = "row.Amount * 2"
"#;
    let job = Job::new(&Book::numbered(30), pipeline);
    let secrets = [("ROWMILL_SECRET_API_KEY", "tr0ub4dor")];
    let output = preview(&job, &["--rows", "2", "--json"], &secrets);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["status"], "failed");
        let error = row["error"].as_str().unwrap();
        assert!(error.contains("wrong key"), "{error}");
    }
    assert!(!text.contains("tr0ub4dor"), "{text}");

    let output = preview(&job, &["--rows", "2"], &secrets);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("wrong key"), "{text}");
    assert!(
        text.ends_with("2 of 30 records: 0 ok, 2 failed.\n"),
        "{text}"
    );
    assert!(!text.contains("tr0ub4dor"), "{text}");
}

#[test]
fn invalid_previews_are_refused_with_a_reason() {
    let pipeline =
        "[[step]]\nkind = \"command\"\nprogram = [\"no-such-program\"]\noutputs = [\"x\"]\n";
    let job = Job::new(&Book::numbered(2), pipeline);
    let output = preview(&job, &[], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no-such-program"), "{text}");
}

#[test]
fn a_stopped_preview_leaves_no_process() {
    let pipeline = r#"
[[step]]
kind = "command"
program = ["sh", "-c", "sleep 600 & echo $! > pid; cat > /dev/null"]
outputs = ["x"]
"#;
    let job = Job::new(&Book::numbered(2), pipeline);
    let preview = Command::new(binary())
        .arg("preview")
        .arg(&job.workbook)
        .current_dir(job.folder())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let mut preview = preview.unwrap();
    let pid = wait_for(|| {
        let pid = std::fs::read_to_string(job.folder().join("pid")).ok()?;
        pid.trim().parse::<i32>().ok()
    });
    let process = Pid::from_raw(preview.id() as i32).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    assert_eq!(preview.wait().unwrap().code(), Some(130));
    wait_for(|| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    });
}

/// Polls for up to 30 seconds until there is a value.
#[track_caller]
fn wait_for<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    unreachable!("half a minute is over")
}
