//! Values of the input are unchanged in the result; openpyxl reads both.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::workbook::{Book, Cell, read};

#[test]
fn values_are_unchanged_in_the_result() {
    let long: String = "ä".repeat(32_767);
    let texts = [
        "007",
        "1234567890123456789",
        "=1+1",
        "+49 30 1234",
        "-5",
        "@name",
        "Ünïcödé 北京 🙂",
        "line\nbreak",
        "\"quoted\", and <tags> & more",
        "TRUE",
        "2024-01-31",
        "1e5",
        "#N/A as text",
        "http://example.com/",
        "x",
        &long,
    ];
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let i = i as f64;
        rows.push(vec![
            Cell::Number(i),
            Cell::from(*text),
            Cell::Number([0.1, 1e-9, 123456789012345.0, -0.5, 1.5e300, 0.0, 1e15][i as usize % 7]),
            Cell::Bool((i as u32).is_multiple_of(2)),
            Cell::Formatted(45_000.0 + i, "yyyy-mm-dd"),
            Cell::Formatted(45_000.25 + i, "yyyy-mm-dd hh:mm:ss"),
            Cell::Formatted(0.5 + i / 1440.0, "hh:mm:ss"),
            Cell::Formatted(1.5 + i, "[h]:mm:ss"),
            Cell::Formatted(0.25, "0%"),
            if (i as u32).is_multiple_of(3) {
                Cell::Empty
            } else {
                Cell::from("some")
            },
        ]);
    }
    let header = [
        "n", "text", "number", "bool", "date", "datetime", "time", "duration", "percent", "gaps",
    ];
    let job = Job::new(&Book::new(&header, rows), "[input]\nrequired = [\"n\"]\n");
    job.run(&[]).expect(0);
    let sent = read(&job.workbook, false);
    let sent = sent["sheets"][0]["rows"].as_array().unwrap();
    let result = job.result();
    let back = result.rows("Results");
    assert_eq!(back.len(), sent.len());
    for (sent, back) in sent.iter().zip(back) {
        for (c, name) in header.iter().enumerate() {
            assert_eq!(sent[c], back[c], "column {name} of the row {}", sent[0]);
        }
    }
}

#[test]
fn order_and_columns_of_the_input_are_kept() {
    let book = Book::new(
        &["z", "a", "Z", "a", ""],
        [vec!["1", "2", "3", "4", "5"], vec!["b", "a", "", "", "x"]],
    );
    let job = Job::new(&book, "");
    job.run(&[]).expect(0);
    let result = job.result();
    let header = result.header();
    assert_eq!((header[0], header[1], header[2]), ("z", "a", "Z"));
    // Repeated and empty headers get unique names, and the email reports them.
    let mut unique = header.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), header.len());
    assert_eq!(result.texts("z"), ["1", "b"]);
    assert_eq!(result.rows("Results")[1][3][1], "4");
}
