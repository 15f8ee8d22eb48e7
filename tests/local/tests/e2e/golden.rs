//! From workbook to result and mail: every row is accounted for, in order.

use rowmill_tests_local::program::{Job, binary, files};
use rowmill_tests_local::workbook::{Book, Cell};

const DOUBLED: &str = r#"
[input]
required = ["ID"]
key = ["ID"]

[[column]]
name = "doubled"
value = "row.Amount * 2"

[notify]
to = ["analyst@example.com"]
"#;

/// Runs `n` records and checks the summary, the result, the email and the remaining state.
fn golden(n: u32) {
    let job = Job::new(&Book::numbered(n), DOUBLED);
    let ran = job.run(&[]).expect(0);
    assert_eq!(ran.json["state"], "delivered");
    assert_eq!(ran.json["records"], n);
    assert_eq!(ran.json["ok"], n);
    assert_eq!(ran.json["failed"], 0);
    assert_eq!(ran.json["rejected"], 0);
    let result = job.result_cells();
    assert_eq!(
        result.header(),
        [
            "ID",
            "Amount",
            "Note",
            "doubled",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );
    let ids = result.texts("ID");
    assert_eq!(ids.len(), n as usize);
    let doubled = result.column("doubled");
    for i in 0..n as usize {
        assert_eq!(ids[i], format!("{i:07}"));
        assert_eq!(doubled[i][0], "n");
        assert_eq!(doubled[i][1].as_f64(), Some(2.0 * i as f64));
    }
    assert!(result.texts("status").iter().all(|s| s == "ok"));
    assert_eq!(job.mails(), 1);
    let mail = job.mail();
    assert!(mail.contains("To: analyst@example.com"), "{mail}");
    // Chunks, manifest and the run's table are deleted.
    let left: Vec<_> = job
        .state()
        .into_iter()
        .filter(|f| f.contains("/runs/") || f.starts_with("tables/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_record() {
    golden(1);
}

#[test]
fn two_records() {
    golden(2);
}

#[test]
fn ten_thousand_records() {
    golden(10_000);
}

#[test]
fn ten_thousand_and_one_records() {
    golden(10_001);
}

#[test]
#[ignore = "takes a minute in a debug build"]
fn two_hundred_thousand_and_one_records() {
    golden(200_001);
}

#[test]
fn a_workbook_without_records_is_refused_and_a_mail_says_so() {
    let job = Job::new(&Book::numbered(0), DOUBLED);
    let ran = job.run(&[]).expect(1);
    assert_eq!(ran.json["state"], "failed");
    assert_eq!(ran.json["records"], 0);
    assert_eq!(job.mails(), 1);
    let mail = job.mail();
    assert!(mail.contains("input.xlsx"), "{mail}");
    assert!(!job.out().join("input-result.xlsx").exists());
}

#[test]
fn rejected_rows_are_on_a_separate_sheet_with_row_number_and_reason() {
    let text = |s: &str| Cell::from(s);
    let book = Book::new(
        &["ID", "Amount"],
        [
            vec![text("a"), Cell::Number(1.0)],
            vec![Cell::Empty, Cell::Empty],
            vec![text("a"), Cell::Number(2.0)],
            vec![Cell::Empty, Cell::Number(3.0)],
            vec![text(" b "), text("n/a")],
            vec![text("c"), Cell::Number(4.0)],
        ],
    );
    let pipeline = DOUBLED.replace("[input]", "[input]\ntypes = { Amount = \"number\" }");
    let job = Job::new(&book, &pipeline);
    let ran = job.run(&[]).expect(0);
    assert_eq!(
        (&ran.json["records"], &ran.json["rejected"]),
        (&2.into(), &4.into())
    );
    let result = job.result();
    assert_eq!(result.texts("ID"), ["a", "c"]);
    let rejected: Vec<(u64, String)> = result.rows("Rejected")[1..]
        .iter()
        .map(|r| {
            (
                r[0][1].as_u64().unwrap(),
                r[1][1].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let rejected: Vec<(u64, &str)> = rejected.iter().map(|(n, r)| (*n, r.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (3, "blank row"),
            (4, "duplicate key"),
            (5, "required value missing"),
            (6, "unreadable"),
        ]
    );
}

#[test]
fn the_result_is_laid_out_for_screen_and_paper() {
    let job = Job::new(&Book::numbered(3), DOUBLED);
    job.run(&[]).expect(0);
    let result = job.result();
    let sheet = result.sheet("Results").unwrap();
    // The header and the key column stay visible.
    assert_eq!(sheet["freeze"], "B2");
    assert_eq!(sheet["filter"], "A1:H4");
    assert_eq!(sheet["tables"], 0);
    for name in ["Results", "Rejected", "Summary"] {
        let sheet = result.sheet(name).unwrap();
        assert_eq!(sheet["landscape"], true, "{name}");
        assert_eq!(sheet["pages_wide"], 1, "{name}");
    }
    // Without a reason `error` is as narrow as its header.
    assert!(width(sheet, 5) < 10.0, "{sheet}");
    // All rows are ok, so a chart of statuses would say no more than the number.
    let summary = result.sheet("Summary").unwrap();
    assert_eq!(summary["charts"], 0);
    assert_eq!(result.rows("Summary")[0][0][1], "All 3 rows done.");
}

fn width(sheet: &serde_json::Value, column: usize) -> f64 {
    sheet["widths"][column].as_f64().unwrap()
}

#[test]
fn columns_are_as_wide_as_their_values_and_the_input_row_is_named() {
    let text = |s: &str| Cell::from(s);
    let rows = [
        vec![text("a"), Cell::Number(1.0), text(&"long ".repeat(100))],
        vec![Cell::Empty, Cell::Number(2.0), text("no id")],
        vec![text("b"), Cell::Number(3.0), text("short")],
        vec![text("c"), Cell::Number(4.0), Cell::Empty],
    ];
    let pipeline =
        format!("{DOUBLED}[[check]]\nrule = \"row.Amount < 3.0\"\non_failure = \"fail\"\n");
    let job = Job::new(&Book::new(&["ID", "Amount", "Text"], rows), &pipeline);
    job.run(&[]).expect(3);
    let result = job.result();
    assert_eq!(result.texts("input row"), ["2", "4", "5"]);
    let sheet = result.sheet("Results").unwrap();
    assert!(width(sheet, 0) < 10.0, "{sheet}");
    assert!((50.0..51.0).contains(&width(sheet, 2)), "{sheet}");
    assert!((50.0..51.0).contains(&width(sheet, 5)), "{sheet}");

    // The verdict, then the reasons with an example and advice, then figures as numbers.
    let rows = result.rows("Summary");
    let texts = |row: usize| -> Vec<String> {
        let cells = rows[row].as_array().unwrap().iter();
        cells.map(|c| c[1].to_string()).collect()
    };
    assert_eq!(texts(0)[0], "\"1 of 4 rows done, 2 failed, 1 rejected.\"");
    assert_eq!(
        texts(3)[..4],
        [
            "\"check `row.Amount < 3.0` failed\"",
            "2",
            "\"failed\"",
            "4"
        ]
    );
    assert!(texts(3)[4].contains("rule"), "{:?}", texts(3));
    assert_eq!(texts(4)[1..3], ["1", "\"rejected\""]);
    let fact = |name: &str| rows.iter().find(|row| row[0][1] == name).unwrap()[1].clone();
    assert_eq!(fact("Rows in file"), serde_json::json!(["n", 4]));
    assert_eq!(fact("Started, UTC")[0], "dt");
    assert_eq!(fact("Duration")[0], "td");
    assert_eq!(result.sheet("Summary").unwrap()["charts"], 1);
}

#[test]
fn chunks_are_balanced_and_no_array_has_one_child() {
    // (records, records per child) -> (records, children) of each chunk
    type Case = (u32, u32, &'static [(u64, u64)]);
    let table: &[Case] = &[
        (1, 1, &[(1, 1)]),
        (2, 1, &[(2, 2)]),
        (10_000, 10_000, &[(10_000, 1)]),
        (10_001, 10_000, &[(5_000, 1), (5_001, 1)]),
    ];
    for (records, per_child, chunks) in table {
        let pipeline = format!("{DOUBLED}\n[batch]\nrecords_per_child = {per_child}\n");
        let job = Job::new(&Book::numbered(*records), &pipeline);
        let split = std::process::Command::new(binary())
            .arg("split")
            .arg(&job.workbook)
            .arg("--out")
            .arg(job.out())
            .output()
            .unwrap();
        assert!(
            split.status.success(),
            "{}",
            String::from_utf8_lossy(&split.stderr)
        );
        let all = files(&job.out());
        let manifest = all.iter().find(|f| f.ends_with("manifest.json")).unwrap();
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(job.out().join(manifest)).unwrap()).unwrap();
        let got: Vec<(u64, u64)> = manifest["chunks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| {
                (
                    c["records"].as_u64().unwrap(),
                    c["children"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(got, *chunks, "{records}");
        for (i, (size, _)) in chunks.iter().enumerate() {
            let key = all
                .iter()
                .find(|f| f.ends_with(&format!("chunks/{i:05}.json")))
                .unwrap();
            let text = std::fs::read_to_string(job.out().join(key)).unwrap();
            assert_eq!(text.lines().count() as u64, *size);
        }
    }
}
