//! Pipelines with two phases, and children that fail.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::workbook::{Book, Cell};

/// A program that answers each record with one output, and kills its own child at a record that says
/// so.
fn step(output: &str, extra: &str) -> String {
    format!(
        r#"
[[step]]
kind = "command"
program = ["sh", "-c", '''while read -r line; do
case "$line" in *boom-{output}*) kill -9 $PPID;; esac
row=${{line#*:}}; row=${{row%%,*}}
echo "{{\"row\":$row,\"outputs\":{{\"{output}\":\"{output} of $row\"}}}}"
done''']
outputs = ["{output}"]
{extra}
"#
    )
}

fn pipeline() -> String {
    let first = step("one", "");
    let second = step("two", "image = \"example/two:1\"");
    // One record at a time and 25 records per child: 4 children.
    let batch = "[batch]\nrecords_per_child = 25\nconcurrency = 1\nattempts = 1\n";
    format!("{first}{second}[[column]]\nname = \"both\"\nvalue = \"one + ' and ' + two\"\n{batch}")
}

fn book(boom: usize, word: &str) -> Book {
    Book::new(
        &["n", "note"],
        (0..100).map(|i| {
            let note = if i == boom { word } else { "calm" };
            vec![Cell::Number(i as f64), Cell::from(note)]
        }),
    )
}

#[test]
fn a_child_that_fails_in_the_first_phase_loses_only_its_own_records() {
    let job = Job::new(&book(30, "boom-one"), &pipeline());
    let ran = job.run(&[]).expect(3);
    assert_eq!(ran.json["state"], "delivered_with_errors");
    assert_eq!(ran.json["ok"], 75);
    let result = job.result();
    let (status, error) = (result.texts("status"), result.texts("error"));
    let (one, two, both) = (
        result.texts("one"),
        result.texts("two"),
        result.texts("both"),
    );
    for i in 0..100 {
        let row = i + 2;
        if (25..50).contains(&i) {
            assert_eq!(status[i], "missing", "row {row}");
            assert!(error[i].contains("137"), "row {row}: {}", error[i]);
            assert_eq!((two[i].as_str(), both[i].as_str()), ("", ""));
        } else {
            assert_eq!(status[i], "ok", "row {row}: {}", error[i]);
            assert_eq!(one[i], format!("one of {row}"));
            assert_eq!(two[i], format!("two of {row}"));
            assert_eq!(both[i], format!("one of {row} and two of {row}"));
        }
    }
    let mail = job.mail();
    assert!(mail.contains("missing"), "{mail}");
    assert_eq!(job.mails(), 1);
}

#[test]
fn a_child_that_fails_in_the_second_phase_loses_only_its_own_records() {
    let job = Job::new(&book(99, "boom-two"), &pipeline());
    job.run(&[]).expect(3);
    let status = job.result().texts("status");
    assert!(status[..75].iter().all(|s| s == "ok"));
    assert!(status[75..].iter().all(|s| s == "missing"));
}

/// The program of the second phase: it reads the output of the first phase and writes down the rows
/// that it receives.
const SECOND: &str = r#"
import json, sys

for line in sys.stdin:
    record = json.loads(line)
    values = record["values"]
    with open("asked", "a") as asked:
        asked.write(f"{record['row']}\n")
    if "half" not in values:
        answer = {"error": "no half"}
    elif values["n"] % 10 == 2:
        answer = {"error": "two"}
    else:
        answer = {"outputs": {"quarter": values["half"] / 2, "seen": ",".join(values)}}
    print(json.dumps({"row": record["row"], **answer}), flush=True)
"#;

/// The program of the first phase: of ten records it fails one and gives one no output.
const FIRST: &str = r#"
import json, sys

for line in sys.stdin:
    record = json.loads(line)
    n = record["values"]["n"]
    if n % 10 == 0:
        answer = {"error": "a tenth"}
    else:
        answer = {"outputs": {"half": None if n % 10 == 1 else n / 2}}
    print(json.dumps({"row": record["row"], **answer}), flush=True)
"#;

#[test]
fn the_second_phase_reads_outputs_of_the_first_and_skips_its_failed_rows() {
    let step = |program: &str, outputs: &str, image: &str| {
        format!(
            "[[step]]\nkind = \"command\"\nprogram = [\"python3\", \"{program}\"]\n\
             outputs = [{outputs}]\n{image}"
        )
    };
    let first = step("first.py", "\"half\"", "");
    let image = "image = \"example/two:1\"\n";
    let second = step("second.py", "\"quarter\", \"seen\"", image);
    let column = "[[column]]\nname = \"sum\"\nvalue = \"half + quarter\"\n";
    // One record at a time and 25 records per child: 4 children per phase.
    let batch = "[batch]\nrecords_per_child = 25\nconcurrency = 1\n";
    let pipeline = format!("{first}{second}{column}{batch}");
    let job = Job::new(&book(100, ""), &pipeline);
    std::fs::write(job.folder().join("first.py"), FIRST).unwrap();
    std::fs::write(job.folder().join("second.py"), SECOND).unwrap();
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["ok"], &ran.json["failed"]),
        (&70.into(), &30.into())
    );

    let result = job.result();
    let [status, error, half, quarter, seen, sum] =
        ["status", "error", "half", "quarter", "seen", "sum"].map(|name| result.texts(name));
    for n in 0..100 {
        let failure = match n % 10 {
            0 => Some("step 1 (command): a tenth"),
            1 => Some("step 2 (command): no half"),
            2 => Some("step 2 (command): two"),
            _ => None,
        };
        assert_eq!(
            status[n],
            if failure.is_some() { "failed" } else { "ok" },
            "{n}"
        );
        assert_eq!(error[n], failure.unwrap_or(""), "{n}");
        // Outputs of the first phase are kept even if the second phase fails the row.
        let of = |factor: f64| (n as f64 * factor).to_string();
        let given = (n % 10 > 1).then(|| of(0.5));
        assert_eq!(half[n], given.unwrap_or_default(), "{n}");
        if failure.is_some() {
            assert_eq!([&quarter[n], &seen[n], &sum[n]], [""; 3], "{n}");
            continue;
        }
        assert_eq!([&quarter[n], &sum[n]], [&of(0.25), &of(0.75)], "{n}");
        assert_eq!(seen[n], "n,note,half");
    }
    // The second phase receives every row once, except those that failed in the first phase.
    let asked = std::fs::read_to_string(job.folder().join("asked")).unwrap();
    let mut asked: Vec<usize> = asked.lines().map(|row| row.parse().unwrap()).collect();
    asked.sort_unstable();
    let expected: Vec<usize> = (0..100).filter(|n| n % 10 != 0).map(|n| n + 2).collect();
    assert_eq!(asked, expected);
}

#[test]
fn a_run_whose_children_all_fail_sends_one_mail_with_the_reason() {
    let book = Book::new(
        &["n", "note"],
        (0..3).map(|i| vec![Cell::Number(f64::from(i)), Cell::from("boom-one")]),
    );
    let job = Job::new(&book, &pipeline());
    let ran = job.run(&[]).expect(1);
    assert_eq!(ran.json["state"], "failed");
    assert_eq!(job.mails(), 1);
    assert!(job.mail().contains("137"), "{}", job.mail());
}
