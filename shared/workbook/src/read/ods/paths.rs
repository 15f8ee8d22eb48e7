//! Any cell reads the same on the fast path and on the slow path, and however its bytes arrive.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use proptest::prelude::*;

use super::styles::Styles;
use super::table::Table;
use crate::read::options::ReadOptions;
use crate::read::rows::{Assembler, Halt, RowMessage};
use crate::read::sheet_error::SheetError;
use crate::read::sink::Cell;
use crate::read::xml::{Event, Scanner};

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

/// The cells below the header, with their rows, or what is wrong.
fn cells(rows: &str, step: usize) -> Result<Vec<(u32, Cell)>, String> {
    let xml = "<s><number:date-style style:name=\"N1\"/>\
               <number:time-style style:name=\"N2\" number:truncate-on-overflow=\"false\"/>\
               <style:style style:name=\"c1\" style:family=\"table-cell\" style:data-style-name=\"N1\"/>\
               <style:style style:name=\"c2\" style:family=\"table-cell\" style:data-style-name=\"N2\"/></s>";
    let mut source = scanner(xml, 4096);
    source.next().unwrap();
    let mut styles = Styles::default();
    styles.read(&mut source, 1 << 20).unwrap();

    let (to_sink, from_reader) = mpsc::sync_channel(64);
    let (_keep, returned) = mpsc::sync_channel(1);
    // Only its size matters.
    let (path, options) = (Path::new("/"), ReadOptions::default());
    let mut assembler = Assembler::new(path, &options, to_sink, returned);
    let head = "<table:table-cell><text:p>A</text:p></table:table-cell>".repeat(4);
    let xml = format!("<table:table><table:table-row>{head}</table:table-row>{rows}</table:table>");
    let mut source = scanner(&xml, step);
    assert!(matches!(source.next(), Ok(Event::Start { .. })));
    let table = Table::new(path, &options, &styles, None, &mut assembler).unwrap();
    match table.read(&mut source) {
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
        RowMessage::Rows(batch) => Some(batch),
        _ => None,
    });
    let rows = messages.flat_map(|batch| {
        let numbers = batch.numbers.into_iter().flat_map(|row| [row; 4]);
        numbers.zip(batch.cells).collect::<Vec<_>>()
    });
    Ok(rows.collect())
}

/// The parts of a cell.
#[derive(Clone, Debug)]
struct Parts {
    attributes: Vec<(&'static str, String)>,
    text: Option<String>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let select = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        proptest::sample::select(values)
    };
    let kinds = select(&[
        "float",
        "percentage",
        "currency",
        "date",
        "time",
        "boolean",
        "string",
        "void",
        "x",
    ]);
    let value = prop_oneof![
        any::<f64>().prop_map(|n| n.to_string()),
        select(&[
            "45352",
            "0.5",
            "true",
            "x",
            "",
            "2024-03-01",
            "2024-03-01T00:00:00",
            "PT36H"
        ]),
        "(&amp;|&#10;|[ \t\r\n]|[a-z0-9.E-]){0,6}",
    ];
    let text = prop_oneof![
        select(&["#DIV/0!", "#WERT!", "Err:502", "#N/A ", "", "###"]),
        "(&amp;|&#10;|&lt;|[ \t\r\n]|[a-z0-9.#äE-]){0,8}",
    ];
    let one = |names: &'static [&'static str], value: BoxedStrategy<String>| {
        proptest::option::of((proptest::sample::select(names), value))
    };
    let attributes = (
        one(&["office:value-type", "calcext:value-type"], kinds.boxed()),
        one(
            &[
                "office:value",
                "office:date-value",
                "office:time-value",
                "office:boolean-value",
            ],
            value.clone().boxed(),
        ),
        one(&["office:string-value"], value.boxed()),
        one(&["table:formula"], Just("of:=1+1".to_owned()).boxed()),
        one(&["calcext:value-type"], select(&["error", "float"]).boxed()),
        one(&["table:style-name"], select(&["c0", "c1", "c2"]).boxed()),
        one(
            &["table:number-columns-repeated"],
            select(&["1", "2", "0", "x"]).boxed(),
        ),
    );
    (attributes, proptest::option::of(text)).prop_map(|((a, b, c, d, e, f, g), text)| Parts {
        attributes: [a, b, c, d, e, f, g].into_iter().flatten().collect(),
        text,
    })
}

impl Parts {
    fn attributes(&self, quote: char) -> String {
        let all = self.attributes.iter();
        all.map(|(name, value)| format!(" {name}={quote}{value}{quote}"))
            .collect()
    }

    /// The cell in the notation that the fast path knows.
    fn usual(&self) -> String {
        let attributes = self.attributes('"');
        match &self.text {
            None => format!("<table:table-cell{attributes}/>"),
            Some(text) => {
                format!("<table:table-cell{attributes}><text:p>{text}</text:p></table:table-cell>")
            }
        }
    }

    /// The same cell in notations that it does not know.
    fn unusual(&self, notation: u8) -> String {
        let attributes = self.attributes(if notation == 0 { '\'' } else { '"' });
        let (name, p) = match notation {
            1 => ("t:table-cell", "x:p"),
            2 => ("table:covered-table-cell", "text:h"),
            _ => ("table:table-cell", "text:p"),
        };
        let text = match (&self.text, notation) {
            (None, _) => String::new(),
            (Some(text), 3) => format!("\n  <{p}><text:span>{text}</text:span></{p}>\n"),
            (Some(text), 4) => {
                format!("<office:annotation><{p}>#N/A</{p}></office:annotation><{p}>{text}</{p}>")
            }
            (Some(text), _) => format!("<{p} text:style-name=\"P1\">{text}</{p} >"),
        };
        format!("<{name}{attributes}>{text}</{name}>")
    }
}

/// Rows with one cell each.
fn rows(all: &[Parts], cell: impl Fn(&Parts) -> String) -> String {
    let row = |parts| format!("<table:table-row>{}</table:table-row>", cell(parts));
    all.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn both_paths_read_any_cell_alike(parts in parts(), notation in 0..5u8) {
        let all = [parts];
        let fast = cells(&rows(&all, Parts::usual), 1 << 16);
        let slow = cells(&rows(&all, |p| p.unusual(notation)), 1 << 16);
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
