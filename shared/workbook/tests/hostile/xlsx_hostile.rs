//! xlsx files that are damaged, or that try to use too much time or memory.

use rowmill_workbook::ReadOptions;

use crate::Table;
use crate::files::{Xlsx, below_header, cell, sheet};

pub(crate) fn every(table: &mut Table) {
    for (name, xml, want) in [
        (
            "bad-bool",
            "<c r=\"A2\" t=\"b\"><v>maybe</v></c>",
            "cell A2: its value is neither true nor false",
        ),
        (
            "bad-index",
            "<c r=\"A2\" t=\"s\"><v>5</v></c>",
            "cell A2: its string is not in the shared string table",
        ),
        (
            "bad-type",
            "<c r=\"A2\" t=\"q\"><v>5</v></c>",
            "its type is unknown",
        ),
        (
            "bad-reference",
            "<c r=\"2A\"><v>5</v></c>",
            "its reference is invalid",
        ),
        (
            "other-row",
            "<c r=\"A2\"><v>1</v></c><c r=\"A3\"><v>5</v></c>",
            "cell A3: its reference is in a different row",
        ),
        (
            "column",
            "<c r=\"XFE2\"><v>5</v></c>",
            "16385 exceeds the limit `columns` of 16384",
        ),
        (
            "doctype",
            "<!DOCTYPE x [<!ENTITY a \"b\">]>",
            "document type declarations are not allowed",
        ),
        ("open-comment", "<!-- ", "a comment is not terminated"),
        ("open-tag", "<c r=\"A2", "a tag is not terminated"),
    ] {
        table.bad(&format!("{name}.xlsx"), &cell(xml), want);
    }
    table.bad(
        "row.xlsx",
        &below_header("<row r=\"1048577\"><c><v>1</v></c></row>"),
        "1048577 exceeds the limit `rows` of 1048576",
    );
    table.bad(
        "row-zero.xlsx",
        &below_header("<row r=\"0\"><c><v>1</v></c></row>"),
        "its row number is invalid",
    );
    table.bad(
        "deep.xlsx",
        &cell(&"<a>".repeat(10_000)),
        "the limit `nesting` of 256",
    );
    let long = format!("<c r=\"A2\" t=\"str\"><v>{}</v></c>", "x".repeat(2 << 20));
    table.bad(
        "text.xlsx",
        &cell(&long),
        "the limit `text_bytes` of 1048576",
    );
    let attribute = format!("<c r=\"{}\"/>", "x".repeat(2 << 20));
    table.bad(
        "attribute.xlsx",
        &cell(&attribute),
        "the limit `text_bytes` of 1048576",
    );
    // Many cells share a string of 1 MB. Spread over rows it is streamed; in one row it is an error.
    let bomb = |rows: String| {
        Xlsx {
            sheet: sheet(&rows),
            strings: Some(format!(
                "<si><t>A</t></si><si><t>{}</t></si>",
                "x".repeat(1_000_000)
            )),
            ..Xlsx::default()
        }
        .bytes()
    };
    let shown = |r: u32| format!("<row r=\"{r}\"><c r=\"A{r}\" t=\"s\"><v>1</v></c></row>");
    table.good(
        "string-in-rows.xlsx",
        &bomb((1..=2000).map(shown).collect()),
        &format!("{}\n1999 rows", "x".repeat(1_000_000)),
    );
    table.bad(
        "string-in-columns.xlsx",
        &bomb(format!(
            "<row r=\"1\">{}</row>",
            "<c t=\"s\"><v>1</v></c>".repeat(1000)
        )),
        "the limit `row_bytes` of 33554432",
    );
    let mut small = ReadOptions::default();
    small.limits.string_bytes = 1000;
    table.with(
        "strings.xlsx",
        &bomb(String::new()),
        &small,
        Err("the limit `string_bytes` of 1000"),
    );
    let mut few = ReadOptions::default();
    few.limits.cells = 3;
    let rows: String = (2..9)
        .map(|r| format!("<row r=\"{r}\"><c r=\"A{r}\"><v>1</v></c></row>"))
        .collect();
    table.with(
        "cells.xlsx",
        &below_header(&rows),
        &few,
        Err("4 exceeds the limit `cells` of 3"),
    );
}
