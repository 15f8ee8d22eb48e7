//! The column for corrections: its values, its dropdown and what the reader says about it.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use rowmill_domain::{Status, Value};
use rowmill_workbook::{
    Cell, ColumnSpec, Header, OutsideCell, ReadOptions, ResultSpec, ResultWriter, ReviewSpec,
    RowSink, Summary, read_rows,
};

#[derive(Default)]
struct Rows {
    header: Option<Header>,
    rows: Vec<Vec<Cell>>,
}

impl RowSink for Rows {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.header = Some(header.clone());
        ControlFlow::Continue(())
    }
    fn row(&mut self, _: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.rows.push(cells.to_vec());
        ControlFlow::Continue(())
    }
    fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
    fn blank(&mut self, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn write(path: &Path, review: ReviewSpec, rows: &[(Option<&str>, Status)]) {
    let spec = ResultSpec {
        columns: vec![ColumnSpec {
            name: "text".to_owned(),
            ..ColumnSpec::default()
        }],
        added: vec!["score".to_owned(), "topic".to_owned()],
        review: Some(review),
        run_id: "20261121-a-0123456789ab".to_owned(),
        ..ResultSpec::default()
    };
    let mut writer = ResultWriter::create(path, &spec).unwrap();
    for (row, (label, status)) in (2..).zip(rows) {
        let (text, score) = (Value::from("hello"), Value::Number(0.5));
        let label = label.map(Value::from);
        let added = [Some(&score), label.as_ref()];
        writer
            .row(row, &[Some(&text)], &added, *status, None, 1)
            .unwrap();
    }
    writer.finish(&Summary::default()).unwrap();
}

fn part(path: &Path, name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut text = String::new();
    let mut part = archive.by_name(name).unwrap();
    part.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn finished_rows_have_their_prediction_to_correct() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let review = ReviewSpec {
        name: "final".to_owned(),
        of: 1,
        labels: vec!["praise, mostly".to_owned()],
        ..ReviewSpec::default()
    };
    let rows = [
        (Some("billing"), Status::Ok),
        (Some("delivery"), Status::Failed),
        (None, Status::Missing),
        (None, Status::Ok),
    ];
    write(&path, review, &rows);
    let mut read = Rows::default();
    read_rows(&path, &ReadOptions::default(), &mut read).unwrap();
    let header = read.header.unwrap();
    assert_eq!(
        header.columns,
        [
            "text",
            "score",
            "topic",
            "final",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );
    assert_eq!(header.origin.unwrap().review.as_deref(), Some("final"));
    let finals: Vec<&Cell> = read.rows.iter().map(|cells| &cells[3]).collect();
    let billing = Cell::Value(Value::from("billing"));
    assert_eq!(finals, [&billing, &Cell::Empty, &Cell::Empty, &Cell::Empty]);

    // All rows offer the labels of a hidden sheet: those that occur in finished rows, and one with a comma.
    let sheet = part(&path, "xl/worksheets/sheet1.xml");
    let validation = sheet.split("<dataValidation ").nth(1).unwrap();
    assert!(validation.contains("type=\"list\"") && validation.contains("sqref=\"D2:D5\""));
    assert!(validation.contains("<formula1>Labels!$A$1:$A$2</formula1>"));
    assert!(
        part(&path, "xl/workbook.xml").contains("name=\"Labels\" sheetId=\"4\" state=\"hidden\"")
    );
    let mut labels = Rows::default();
    let options = ReadOptions {
        sheet: Some(rowmill_domain::SheetRef::Name("Labels".to_owned())),
        header_row: Some(1),
        ..ReadOptions::default()
    };
    read_rows(&path, &options, &mut labels).unwrap();
    assert_eq!(labels.header.unwrap().columns, ["billing"]);
    assert_eq!(labels.rows, [[Cell::Value(Value::from("praise, mostly"))]]);
    assert!(part(&path, "xl/comments1.xml").contains("choose another label"));
}

#[test]
fn a_result_without_rows_or_labels_has_no_dropdown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    let review = ReviewSpec {
        name: "final".to_owned(),
        of: 1,
        labels: vec!["a".to_owned()],
        closed: true,
        ..ReviewSpec::default()
    };
    write(&path, review.clone(), &[]);
    assert!(!part(&path, "xl/worksheets/sheet1.xml").contains("dataValidation"));
    let none = ReviewSpec {
        labels: Vec::new(),
        ..review
    };
    write(&path, none, &[(Some("a"), Status::Ok)]);
    assert!(!part(&path, "xl/worksheets/sheet1.xml").contains("dataValidation"));
    assert!(!part(&path, "xl/workbook.xml").contains("Labels"));
}
