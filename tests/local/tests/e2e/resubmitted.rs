//! A result workbook is uploaded again: its generated columns are not read.

use std::path::Path;

use rowmill_tests_local::program::{Job, Ran, Read};
use rowmill_tests_local::workbook::{Book, Cell};

const PIPELINE: &str = r#"
[input]
required = ["ID"]
types = { Amount = "number" }

[[check]]
rule = "row.Amount < 3.0"
on_failure = "fail"

[[column]]
name = "doubled"
value = "row.Amount * 2"

[[column]]
name = "again"
value = "row.Amount"
"#;

/// A column with the name of a generated one, a row that fails and two rejected rows.
fn book() -> Book {
    let row = |id: &str, amount: Cell, day: f64| {
        let id = match id {
            "" => Cell::Empty,
            id => Cell::Text(id.to_owned()),
        };
        vec![
            id,
            amount,
            Cell::Formatted(day, "dd/mm/yyyy"),
            Cell::Text(format!("s{day}")),
        ]
    };
    Book::new(
        &["ID", "Amount", "Day", "status"],
        [
            row("007", Cell::Number(1.25), 45_000.0),
            row("b", Cell::Number(4.0), 45_001.0),
            row("", Cell::Number(2.5), 45_002.0),
            row("d", Cell::Text("n/a".into()), 45_003.0),
            row("e", Cell::Number(2.0), 45_004.0),
        ],
    )
}

/// A result, and what a run of it with this pipeline gives.
fn resubmit(result: &Path, pipeline: &str, exit: i32) -> (Job, Ran) {
    let job = Job::of_file(result, pipeline);
    let ran = job.run(&[]).expect(exit);
    (job, ran)
}

#[test]
fn a_result_gives_the_same_result() {
    let job = Job::new(&book(), PIPELINE);
    job.run(&[]).expect(3);
    let first = job.result_cells();
    assert_eq!(
        first.header(),
        [
            "ID",
            "Amount",
            "Day",
            "status (input)",
            "doubled",
            "again",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );

    let (again, ran) = resubmit(&job.out().join("input-result.xlsx"), PIPELINE, 3);
    assert_eq!(ran.json["records"], 3, "{}", ran.json);
    let second = again.result_cells();
    // All but the last column: the rejected rows are not in `Results`, so later rows move up.
    let cells = |read: &Read| -> Vec<Vec<serde_json::Value>> {
        let rows = read.rows("Results").iter();
        rows.map(|row| row.as_array().unwrap()[..9].to_vec())
            .collect()
    };
    assert_eq!(cells(&second), cells(&first));
    assert_eq!(first.texts("input row"), ["2", "3", "6"]);
    assert_eq!(second.texts("input row"), ["2", "3", "4"]);
    let mail = again.mail();
    assert!(
        mail.contains("Its generated columns are not read"),
        "{mail}"
    );

    // A pipeline that no longer adds a column does not read it as input either.
    let without = PIPELINE.rsplit_once("[[column]]").unwrap().0;
    let (without, _) = resubmit(&job.out().join("input-result.xlsx"), without, 3);
    assert!(!without.result().header().contains(&"again"));
}

#[test]
fn rejected_rows_keep_their_types_and_can_be_processed_again() {
    let job = Job::new(&book(), PIPELINE);
    job.run(&[]).expect(3);
    let rejected = job.result_cells();
    let input = PIPELINE.replace(
        "[input]\nrequired = [\"ID\"]",
        "[input]\nsheet = \"Rejected\"",
    );
    let (again, ran) = resubmit(&job.out().join("input-result.xlsx"), &input, 0);
    assert_eq!(
        (&ran.json["records"], &ran.json["rejected"]),
        (&1.into(), &1.into())
    );
    let result = again.result_cells();
    assert_eq!(
        result.header(),
        [
            "ID",
            "Amount",
            "Day",
            "status (input)",
            "doubled",
            "again",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );
    // The date of the rejected row is still a date with its format.
    assert_eq!(
        result.rows("Results")[1][2],
        rejected.rows("Rejected")[1][5]
    );
    assert_eq!(result.rows("Results")[1][2], job_day(45_002.0));
}

/// The cell of a day as the independent reader sees it.
fn job_day(day: f64) -> serde_json::Value {
    let row = vec![Cell::Number(1.0), Cell::Formatted(day, "dd/mm/yyyy")];
    let job = Job::new(&Book::new(&["n", "Day"], [row]), "");
    job.run(&[]).expect(0);
    job.result_cells().rows("Results")[1][1].clone()
}

#[test]
fn the_column_for_corrections_is_not_read_again() {
    let rows = ["I love it", "I hate it"].map(|text| vec![Cell::from(text)]);
    let pipeline =
        "[[step]]\nkind = \"sentiment\"\ncolumn = \"text\"\n[[review]]\ncolumn = \"sa_class\"\n";
    let job = Job::new(&Book::new(&["text"], rows), pipeline);
    job.run(&[]).expect(0);
    let first = job.result_cells();
    assert_eq!(first.texts("final"), ["positive", "negative"]);
    assert_eq!(first.texts("final"), first.texts("sa_class"));
    let (again, _) = resubmit(&job.out().join("input-result.xlsx"), pipeline, 0);
    let second = again.result_cells();
    assert_eq!(second.header(), first.header());
    assert_eq!(second.texts("final"), first.texts("final"));
}
