//! Blank rows cost no memory, and values outside the columns are never dropped.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used)]

#[path = "files/mod.rs"]
#[allow(dead_code)]
mod files;

use std::ops::ControlFlow;

use rowmill_domain::Value;
use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, ReadSummary, RowSink, read_rows};

/// Maximum peak memory in kB. If blank rows were stored, those of 30 columns alone would take more.
const MEMORY: u64 = 128 << 10;

#[derive(Debug, Default, PartialEq)]
struct Seen {
    columns: usize,
    rows: Vec<(u32, Vec<(usize, Cell)>)>,
    outside: Vec<(u32, String, Cell)>,
    blank: Vec<(u32, u32)>,
}

impl RowSink for Seen {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.columns = header.columns.len();
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        assert_eq!(cells.len(), self.columns);
        let cells = cells.iter().cloned().enumerate();
        let filled = cells.filter(|(_, cell)| *cell != Cell::Empty);
        self.rows.push((row, filled.collect()));
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        cells: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        self.row(row, cells)?;
        let outside = outside.iter().cloned();
        self.outside
            .extend(outside.map(|c| (row, c.column, c.cell)));
        ControlFlow::Continue(())
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        self.blank.push((first, last));
        ControlFlow::Continue(())
    }
}

fn read(name: &str, bytes: &[u8]) -> (Seen, ReadSummary) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut seen = Seen::default();
    let summary = read_rows(&path, &ReadOptions::default(), &mut seen).unwrap();
    (seen, summary)
}

fn number(n: f64) -> Cell {
    Cell::Value(Value::Number(n))
}

fn text(text: &str) -> Cell {
    Cell::Value(Value::Text(text.to_owned()))
}

#[test]
fn memory_does_not_depend_on_blank_rows() {
    for width in [1, 30, 16_384] {
        let header = "<c t=\"str\"><v>x</v></c>".repeat(width);
        // The last cell of the row has no reference: its column follows from the styled cells.
        let styled = "<c s=\"0\"/>".repeat(width - 1);
        let xlsx = files::Xlsx {
            sheet: files::sheet(&format!(
                "<row r=\"1\">{header}</row><row r=\"2\"><c><v>1</v></c></row>\
                 <row r=\"1048576\">{styled}<c><v>2</v></c></row>"
            )),
            ..files::Xlsx::default()
        };
        let (seen, summary) = read("stray.xlsx", &xlsx.bytes());
        let want = Seen {
            columns: width,
            rows: vec![
                (2, vec![(0, number(1.0))]),
                (1_048_576, vec![(width - 1, number(2.0))]),
            ],
            outside: vec![],
            blank: vec![(3, 1_048_575)],
        };
        assert_eq!(seen, want);
        assert_eq!(summary.rows, 1_048_575);
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let peak = line.and_then(|l| l.split_whitespace().next()).unwrap();
        let peak: u64 = peak.parse().unwrap();
        assert!(peak < MEMORY, "{peak} kB at the peak");
    }
}

#[test]
fn values_outside_the_columns_are_delivered() {
    let rows = |cell: &str| -> String {
        let row = |r: u32| format!("<row r=\"{r}\"><c r=\"{cell}{r}\"><v>{r}</v></c></row>");
        (2..1500).map(row).collect()
    };
    // Left and right of the columns, out of order, and one of them twice.
    let sheet = format!(
        "<row r=\"1\"><c r=\"B1\" t=\"str\"><v>x</v></c></row>{}\
         <row r=\"1510\"><c r=\"B1510\"><v>1</v></c><c r=\"D1510\"><v>4</v></c>\
         <c r=\"C1510\" t=\"e\"><v>#N/A</v></c><c r=\"A1510\"><v>0</v></c>\
         <c r=\"D1510\"><v>5</v></c></row><row r=\"1511\"><c r=\"C1511\"><v>3</v></c></row>\
         <row r=\"1512\"><c r=\"B1512\"><v>2</v></c></row>",
        rows("B")
    );
    let xlsx = files::Xlsx {
        sheet: files::sheet(&sheet),
        ..files::Xlsx::default()
    };
    let (seen, summary) = read("late.xlsx", &xlsx.bytes());
    assert_eq!(seen.columns, 1);
    assert_eq!(seen.blank, [(1500, 1509)]);
    let outside = |row, column: &str, cell| (row, column.to_owned(), cell);
    assert_eq!(
        seen.outside,
        [
            outside(1510, "A", number(0.0)),
            outside(1510, "C", Cell::Error("#N/A".to_owned())),
            outside(1510, "D", number(5.0)),
            outside(1511, "C", number(3.0)),
        ]
    );
    // Rows stay in order around them.
    assert_eq!(
        seen.rows[1498..],
        [
            (1510, vec![(0, number(1.0))]),
            (1511, vec![]),
            (1512, vec![(0, number(2.0))]),
        ]
    );
    assert_eq!(summary.rows, 1511);
    let note = "A cell of row 1510 is in the file twice; the last value was used.";
    assert_eq!(summary.notes, [note]);

    let csv = "a,b\n".to_owned() + &"1,2\n".repeat(1200) + "7,x,y,,z\n8,9\n";
    let (seen, summary) = read("ragged.csv", csv.as_bytes());
    assert_eq!(
        seen.outside,
        [outside(1202, "C", text("y")), outside(1202, "E", text("z"))]
    );
    assert_eq!(seen.rows[1200].1, [(0, text("7")), (1, text("x"))]);
    assert_eq!((seen.rows.len(), summary.rows), (1202, 1202));
}

#[test]
fn a_sink_that_cannot_restart_gets_an_error_for_rows_out_of_order() {
    let rows: String = (2..3000)
        .chain([2])
        .map(|n| format!("<row r=\"{n}\"><c><v>1</v></c></row>"))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.xlsx");
    std::fs::write(&path, files::below_header(&rows)).unwrap();
    let mut seen = Seen::default();
    let error = read_rows(&path, &ReadOptions::default(), &mut seen).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("row 2: it follows row 2999"), "{text}");
    assert!(!seen.rows.is_empty());
}
