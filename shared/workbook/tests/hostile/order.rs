//! xlsx files whose rows and cells are repeated or not in order.

use rowmill_workbook::ReadOptions;

use crate::Table;
use crate::files::{below_header, cell};

fn row(number: u32, value: u32) -> String {
    format!("<row r=\"{number}\"><c r=\"A{number}\"><v>{value}</v></c></row>")
}

pub(crate) fn every(table: &mut Table) {
    let two =
        |b: &str| format!("<row r=\"2\"><c r=\"A2\"><v>1</v></c></row><row r=\"2\">{b}</row>");
    table.good(
        "row-twice.xlsx",
        &below_header(&two("<c r=\"B2\"><v>2</v></c>")),
        "A | Column B\n2: 1 | 2",
    );
    table.good(
        "row-twice-column.xlsx",
        &below_header(&two("<c r=\"A2\"><v>2</v></c>")),
        "A\n2: 2\nA cell of row 2 is in the file twice; the last value was used.",
    );
    // An equal or an empty cell changes nothing.
    table.good(
        "row-twice-equal.xlsx",
        &below_header(&two("<c r=\"A2\"><v>1</v></c><c r=\"A2\" s=\"1\"/>")),
        "A\n2: 1",
    );
    table.good(
        "cell-twice.xlsx",
        &cell("<c r=\"A2\"><v>1</v></c><c r=\"B2\"><v>2</v></c><c r=\"A2\"><v>3</v></c><c r=\"B2\"><v>4</v></c>"),
        "A | Column B\n2: 3 | 4\n2 cells are in the file more than once, the first in row 2; the last \
         value of each was used.",
    );
    table.good(
        "cells-backwards.xlsx",
        &cell("<c r=\"C2\"><v>3</v></c><c r=\"A2\"><v>1</v></c>"),
        "A | Column B | Column C\n2: 1 |  | 3",
    );
    let often = "<c r=\"A2\"><v>1</v></c>".repeat(100_000);
    table.good("cell-often.xlsx", &cell(&often), "A\n2: 1");
    table.good(
        "swapped.xlsx",
        &below_header(&[row(4, 4), row(2, 2), row(3, 3)].concat()),
        "A\n2: 2\n3: 3\n4: 4",
    );
    // The row of a first cell counts if the row has no number, and the row before otherwise.
    table.good(
        "unnumbered.xlsx",
        &below_header("<row><c><v>2</v></c></row><row><c r=\"A5\"><v>5</v></c></row><row/><row><c><v>7</v></c></row>"),
        "A\n2: 2\n3 to 4: blank\n5: 5\n6: blank\n7: 7",
    );
    table.good(
        "unnumbered-back.xlsx",
        &below_header("<row r=\"3\"><c><v>3</v></c></row><row><c r=\"A2\"><v>2</v></c></row>"),
        "A\n2: 2\n3: 3",
    );
    // More rows than the reader looks ahead, so that the sink has received some.
    let many = |last: &str| {
        let rows: String = (2..5002).map(|n| row(n, n)).collect();
        below_header(&format!("{rows}{last}"))
    };
    let repeated = many("<row r=\"2\"><c r=\"B2\"><v>1</v></c></row>");
    table.good("late.xlsx", &repeated, "A | Column B\n5000 rows");
    let header = many("<row r=\"1\"><c r=\"A1\" t=\"str\"><v>B</v></c></row>");
    table.good(
        "late-header.xlsx",
        &header,
        "B\n5000 rows\nA cell of row 1 is in the file twice; the last value was used.",
    );
    let mut small = ReadOptions::default();
    small.limits.whole_bytes = 100_000;
    table.with(
        "late-large.xlsx",
        &repeated,
        &small,
        Err("100001 exceeds the limit `whole_bytes` of 100000"),
    );
    table.bad(
        "elsewhere.xlsx",
        &below_header("<row r=\"3\"><c r=\"A2\"><v>1</v></c></row>"),
        "cell A2: its reference is in a different row",
    );
}
