//! Children fetch the programs of their steps.

use rowmill_tests_local::program::{Job, files};
use rowmill_tests_local::workbook::Book;

const SCRIPT: &str = r#"#!/bin/sh
while read -r line; do
    row=${line#*:}; row=${row%%,*}
    echo "{\"row\":$row,\"outputs\":{\"said\":\"$1 in $PWD\"}}"
done
"#;

/// The SHA-256 of a text, computed by sha256sum.
fn sha256(text: &str) -> String {
    use std::io::Write as _;
    let mut program = std::process::Command::new("sha256sum");
    program.stdin(std::process::Stdio::piped());
    let mut child = program
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn job(hash: &str) -> Job {
    let pipeline = format!(
        "[parameters]\nword = \"hello\"\n[[step]]\nkind = \"command\"\nprogram = [\"./score.sh\", \"Ref::word\"]\n\
         outputs = [\"said\"]\nfetch = {{ url = \"programs/score.sh\", sha256 = \"{hash}\" }}"
    );
    let job = Job::new(&Book::numbered(50), &pipeline);
    std::fs::create_dir(job.folder().join("programs")).unwrap();
    // Not executable: the child sets the permission.
    std::fs::write(job.folder().join("programs/score.sh"), SCRIPT).unwrap();
    job
}

#[test]
fn a_script_is_fetched_run_with_its_parameters_and_removed() {
    let job = job(&sha256(SCRIPT));
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["ok"], 50);
    let said = job.result().texts("said");
    assert!(
        said.iter()
            .all(|s| s.starts_with("hello in ") && s.contains("rowmill-fetch-")),
        "{said:?}"
    );
    let state = job.out().join(".rowmill");
    assert_eq!(files(&state.join("tmp")), [""; 0]);
    assert!(!std::path::Path::new(said[0].strip_prefix("hello in ").unwrap()).exists());
}

#[test]
fn a_script_with_the_wrong_hash_is_refused_before_the_first_record() {
    let job = job(&"0".repeat(64));
    let ran = job.run(&[]).expect(2);
    let stderr: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(stderr.contains("the SHA-256 of the file is"), "{stderr}");
}
