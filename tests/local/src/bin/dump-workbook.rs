//! Prints a sheet's rows as they are read, as JSON Lines: `dump-workbook FILE [SHEET]`. The first
//! line is the header; a cell is null, `[kind, text]`, or `["error", text]`.
//! `python/openpyxl_equal.py` compares them with what openpyxl reads.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use rowmill_domain::SheetRef;
use rowmill_workbook::{Cell, Header, OutsideCell, ReadOptions, RowSink, read_rows};
use serde_json::{Value, json};

struct Lines<W> {
    out: W,
    width: usize,
}

impl<W: Write> Lines<W> {
    fn line(&mut self, line: &Value) -> ControlFlow<()> {
        match writeln!(self.out, "{line}") {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl<W: Write> RowSink for Lines<W> {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        self.width = header.columns.len();
        self.line(&json!({"row": header.row, "columns": header.columns, "notes": header.notes}))
    }
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        let cells: Vec<Value> = cells.iter().map(shown).collect();
        self.line(&json!({"row": row, "cells": cells}))
    }
    fn overflow(
        &mut self,
        row: u32,
        cells: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        let cells: Vec<Value> = cells.iter().map(shown).collect();
        let outside = outside.iter().map(|c| (c.column.clone(), shown(&c.cell)));
        let outside: serde_json::Map<String, Value> = outside.collect();
        self.line(&json!({"row": row, "cells": cells, "outside": outside}))
    }
    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        for row in first..=last {
            self.line(&json!({"row": row, "cells": vec![Value::Null; self.width]}))?;
        }
        ControlFlow::Continue(())
    }
}

fn shown(cell: &Cell) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Value(value) => json!([value.kind().name(), value.to_text()]),
        Cell::Error(error) => json!(["error", error]),
    }
}

fn main() -> std::process::ExitCode {
    match dump() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn dump() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments
        .next()
        .ok_or("usage: dump-workbook FILE [SHEET]")?;
    let sheet = arguments.next().and_then(|s| s.into_string().ok());
    let options = ReadOptions {
        sheet: sheet.map(SheetRef::Name),
        ..ReadOptions::default()
    };
    let mut lines = Lines {
        out: BufWriter::new(std::io::stdout().lock()),
        width: 0,
    };
    read_rows(file.as_ref(), &options, &mut lines)?;
    lines.out.flush()?;
    Ok(())
}
