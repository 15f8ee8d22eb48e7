//! Memory depends on what a sheet contains, not on the rows and columns that it spans. In a process of
//! its own, because it measures the peak.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used, clippy::panic)]
// Not all builders are used here.
#![allow(dead_code)]

mod files;

use std::ops::ControlFlow;

use files::{Xlsx, ods, ods_row, ods_text, sheet};
use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};

/// Maximum peak memory in kB. A value of 32 bytes per blank cell would take a gigabyte.
const MEMORY: u64 = 96 << 10;
const LAST: u32 = 1_048_576;

/// The values, and the number of blank rows.
#[derive(Default)]
struct Found(Vec<(u32, String)>, u32);

impl RowSink for Found {
    fn header(&mut self, _: &Header) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        let values = cells.iter().filter_map(|cell| match cell {
            Cell::Value(value) => Some((row, value.to_text())),
            _ => None,
        });
        self.0.extend(values);
        ControlFlow::Continue(())
    }
    fn overflow(&mut self, _: u32, _: &mut [Cell], _: &mut [OutsideCell]) -> ControlFlow<()> {
        panic!("no value is outside the columns")
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        self.1 += last - first + 1;
        ControlFlow::Continue(())
    }
}

fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn blank_rows_and_cells_cost_no_memory() {
    let columns = 30;
    let head: String = (0..columns)
        .map(|i| ods_text("", &format!("c{i}")))
        .collect();
    let blank = "<table:table-cell table:number-columns-repeated=\"16384\"/>";
    let rows = [
        ods_row("", &head),
        ods_row("", &ods_text("", "1")),
        ods_row(
            &format!("table:number-rows-repeated=\"{}\"", LAST - 3),
            blank,
        ),
        ods_row("", &ods_text("", "2")),
    ];
    let table = format!(
        "<table:table table:name=\"Data\">{}</table:table>",
        rows.concat()
    );
    let cells: String = (0..columns)
        .map(|i| format!("<c t=\"str\"><v>c{i}</v></c>"))
        .collect();
    let xlsx = Xlsx {
        sheet: sheet(&format!(
            "<row r=\"1\">{cells}</row><row r=\"2\"><c r=\"A2\"><v>1</v></c></row>\
             <row r=\"{LAST}\"><c r=\"A{LAST}\"><v>2</v></c></row>"
        )),
        ..Xlsx::default()
    };
    for (name, bytes) in [("a.ods", ods(&table, "")), ("a.xlsx", xlsx.bytes())] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut found = Found::default();
        read_rows(&path, &ReadOptions::default(), &mut found).unwrap();
        assert_eq!(
            found.0,
            [(2, "1".to_owned()), (LAST, "2".to_owned())],
            "{name}"
        );
        assert_eq!(found.1, LAST - 3, "{name}");
        if let Some(peak) = peak() {
            assert!(peak < MEMORY, "{name}: {peak} kB at the peak");
        }
    }
}
