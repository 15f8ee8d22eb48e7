//! What `[input]` sets, and what the error says about a workbook without its columns.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::workbook::{Book, Cell};
use rust_xlsxwriter::Workbook;
use serde_json::json;

#[test]
fn numbers_and_dates_are_read_as_the_locale_writes_them() {
    let book = Book::new(
        &["ID", "Amount", "Day"],
        [
            vec!["a", "1.234,50", "31.12.2026"],
            vec!["b", "-7,5 €", "1. März 2026"],
            // Would be 1.5 in another locale.
            vec!["c", "1.5", "1.2.2026"],
            vec!["d", "2", "12/31/2026"],
        ],
    );
    let pipeline = "[input]\nlocale = \"de\"\ntypes = { Amount = \"number\", Day = \"date\" }\n\
                    [[column]]\nname = \"double\"\nvalue = \"row.Amount * 2\"\n";
    let job = Job::new(&book, pipeline);
    let ran = job.run(&[]).expect(0);
    assert_eq!(
        (&ran.json["records"], &ran.json["rejected"]),
        (&2.into(), &2.into())
    );
    let result = job.result();
    assert_eq!(result.texts("Amount"), ["1234.5", "-7.5"]);
    assert_eq!(result.texts("double"), ["2469", "-15"]);
    let days = result.texts("Day");
    assert!(
        days[0].starts_with("2026-12-31") && days[1].starts_with("2026-03-01"),
        "{days:?}"
    );
    let rejected = json!(result.rows("Rejected")).to_string();
    assert!(rejected.contains("`.` separates thousands"), "{rejected}");
    assert!(
        rejected.contains("this date does not exist when the day comes first"),
        "{rejected}"
    );
}

#[test]
fn a_missing_column_names_the_row_or_the_sheet_that_has_it() {
    let pipeline = "[input]\nrequired = [\"ID\", \"Amount\"]\n";
    // Further below than a header is looked for.
    let mut rows: Vec<Vec<Cell>> = (0..80)
        .map(|i| vec![Cell::Number(f64::from(i)), "x".into()])
        .collect();
    rows.push(vec!["ID".into(), "Amount".into()]);
    rows.push(vec!["1".into(), Cell::Number(2.0)]);
    let job = Job::new(&Book::new(&["Letter", "Head"], rows), pipeline);
    let ran = job.run(&[]).expect(2);
    assert!(ran.stderr.contains("`header_row = 82`"), "{}", ran.stderr);
    std::fs::write(
        job.folder().join("pipeline.toml"),
        pipeline.replace("[input]", "[input]\nheader_row = 82"),
    )
    .unwrap();
    assert_eq!(job.run(&[]).expect(0).json["records"], 1);

    let job = Job::new(&Book::numbered(0), pipeline);
    let mut book = Workbook::new();
    let sheet = book.add_worksheet().set_name("Cover").unwrap();
    sheet.write_string(0, 0, "Title").unwrap();
    sheet.write_string(1, 0, "text").unwrap();
    let sheet = book.add_worksheet().set_name("Data").unwrap();
    for (column, name) in (0..).zip(["ID", "Amount"]) {
        sheet.write_string(0, column, name).unwrap();
        sheet.write_number(1, column, 1.0).unwrap();
    }
    book.save(&job.workbook).unwrap();
    let ran = job.run(&[]).expect(2);
    assert!(
        ran.stderr.contains("Sheet `Data` has all of these columns"),
        "{}",
        ran.stderr
    );
    std::fs::write(
        job.folder().join("pipeline.toml"),
        pipeline.replace("[input]", "[input]\nsheet = \"Data\""),
    )
    .unwrap();
    assert_eq!(job.run(&[]).expect(0).json["records"], 1);
}
