//! LibreOffice opens the result workbook. It is stricter than Excel in some respects and reports errors.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::python;
use rowmill_tests_local::workbook::{Book, Cell};

/// All kinds of cells, links, failed rows, rejected rows, a chart, and the times of a step.
const PIPELINE: &str = r#"
[input]
required = ["ID"]

[[step]]
kind = "language"
column = "Note"

[[check]]
rule = "row.Amount < 250.0"
on_failure = "fail"

[[column]]
name = "doubled"
value = "row.Amount * 2"

[report]
chart = "Flag"
links = ["Note"]
"#;

#[test]
#[ignore = "needs LibreOffice; .ci/run runs it if soffice is installed"]
fn libreoffice_saves_a_result_with_the_same_cells_and_formats() {
    let header = [
        "ID", "Amount", "Day", "Moment", "Time", "Length", "Share", "Flag", "Note",
    ];
    let rows = (0..300).map(|i| {
        let n = f64::from(i);
        vec![
            match i % 50 {
                7 => Cell::Empty,
                _ => Cell::Text(format!("{i:05}")),
            },
            Cell::Number(n + 0.1),
            Cell::Formatted(45_000.0 + n, "dd/mm/yyyy"),
            Cell::Formatted(45_000.25 + n, "yyyy-mm-dd hh:mm:ss"),
            Cell::Formatted(n / 1440.0, "hh:mm:ss"),
            Cell::Formatted(1.5 + n, "[h]:mm:ss"),
            Cell::Formatted(n / 1000.0, "0.0%"),
            Cell::Bool(i % 2 == 0),
            match i % 4 {
                0 => Cell::Empty,
                1 => Cell::Text(" =1+1 ".to_owned()),
                2 => Cell::Text(format!("http://example.com/?a={i}&b=<c>")),
                _ => Cell::Text(format!("Größe {i}\nand a text in two lines \u{1F600}")),
            },
        ]
    });
    let job = Job::new(&Book::new(&header, rows), PIPELINE);
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["failed"], &ran.json["rejected"]),
        (&49.into(), &6.into())
    );

    let result = job.out().join("input-result.xlsx");
    let same = python::run("office_equal.py", &[&result]);
    // 294 records with 12 columns, of which a quarter have no note, and the other two sheets.
    assert!(same.trim().parse::<u32>().unwrap() > 3000, "{same}");
}
