//! Reads the cells of a sheet. Record numbers are from MS-XLS 2.3.2.

use std::path::Path;

use rowmill_domain::Value;

use super::globals::Globals;
use super::records::{BEGIN, CONTINUE, END, Record, Records, Wrong};
use crate::read::binary::{error_cell, number_cell, rk, text_cell};
use crate::read::current_row::CurrentRow;
use crate::read::error::ReadError;
use crate::read::header::MergedRange;
use crate::read::options::ReadOptions;
use crate::read::row::NO_RESULT;
use crate::read::rows::{Assembler, Halt};
use crate::read::sink::Cell;

const FORMULA: u16 = 0x0006;
const MULTIPLE_RK: u16 = 0x00bd;
const RICH_LABEL: u16 = 0x00d6;
const MERGED: u16 = 0x00e5;
const SHARED_LABEL: u16 = 0x00fd;
const NUMBER: u16 = 0x0203;
const LABEL: u16 = 0x0204;
const BOOL_OR_ERROR: u16 = 0x0205;
const FORMULA_TEXT: u16 = 0x0207;
const ROW: u16 = 0x0208;
const RK: u16 = 0x027e;

/// Rows per word of the set of hidden rows.
const WORD: usize = 64;

/// Why reading a sheet stopped early.
pub(super) enum SheetError {
    Halt(Halt),
    /// The sheet is malformed.
    Sheet(Wrong),
    /// A cell is malformed: its row and column (from 0), and what is wrong.
    Cell(u16, u16, Wrong),
}

impl From<Halt> for SheetError {
    fn from(halt: Halt) -> SheetError {
        SheetError::Halt(halt)
    }
}

impl From<ReadError> for SheetError {
    fn from(error: ReadError) -> SheetError {
        SheetError::Halt(error.into())
    }
}

impl From<Wrong> for SheetError {
    fn from(wrong: Wrong) -> SheetError {
        SheetError::Sheet(wrong)
    }
}

/// What has to be known about a sheet before its cells are read.
pub(super) struct Survey {
    start: usize,
    /// A bit for each row that is hidden.
    hidden: Vec<u64>,
    pub(super) merges: Vec<MergedRange>,
    /// The rows and offsets of all cell records, by row, if the file has them in another order.
    order: Option<Vec<(u16, u32)>>,
}

impl Survey {
    /// Looks at all records of the sheet that starts at an offset.
    pub(super) fn new(stream: &[u8], start: usize) -> Result<Survey, Wrong> {
        let mut survey = Survey {
            start,
            hidden: vec![0; (usize::from(u16::MAX) + 1) / WORD],
            merges: Vec::new(),
            order: None,
        };
        let mut cells = Cells::new(stream, start)?;
        let (mut last, mut ordered) = (0, true);
        while let Some(record) = cells.next()? {
            match record.id {
                // Bit 5 of its flags says that it is hidden.
                ROW if record.u8(12)? & 0x20 != 0 => {
                    let row = usize::from(record.u16(0)?);
                    survey.hidden[row / WORD] |= 1 << (row % WORD);
                }
                MERGED => survey.merges.extend(merged(&record)),
                id if is_cell(id) => {
                    let row = record.u16(0)?;
                    ordered &= row >= last;
                    last = row;
                }
                _ => {}
            }
        }
        if !ordered {
            let mut order = Vec::new();
            let mut cells = Cells::new(stream, start)?;
            while let Some(record) = cells.next()? {
                if is_cell(record.id) {
                    let at = u32::try_from(record.at).map_err(|_| "the workbook is too large")?;
                    order.push((record.u16(0)?, at));
                }
            }
            // Of a cell that is repeated the last one counts, so the order within a row is kept.
            order.sort_by_key(|(row, _)| *row);
            survey.order = Some(order);
        }
        Ok(survey)
    }

    /// The number of records that had to be sorted.
    pub(super) fn sorted(&self) -> usize {
        self.order.as_ref().map_or(0, Vec::len)
    }

    fn is_hidden(&self, row: u16) -> bool {
        let row = usize::from(row);
        self.hidden[row / WORD] >> (row % WORD) & 1 != 0
    }
}

/// The merged ranges of a record, up to the first that is incomplete.
fn merged<'a>(record: &'a Record<'_>) -> impl Iterator<Item = MergedRange> + 'a {
    (0..usize::from(record.u16(0).unwrap_or(0))).map_while(|range| {
        let word = |at: usize| record.u16(2 + 8 * range + 2 * at).map(u32::from).ok();
        Some(MergedRange {
            rows: (word(0)?, word(1)?),
            columns: (word(2)?, word(3)?),
        })
    })
}

/// Whether a record holds cells that have values. All of these start with a row and a column.
fn is_cell(id: u16) -> bool {
    matches!(
        id,
        FORMULA | MULTIPLE_RK | RICH_LABEL | SHARED_LABEL | NUMBER | LABEL | BOOL_OR_ERROR | RK
    )
}

/// The records of a sheet, without those of the charts in it.
struct Cells<'a> {
    records: Records<'a>,
    depth: u32,
}

impl<'a> Cells<'a> {
    fn new(stream: &'a [u8], start: usize) -> Result<Cells<'a>, Wrong> {
        let mut records = Records::new(stream, start);
        match records.next() {
            Ok(first) if first.id == BEGIN => Ok(Cells { records, depth: 0 }),
            _ => Err("it is not where the workbook says that it starts".into()),
        }
    }

    /// The next record; `None` at the end of the sheet.
    fn next(&mut self) -> Result<Option<Record<'a>>, Wrong> {
        loop {
            let record = self.records.next()?;
            match record.id {
                BEGIN => self.depth += 1,
                END if self.depth == 0 => return Ok(None),
                END => self.depth -= 1,
                _ if self.depth == 0 => return Ok(Some(record)),
                _ => {}
            }
        }
    }
}

/// Reads all rows. Returns the number of hidden rows that were skipped.
pub(super) fn read(
    path: &Path,
    stream: &[u8],
    survey: &Survey,
    globals: &Globals,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<u64, SheetError> {
    let mut sheet = Sheet {
        path,
        globals,
        text_bytes: options.limits.text_bytes,
        row: CurrentRow::new(path, options),
    };
    let mut current = None;
    let mut add = |record: &Record<'_>| {
        let row = record.u16(0)?;
        if current != Some(row) {
            sheet.row.start(row.into(), survey.is_hidden(row), rows)?;
            current = Some(row);
        }
        sheet.add(record)
    };
    match &survey.order {
        Some(order) => {
            for (_, at) in order {
                add(&Records::new(stream, *at as usize).next()?)?;
            }
        }
        None => {
            let mut cells = Cells::new(stream, survey.start)?;
            while let Some(record) = cells.next()? {
                if is_cell(record.id) {
                    add(&record)?;
                }
            }
        }
    }
    sheet.row.end(rows)?;
    Ok(sheet.row.skipped)
}

struct Sheet<'a> {
    path: &'a Path,
    globals: &'a Globals,
    text_bytes: u64,
    row: CurrentRow,
}

impl Sheet<'_> {
    /// Adds the cells of a record to the row.
    fn add(&mut self, record: &Record<'_>) -> Result<(), SheetError> {
        let (row, column) = (record.u16(0)?, record.u16(2)?);
        if record.id == MULTIPLE_RK {
            // The column of the last cell is at the end.
            let count = record.body.len().saturating_sub(6) / 6;
            for at in 0..count {
                let style = record.u16(4 + 6 * at)?;
                let number = rk(record.u32(6 + 6 * at)?);
                let column = u32::from(column) + at as u32;
                let cell = self.number(number, style);
                self.push(column, style, cell)?;
            }
            return Ok(());
        }
        let style = record.u16(4)?;
        let cell = self.cell(record, style);
        let cell = cell.map_err(|wrong| SheetError::Cell(row, column, wrong))?;
        self.push(column.into(), style, cell)
    }

    fn push(&mut self, column: u32, style: u16, cell: Cell) -> Result<(), SheetError> {
        if let Cell::Value(Value::Text(text)) = &cell {
            ReadError::check(self.path, "text_bytes", text.len() as u64, self.text_bytes)?;
        }
        let format = self.globals.styles.format(style.into());
        Ok(self.row.cells.push(column, format, cell)?)
    }

    fn number(&self, number: f64, style: u16) -> Cell {
        let kind = self.globals.styles.kind(style.into());
        number_cell(number, kind, self.globals.is_1904)
    }

    /// The cell of a record that holds one.
    fn cell(&mut self, record: &Record<'_>, style: u16) -> Result<Cell, Wrong> {
        Ok(match record.id {
            NUMBER => self.number(record.f64(6)?, style),
            RK => self.number(rk(record.u32(6)?), style),
            BOOL_OR_ERROR => match (record.u8(6)?, record.u8(7)?) {
                (value, 0) => Cell::Value(Value::Bool(value != 0)),
                (code, _) => error_cell(code),
            },
            LABEL | RICH_LABEL => {
                let mut text = self.row.cells.pool.take();
                self.globals.texts.long(&mut record.fields(6)?, &mut text)?;
                text_cell(text)
            }
            SHARED_LABEL => {
                let shared = self.globals.strings.get(record.u32(6)? as usize);
                let mut text = self.row.cells.pool.take();
                text.push_str(shared.ok_or("its string is not in the shared string table")?);
                text_cell(text)
            }
            FORMULA => return self.formula(record, style),
            _ => Cell::Empty,
        })
    }

    /// The result of a formula: a number, unless its two upper bytes are set (MS-XLS 2.5.133).
    fn formula(&mut self, record: &Record<'_>, style: u16) -> Result<Cell, Wrong> {
        if record.u16(12)? != 0xffff {
            return Ok(self.number(record.f64(6)?, style));
        }
        let no_result = || Cell::Error(NO_RESULT.to_owned());
        let value = record.u8(8)?;
        Ok(match record.u8(6)? {
            0 => match formula_text(record)? {
                Some(result) => {
                    let mut text = self.row.cells.pool.take();
                    self.globals.texts.long(&mut result.fields(0)?, &mut text)?;
                    text_cell(text)
                }
                None => no_result(),
            },
            1 => Cell::Value(Value::Bool(value != 0)),
            2 => error_cell(value),
            3 if !self.globals.never_calculated => Cell::Empty,
            _ => no_result(),
        })
    }
}

/// The record with the text that a formula results in. It follows that of the formula, or those of an
/// array, a table or a formula that several cells share.
fn formula_text<'a>(formula: &Record<'a>) -> Result<Option<Record<'a>>, Wrong> {
    let mut records = formula.rest.clone();
    loop {
        let record = records.next()?;
        match record.id {
            FORMULA_TEXT => return Ok(Some(record)),
            0x0221 | 0x0236 | 0x04bc | CONTINUE => {}
            _ => return Ok(None),
        }
    }
}
