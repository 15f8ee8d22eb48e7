//! Reads the cells of a sheet.

use std::io::Read;
use std::path::Path;

use super::records::{Body, Records, Wrong};
use crate::read::binary::{error_cell, number_cell, rk, text_cell};
use crate::read::current_row::CurrentRow;
use crate::read::header::{MERGES_MAX, MergedRange};
use crate::read::options::ReadOptions;
use crate::read::row::TextPool;
use crate::read::rows::Assembler;
use crate::read::sheet_error::SheetError;
use crate::read::sink::Cell;
use crate::read::string_table::StringTable;
use crate::read::styles::Styles;
use crate::read::xml::ScanError;
use rowmill_domain::Value;

const ROW: u16 = 0;
const BEGIN_CELLS: u16 = 145;
const END_CELLS: u16 = 146;
const MERGED: u16 = 176;
const END_MERGED: u16 = 178;

/// The tables that cells refer to.
pub(super) struct SheetContext<'a> {
    pub(super) strings: &'a StringTable,
    pub(super) styles: &'a Styles,
    pub(super) is_1904: bool,
}

/// How a record stores the value of its cell.
enum Stored {
    Blank,
    Rk,
    Error,
    Bool,
    Real,
    Text,
    Shared,
    Rich,
}

/// How a cell record stores its value, and whether it is a short one, which has no column: its column
/// is the next one.
fn stored(id: u16) -> Option<(Stored, bool)> {
    Some(match id {
        1 => (Stored::Blank, false),
        2 => (Stored::Rk, false),
        // 8 to 11 are formulas. They start like the cells of their results.
        3 | 11 => (Stored::Error, false),
        4 | 10 => (Stored::Bool, false),
        5 | 9 => (Stored::Real, false),
        6 | 8 => (Stored::Text, false),
        7 => (Stored::Shared, false),
        12 => (Stored::Blank, true),
        13 => (Stored::Rk, true),
        14 => (Stored::Error, true),
        15 => (Stored::Bool, true),
        16 => (Stored::Real, true),
        17 => (Stored::Text, true),
        18 => (Stored::Shared, true),
        62 => (Stored::Rich, false),
        _ => return None,
    })
}

/// Reads all rows. Returns the number of hidden rows that were skipped.
pub(super) fn read<R: Read>(
    records: &mut Records<R>,
    path: &Path,
    options: &ReadOptions,
    context: &SheetContext<'_>,
    rows: &mut Assembler,
) -> Result<u64, SheetError> {
    // Skip what precedes the cells: views, columns.
    loop {
        match records.next()? {
            Some(record) if record.id == BEGIN_CELLS => break,
            Some(_) => {}
            None => return Err(ScanError::Malformed("it contains no table of cells").into()),
        }
    }
    let mut row = CurrentRow::new(path, options);
    let mut next = 0u32;
    let incomplete = "it is incomplete: it ends inside the rows";
    loop {
        let record = records.next()?.ok_or(ScanError::Malformed(incomplete))?;
        let body = record.body;
        if record.id == END_CELLS {
            row.end(rows)?;
            return Ok(row.skipped);
        }
        if record.id == ROW {
            let index = body.u32(0).map_err(ScanError::from)?;
            let hidden = body.u8(11).unwrap_or(0) & 0x10 != 0;
            row.start(index, hidden, rows)?;
            next = 0;
            continue;
        }
        let Some((stored, short)) = stored(record.id) else {
            continue;
        };
        let column = match short {
            true => next,
            false => body.u32(0).map_err(ScanError::from)?,
        };
        next = column.saturating_add(1);
        let at = if short { 4 } else { 8 };
        let style = body.u32(at - 4).map_err(ScanError::from)? & 0x00ff_ffff;
        let cell = context.cell(stored, body, at, style, &mut row.cells.pool);
        let cell = cell.map_err(|wrong| match wrong {
            Wrong::Malformed(what) => SheetError::Cell(row.index, column, what),
            long => ScanError::from(long).into(),
        })?;
        row.cells.push(column, context.styles.format(style), cell)?;
    }
}

impl SheetContext<'_> {
    /// The cell whose value is at offset `at`.
    fn cell(
        &self,
        stored: Stored,
        body: Body<'_>,
        at: usize,
        style: u32,
        pool: &mut TextPool,
    ) -> Result<Cell, Wrong> {
        let number = |number| number_cell(number, self.styles.kind(style), self.is_1904);
        Ok(match stored {
            Stored::Blank => Cell::Empty,
            Stored::Rk => number(rk(body.u32(at)?)),
            Stored::Real => number(body.f64(at)?),
            Stored::Error => error_cell(body.u8(at)?),
            Stored::Bool => Cell::Value(Value::Bool(body.u8(at)? != 0)),
            Stored::Text | Stored::Rich => {
                // A rich text starts with flags. Its runs follow it.
                let at = at + usize::from(matches!(stored, Stored::Rich));
                let mut text = pool.take();
                body.text(at, &mut text)?;
                text_cell(text)
            }
            Stored::Shared => {
                let shared = self.strings.get(body.u32(at)? as usize);
                let missing = "its string is not in the shared string table";
                let mut text = pool.take();
                text.push_str(shared.ok_or(Wrong::Malformed(missing))?);
                text_cell(text)
            }
        })
    }
}

/// The merged ranges that start in a row (from 0). The file lists them after the cells.
pub(super) fn merges<R: Read>(
    records: &mut Records<R>,
    row: u32,
) -> Result<Vec<MergedRange>, ScanError> {
    let mut merges = Vec::new();
    while let Some(record) = records.next()? {
        let body = record.body;
        match record.id {
            MERGED if body.u32(0)? == row && merges.len() < MERGES_MAX => {
                merges.push(MergedRange {
                    rows: (row, body.u32(4)?),
                    columns: (body.u32(8)?, body.u32(12)?),
                })
            }
            END_MERGED => break,
            _ => {}
        }
    }
    Ok(merges)
}
