//! Parameters: given with the workbook, checked before the run starts, the same for every child.

use std::process::Command;

use rowmill_tests_local::program::{Job, Ran, binary};
use rowmill_tests_local::workbook::Book;
use serde_json::Value;

/// Two phases whose programs return their arguments; 25 records per child.
fn pipeline() -> String {
    let step = |output: &str, arguments: &str, image: &str| {
        format!(
            r#"
[[step]]
kind = "command"
program = ["sh", "-c", '''while read -r line; do
row=${{line#*:}}; row=${{row%%,*}}
echo "{{\"row\":$row,\"outputs\":{{\"{output}\":\"$*\"}}}}"
done''', "sh", {arguments}]
outputs = ["{output}"]
{image}
"#
        )
    };
    let parameters = "[parameters]\nmode = \"strict mode\"\ntable = {}\n\
                      limit = { default = \"0.5\", type = \"number\" }\n";
    let first = step("first", r#""Ref::mode", "Ref::table", "Ref::limit""#, "");
    let second = step("second", r#""Ref::table""#, "image = \"example/two:1\"");
    format!("{parameters}{first}{second}[batch]\nrecords_per_child = 25\nconcurrency = 1\n")
}

fn stderr(ran: &Ran) -> String {
    ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_child_gets_the_parameters_of_the_upload() {
    let job = Job::new(&Book::numbered(100), &pipeline());
    let ran = job.run(&["--set", "table=orders of $HOME; 'x'"]).expect(0);
    assert_eq!(ran.json["ok"], 100);
    let result = job.result();
    let (first, second) = (result.texts("first"), result.texts("second"));
    let table = "orders of $HOME; 'x'";
    assert!(
        first
            .iter()
            .all(|said| *said == format!("strict mode {table} 0.5")),
        "{first:?}"
    );
    assert!(second.iter().all(|said| said == table), "{second:?}");
    let summary = serde_json::to_string(result.rows("Summary")).unwrap();
    assert!(
        summary.contains("Parameter table") && summary.contains(table),
        "{summary}"
    );

    // Other values make another run; the same values do not.
    let other = ["--set", "table=orders", "--set", "limit=2"];
    let second = job.run(&other).expect(0);
    assert_ne!(second.json["run_id"], ran.json["run_id"]);
    let first = job.result().texts("first");
    assert!(
        first.iter().all(|said| said == "strict mode orders 2"),
        "{first:?}"
    );
    let again = job.run(&other).expect(0);
    assert_eq!(again.json["run_id"], second.json["run_id"]);
    assert!(stderr(&again).contains("already delivered"));
}

#[test]
fn missing_and_invalid_parameters_are_refused_before_the_run_starts() {
    let job = Job::new(&Book::numbered(3), &pipeline());
    for (args, expected) in [
        (&[][..], "the parameter `table` has no value"),
        (
            &["--set", "tabel=x"],
            "unknown parameter `tabel`; did you mean `table`?",
        ),
        (
            &["--set", "table=x", "--set", "limit=low"],
            "invalid value `low` for the parameter `limit`: it is not a number",
        ),
        (&["--set", "table=--drop"], "it starts with `-`"),
        (
            &["--set", "table=x", "--set", "mode=lax"],
            "the pipeline fixes the parameter `mode`",
        ),
        (&["--set", "table"], "expected NAME=VALUE"),
    ] {
        let ran = job.run(args).expect(2);
        assert!(stderr(&ran).contains(expected), "{}", stderr(&ran));
    }
    assert!(!job.out().exists());
}

#[test]
fn a_preview_uses_parameters_and_a_check_lists_them() {
    let job = Job::new(&Book::numbered(3), &pipeline());
    let run = |args: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(job.folder())
            .output()
            .unwrap()
    };
    let preview = run(&["preview", "input.xlsx", "--json", "--set", "table=t"]);
    let answer: Value = serde_json::from_slice(&preview.stdout).unwrap();
    assert_eq!(answer["rows"][0]["values"]["first"], "strict mode t 0.5");
    assert_eq!(run(&["preview", "input.xlsx"]).status.code(), Some(2));

    let check = run(&["check", "pipeline.toml", "input.xlsx"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    let stderr = String::from_utf8(check.stderr).unwrap();
    assert_eq!(
        stderr,
        "note: each upload must set the parameter `table`: --set table=VALUE\n"
    );
}
