//! `rowmill new`: what it creates for a workbook runs without a change.

use std::process::{Command, Output};

use rowmill_tests_local::program::{Ran, binary, root};

fn rowmill(folder: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(folder).args(args);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_pipeline_for_the_users_workbook_says_what_it_guessed_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let book = root().join("examples/complaints/complaints.xlsx");
    std::fs::copy(book, dir.path().join("messages.xlsx")).unwrap();
    let args = [
        "new",
        "desk",
        "--kind",
        "sentiment",
        "--from",
        "messages.xlsx",
    ];
    let made = rowmill(dir.path(), &args);
    let said = text(&made.stdout);
    assert_eq!(made.status.code(), Some(0), "{said}{}", text(&made.stderr));
    assert!(said.contains("Key: Ticket, guessed: by its name"), "{said}");
    assert!(said.contains("Text: Message, guessed"), "{said}");

    let run = [
        "run",
        "messages.xlsx",
        "--pipeline",
        "desk/pipeline.toml",
        "--json",
    ];
    let ran = Ran::from(rowmill(dir.path(), &run)).expect(0);
    assert_ne!(ran.json["records"], 0);
    assert_eq!(ran.json["ok"], ran.json["records"], "{}", ran.json);
}

#[test]
fn samples_that_need_no_server_run() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["sentiment", "language", "command", "classify"] {
        let made = rowmill(dir.path(), &["new", kind, "--kind", kind]);
        let said = text(&made.stdout);
        assert_eq!(made.status.code(), Some(0), "{said}{}", text(&made.stderr));
        if kind == "classify" {
            let folder = dir.path().join(kind);
            let train = "train labeled.csv --text text --label topic --out topics.model";
            assert!(said.contains(train), "{said}");
            let args: Vec<&str> = train.split(' ').collect();
            let trained = rowmill(&folder, &args);
            assert_eq!(trained.status.code(), Some(0), "{}", text(&trained.stderr));
        }
        let sample = format!("{kind}/sample.xlsx");
        assert!(said.contains(&format!("rowmill run {sample}")), "{said}");
        let ran = Ran::from(rowmill(
            dir.path(),
            &["run", &sample, "--json", "--out", kind],
        ));
        let ran = ran.expect(0);
        assert_eq!(ran.json["ok"], 5, "{kind}: {}", ran.json);
    }
}
