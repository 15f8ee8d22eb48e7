//! Reads xls: BIFF5 and BIFF8 (Excel 5.0 to Excel 2003) in a compound file, which is loaded into memory.
//! The cells of the requested sheet are streamed.

mod code_page;
mod decrypt;
mod globals;
mod properties;
mod records;
mod sheet;
mod text;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::compound::Compound;
use super::error::ReadError;
use super::foreign::SAVE;
use super::options::ReadOptions;
use super::reference::column_letters;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::{Origin, ReadSummary};
use globals::{Globals, GlobalsError, SheetEntry, SheetKind};
use records::Wrong;
use sheet::{SheetError, Survey};

pub(crate) fn read(
    path: &Path,
    file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let malformed = |wrong: Wrong| ReadError::malformed(path, "workbook", wrong);
    let (mut stream, origin) = stream(path, file, options)?;
    let Some(version) = globals::version(&stream).map_err(malformed)? else {
        return Err(ReadError::NotAWorkbook {
            file: path.to_owned(),
            what: "is a workbook of Excel 2, 3 or 4, which is not supported".to_owned(),
            advice: SAVE,
        }
        .into());
    };
    if !decrypt::decrypt(&mut stream, version).map_err(malformed)? {
        let file = path.to_owned();
        return Err(ReadError::Encrypted { file }.into());
    }
    let globals = globals::read(path, &stream, version, &options.limits);
    let globals = globals.map_err(|error| match error {
        GlobalsError::Read(error) => error,
        GlobalsError::Wrong(wrong) => malformed(wrong),
    })?;
    let entry = select(path, options, &globals)?;
    rows.sheet(&entry.name);
    rows.origin(origin);
    let place = format!("sheet `{}`", entry.name);
    let broken = |wrong: Wrong| ReadError::malformed(path, place.as_str(), wrong);
    match entry.kind {
        SheetKind::Cells | SheetKind::Macros => {}
        SheetKind::Chart => return Err(broken("it is a chart, which has no rows".into()).into()),
        SheetKind::Module => return Err(broken("it is a module, which has no rows".into()).into()),
    }
    let mut survey = Survey::new(&stream, entry.start).map_err(broken)?;
    let sorted = survey.sorted() as u64;
    ReadError::check(path, "whole_cells", sorted, options.limits.whole_cells)?;
    let merges = std::mem::take(&mut survey.merges);
    rows.merges(Box::new(move |row| {
        let begin = merges.iter().filter(|merged| merged.rows.0 == row);
        Ok(begin.copied().collect())
    }));
    let skipped = sheet::read(path, &stream, &survey, &globals, options, rows);
    let skipped = skipped.map_err(|error| match error {
        SheetError::Halt(halt) => halt,
        SheetError::Sheet(wrong) => broken(wrong).into(),
        SheetError::Cell(row, column, wrong) => {
            let letters = column_letters(column.into());
            let at = format!("{place}, cell {letters}{}", u32::from(row) + 1);
            ReadError::malformed(path, at, wrong).into()
        }
    })?;
    let mut summary = rows.finish(&|format| globals.styles.code(format))?;
    summary.hidden(skipped);
    Ok(summary)
}

/// The stream of the workbook, and its origin. If a file has a stream for each version, that of BIFF8.
fn stream(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
) -> Result<(Vec<u8>, Option<Origin>), ReadError> {
    let size = file.metadata().map_err(|e| ReadError::io(path, e))?.len();
    ReadError::check(path, "whole_bytes", size, options.limits.whole_bytes)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(|e| ReadError::io(path, e))?;
    let damaged = || ReadError::malformed(path, "compound file", "it is damaged");
    let compound = Compound::open(&bytes).ok_or_else(damaged)?;
    let stream = |name| Some((name, compound.stream(name)?));
    let (name, stream) = stream("Workbook")
        .or_else(|| stream("Book"))
        .ok_or_else(damaged)?;
    let origin = match properties::find(&compound, name) {
        Some(at) => properties::origin(bytes, at)
            .map_err(|wrong| ReadError::malformed(path, "workbook", wrong))?,
        None => None,
    };
    Ok((stream, origin))
}

/// The requested sheet, or the first visible one that has cells.
fn select<'a>(
    path: &Path,
    options: &ReadOptions,
    globals: &'a Globals,
) -> Result<&'a SheetEntry, ReadError> {
    let has_rows = |sheet: &SheetEntry| sheet.visible && sheet.kind == SheetKind::Cells;
    let some_have = globals.sheets.iter().any(has_rows);
    let listed: Vec<(&str, bool)> = globals
        .sheets
        .iter()
        .map(|s| (s.name.as_str(), s.visible && (has_rows(s) || !some_have)))
        .collect();
    let at = select_sheet(path, options.sheet.as_ref(), &listed)?;
    Ok(&globals.sheets[at])
}
