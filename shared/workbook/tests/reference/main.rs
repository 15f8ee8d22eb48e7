//! Our readers and calamine read the same values from the same workbooks, where calamine is right.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../files/mod.rs"]
#[allow(dead_code)]
mod files;
mod ods;
mod xls;
mod xlsb;
mod xlsx;

use std::ops::ControlFlow;

use calamine::Data;
use rowmill_domain::Value;
use rowmill_workbook::{Cell, Header, OutsideCell, RowSink};

/// Number formats of every kind.
const CODES: [&str; 8] = [
    "General",
    "0.00",
    "#,##0.00 [$€-407]",
    "yyyy-mm-dd",
    "dd.mm.yyyy hh:mm",
    "hh:mm:ss",
    "[h]:mm",
    "mmm \"d\"",
];

/// The rows of a sheet, and the number of its columns.
#[derive(Default)]
struct All(Vec<(u32, Vec<Cell>)>, usize);

impl RowSink for All {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        assert!(header.columns.len() >= 4);
        self.1 = header.columns.len();
        ControlFlow::Continue(())
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.0.push((row, cells.to_vec()));
        ControlFlow::Continue(())
    }
    fn overflow(
        &mut self,
        row: u32,
        _: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        panic!("row {row}: {outside:?}")
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        let row = |row| (row, vec![Cell::Empty; self.1]);
        self.0.extend((first..=last).map(row));
        ControlFlow::Continue(())
    }
}

/// Whether our cell equals that of calamine. calamine does not distinguish dates, times and
/// date-times, so all are compared as points in time.
fn same(ours: &Cell, theirs: &Data) -> bool {
    match (ours, theirs) {
        (Cell::Empty, Data::Empty) => true,
        (Cell::Empty, Data::String(text)) => text.is_empty(),
        (Cell::Value(Value::Text(ours)), Data::String(theirs)) => ours == theirs,
        (Cell::Value(Value::Bool(ours)), Data::Bool(theirs)) => ours == theirs,
        (Cell::Value(Value::Number(ours)), Data::Float(theirs)) => ours == theirs,
        (Cell::Value(Value::Number(ours)), Data::Int(theirs)) => *ours == *theirs as f64,
        (Cell::Error(ours), Data::Error(theirs)) => *ours == theirs.to_string(),
        (Cell::Value(value), Data::DateTime(theirs)) => match value {
            Value::Duration(ours) => theirs.is_duration() && theirs.as_duration() == Some(*ours),
            Value::Date(ours) => {
                theirs.as_datetime() == Some(ours.and_time(chrono::NaiveTime::MIN))
            }
            Value::DateTime(ours) => theirs.as_datetime() == Some(*ours),
            // Our times may be up to a millisecond earlier, so that they stay before midnight.
            Value::Time(ours) => {
                let ms = (*ours - chrono::NaiveTime::MIN).num_milliseconds() as f64;
                (ms - theirs.as_f64() * 86_400_000.0).abs() <= 1.0
            }
            // Numbers that Excel cannot display as a date stay numbers. In the 1904 date system the last
            // day has the number 2957003.
            Value::Number(ours) => *ours == theirs.as_f64() && !(1.0..2_957_003.9).contains(ours),
            _ => false,
        },
        _ => false,
    }
}
