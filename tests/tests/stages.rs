//! A pipeline of several stages, and a child that fails.

use rowmill_tests::program::Job;
use rowmill_tests::workbook::{Book, Cell};

/// A program that answers each record with one output, and takes the machine down with it at a
/// record that says so.
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
    // One record at a time and 25 a child: 4 children.
    let batch = "[batch]\nseconds_per_record = 9.6\nconcurrency = 1\nattempts = 1\n";
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
fn a_child_that_fails_in_the_first_stage_costs_its_own_records_only() {
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
fn a_child_that_fails_in_the_second_stage_costs_its_own_records_only() {
    let job = Job::new(&book(99, "boom-two"), &pipeline());
    job.run(&[]).expect(3);
    let status = job.result().texts("status");
    assert!(status[..75].iter().all(|s| s == "ok"));
    assert!(status[75..].iter().all(|s| s == "missing"));
}

#[test]
fn all_children_failing_is_one_mail_that_says_why() {
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
