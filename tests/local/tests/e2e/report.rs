//! `rowmill report` rebuilds the workbook from the archived rows of a run.

use std::path::Path;
use std::process::{Command, Output};

use rowmill_tests_local::program::{Job, Read, binary};
use rowmill_tests_local::workbook::{Book, Cell, read};

/// All kinds of cells, an error in every third row, rejected rows and number formats.
fn job() -> Job {
    let rows = (0..2500).map(|i| {
        vec![
            match i % 500 {
                7 => Cell::Empty,
                _ => Cell::Text(format!("{i:05}")),
            },
            Cell::Number(f64::from(i) * 1.25),
            Cell::Formatted(45_000.0 + f64::from(i), "dd/mm/yyyy"),
            Cell::Bool(i % 2 == 0),
            match i % 4 {
                0 => Cell::Empty,
                _ => Cell::Text(format!("Größe <{i}> & \u{1F600}")),
            },
        ]
    });
    let pipeline = r#"
[input]
required = ["ID"]

[[check]]
rule = "row.Amount < 2000.0"
on_failure = "fail"

[[column]]
name = "doubled"
value = "row.Amount * 2"

[report]
chart = "Flag"
"#;
    Job::new(
        &Book::new(&["ID", "Amount", "Day", "Flag", "Note"], rows),
        pipeline,
    )
}

fn report(dir: &Path, to: Option<&Path>) -> Output {
    let mut command = Command::new(binary());
    command.arg("report").arg(dir);
    if let Some(to) = to {
        command.arg("--out").arg(to);
    }
    command.output().unwrap()
}

#[track_caller]
fn rebuilt(dir: &Path, to: &Path) -> Read {
    let output = report(dir, Some(to));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    Read(read(to, false))
}

#[test]
fn the_rebuilt_workbook_equals_the_delivered_one() {
    let job = job();
    let ran = job.run(&[]).expect(3);
    assert!(ran.json["failed"].as_u64() > Some(0), "{}", ran.json);
    assert_eq!(ran.json["rejected"], 5);
    let delivered = job.result();

    let to = job.folder().join("again.xlsx");
    assert_eq!(rebuilt(&job.out(), &to), delivered);
    // A copy of the folder under another name is enough.
    let id = ran.json["run_id"].as_str().unwrap();
    let kept = job.out().join(".rowmill/work/results").join(id);
    let copy = job.folder().join("copied");
    let copied = Command::new("cp").arg("-r").args([&kept, &copy]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(job.out().join(".rowmill")).unwrap();
    assert_eq!(rebuilt(&copy, &to), delivered);

    // Incomplete data does not make a workbook, and an existing workbook is kept.
    let before = std::fs::read(&to).unwrap();
    for file in ["rows/00000.jsonl.gz", "rejected.jsonl.gz", "about.json"] {
        let (file, aside) = (copy.join(file), copy.join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        let output = report(&copy, Some(&to));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(
                file.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
            ),
            "{said}"
        );
        assert_eq!(std::fs::read(&to).unwrap(), before);
        std::fs::rename(&aside, &file).unwrap();
    }
    let rows = copy.join("rows/00000.jsonl.gz");
    let half = std::fs::read(&rows).unwrap();
    std::fs::write(&rows, &half[..half.len() / 2]).unwrap();
    let output = report(&copy, Some(&to));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read(&to).unwrap(), before);
}

#[test]
fn with_several_runs_one_must_be_chosen() {
    let job = Job::new(&Book::numbered(2), "");
    job.run(&[]).expect(0);
    job.run(&["--force"]).expect(0);
    let output = report(&job.out(), None);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there are 2 runs"), "{said}");
    assert!(said.contains("results/"), "{said}");
}
