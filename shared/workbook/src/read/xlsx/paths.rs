//! Tests that every cell gives the same value on the fast and the slow path, however its bytes arrive.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use proptest::prelude::*;

use super::cell::SheetContext;
use super::sheet;
use super::{strings, styles};
use crate::read::options::ReadOptions;
use crate::read::rows::{Assembler, Halt, RowMessage};
use crate::read::sheet_error::SheetError;
use crate::read::sink::Cell;
use crate::read::xml::Scanner;

/// Returns at most `step` bytes per read.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let length = self.step.min(to.len());
        self.bytes.read(&mut to[..length])
    }
}

fn scanner(xml: &str, step: usize) -> Scanner<Trickle<'_>> {
    let bytes = xml.as_bytes();
    Scanner::new(Trickle { bytes, step }, 1 << 20, 64)
}

/// The cells below the header, or what is wrong.
fn cells(rows: &str, step: usize) -> Result<Vec<Cell>, String> {
    let strings = "<sst><si><t>a</t></si><si><t/></si><si><t> b &amp;</t></si></sst>";
    let strings = strings::read(&mut scanner(strings, 4096), 1 << 20).unwrap();
    let styles = "<styleSheet><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/>\
                  <xf numFmtId=\"46\"/></cellXfs></styleSheet>";
    let styles = styles::read(&mut scanner(styles, 4096)).unwrap();
    let book = SheetContext {
        strings: &strings,
        styles: &styles,
        is_1904: false,
    };
    let (to_sink, from_reader) = mpsc::sync_channel(64);
    let (_keep, returned) = mpsc::sync_channel(1);
    let (path, options) = (Path::new("x.xlsx"), ReadOptions::default());
    let mut assembler = Assembler::new(path, &options, to_sink, returned);
    let header = "<row r=\"1\"><c r=\"A1\" t=\"str\"><v>A</v></c></row>";
    let xml = format!("<worksheet><sheetData>{header}{rows}</sheetData></worksheet>");
    let read = sheet::read(
        &mut scanner(&xml, step),
        path,
        &options,
        &book,
        &mut assembler,
    );
    match read {
        Ok(_) => {}
        Err(SheetError::Cell(row, column, what)) => return Err(format!("{row} {column} {what}")),
        Err(SheetError::Scan(error)) => return Err(error.to_string()),
        Err(SheetError::Halt(Halt::Failed(error) | Halt::Unordered(error))) => {
            return Err(error.to_string());
        }
        Err(SheetError::Halt(Halt::SinkDone)) => return Err("the sink is done".to_owned()),
    }
    assembler.finish(&|_| None).unwrap();
    drop(assembler);
    let messages = from_reader.iter().filter_map(|message| match message {
        RowMessage::Rows(batch) => Some(batch.cells),
        _ => None,
    });
    Ok(messages.flatten().collect())
}

/// The parts of a cell.
#[derive(Clone, Debug)]
struct Parts {
    kind: &'static str,
    style: u8,
    /// Its `<f>`, if any.
    formula: &'static str,
    content: String,
    preserve: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    let kinds = ["", "n", "s", "str", "inlineStr", "b", "e", "d"];
    let formulas = [
        "",
        "",
        "<f>1+1</f>",
        "<f t=\"shared\" si=\"0\"/>",
        "<f></f>",
    ];
    let content = prop_oneof![
        Just(String::new()),
        (0..4u8).prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        Just("45352".to_owned()),
        Just("2024-03-01T06:00:00Z".to_owned()),
        Just("#DIV/0!".to_owned()),
        "(&amp;|&#32;|&#49;|&#13;|&lt;|_x0041_|_x000D_|[ \t\r\n]|[a-z0-9.Eä+-]){0,6}",
    ];
    let select = proptest::sample::select;
    (
        select(kinds.to_vec()),
        0..4u8,
        select(formulas.to_vec()),
        content,
        any::<bool>(),
    )
        .prop_map(|(kind, style, formula, content, preserve)| Parts {
            kind,
            style,
            formula,
            content,
            preserve,
        })
}

impl Parts {
    fn content(&self, prefix: &str, blank: &str) -> String {
        let (p, content) = (prefix, &self.content);
        if self.kind == "inlineStr" {
            let space = match self.preserve {
                true => " xml:space=\"preserve\"",
                false => "",
            };
            return format!("<{p}is><{p}t{space}>{content}</{p}t{blank}></{p}is>");
        }
        format!("<{p}v>{content}</{p}v{blank}>")
    }

    fn kind(&self) -> String {
        match self.kind {
            "" => String::new(),
            kind => format!(" t=\"{kind}\""),
        }
    }

    /// The cell in the notation that the fast path knows.
    fn usual(&self, row: usize) -> String {
        let (kind, style, formula) = (self.kind(), self.style, self.formula);
        let content = self.content("", "");
        format!("<c r=\"A{row}\" s=\"{style}\"{kind}>{formula}{content}</c>")
    }

    /// The same cell in notations that it does not know.
    fn unusual(&self, row: usize, notation: u8) -> String {
        let (kind, style, formula) = (self.kind(), self.style, self.formula);
        let quoted = format!(" t='{}'", self.kind);
        let quoted = if self.kind.is_empty() { "" } else { &quoted };
        let usual = self.content("", "");
        match notation {
            0 => format!("<c r='A{row}' s='{style}'{quoted}>{formula}{usual}</c>"),
            1 => {
                format!("<c r=\"A{row}\" s=\"{style}\"{kind}>{formula}<!-- <v>7</v> -->{usual}</c>")
            }
            2 => format!("<c r=\"A{row}\" s=\"{style}\"{kind}>\n{formula}\n{usual}\n</c >"),
            3 => format!("<c  r=\"A{row}\" cm=\"1\"{kind} s=\"{style}\">{formula}{usual}</c>"),
            4 => {
                let content = self.content("", " ");
                format!("<c{kind} s=\"{style}\" r=\"A{row}\">{formula}{content}</c>")
            }
            _ => {
                let formula = formula.replace("<f", "<x:f").replace("</f", "</x:f");
                let content = self.content("x:", "");
                format!("<x:c r=\"A{row}\" s=\"{style}\"{kind}>{formula}{content}</x:c>")
            }
        }
    }
}

/// The rows of a sheet with one cell each, from row 2.
fn rows(all: &[Parts], cell: impl Fn(&Parts, usize) -> String) -> String {
    let rows = all.iter().zip(2..);
    rows.map(|(parts, row)| format!("<row r=\"{row}\">{}</row>", cell(parts, row)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn both_paths_read_any_cell_alike(parts in parts(), notation in 0..6u8) {
        let all = [parts];
        let fast = cells(&rows(&all, Parts::usual), 1 << 16);
        let slow = cells(&rows(&all, |p, row| p.unusual(row, notation)), 1 << 16);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn cells_do_not_depend_on_how_their_bytes_arrive(
        all in proptest::collection::vec(parts(), 1..4),
        step in prop_oneof![Just(1usize), Just(7), 1..200usize],
    ) {
        let rows = rows(&all, Parts::usual);
        prop_assert_eq!(cells(&rows, 1 << 16), cells(&rows, step));
    }
}

#[test]
fn a_formula_without_a_result_is_an_error_on_both_paths() {
    for kind in ["", "n", "s", "b", "e", "d"] {
        for content in ["", " ", "\n"] {
            let parts = Parts {
                kind,
                style: 0,
                formula: "<f>1+1</f>",
                content: content.to_owned(),
                preserve: false,
            };
            for xml in [parts.usual(2), parts.unusual(2, 0)] {
                let got = cells(&format!("<row r=\"2\">{xml}</row>"), 4096);
                assert!(
                    matches!(got.as_deref(), Ok([Cell::Error(_)])),
                    "{xml}: {got:?}"
                );
            }
        }
    }
}
