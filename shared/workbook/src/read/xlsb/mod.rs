//! Streams xlsb: the parts of xlsx with records instead of XML. Record numbers are from MS-XLSB 2.3.2.

mod records;
mod sheet;

use std::fs::File;
use std::path::Path;

use super::archive::{Archive, Entry, Part};
use super::book::{Package, SheetEntry, Workbook};
use super::error::ReadError;
use super::limits::ReadLimits;
use super::options::ReadOptions;
use super::rows::{Assembler, Halt};
use super::sink::ReadSummary;
use super::string_table::StringTable;
use super::styles::Styles;
use super::xml::{self, ScanError};
use records::Records;
use sheet::SheetContext;

const WORKBOOK_PROPERTIES: u16 = 153;
const LISTED_SHEET: u16 = 156;
const SHARED_STRING: u16 = 19;
const FORMAT: u16 = 44;
const CELL_FORMAT: u16 = 47;
const BEGIN_FORMATS: u16 = 615;
const END_FORMATS: u16 = 616;
const BEGIN_CELL_FORMATS: u16 = 617;
const END_CELL_FORMATS: u16 = 618;

pub(crate) fn read(
    path: &Path,
    file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let package = Package::open(path, file, options)?;
    let (archive, limits) = (&package.archive, &options.limits);
    let workbook = |_: &Package<'_>, entry: &Entry| {
        scan(archive, entry, limits, |records| workbook(records, limits))
    };
    let book = package.book("xl/workbook.bin", workbook, rows)?;
    let strings = match &book.strings {
        Some(entry) => scan(archive, entry, limits, |records| {
            strings(records, limits.string_bytes)
        })?,
        None => StringTable::default(),
    };
    let styles = match &book.styles {
        Some(entry) => scan(archive, entry, limits, styles)?,
        None => Styles::default(),
    };
    let context = SheetContext {
        strings: &strings,
        styles: &styles,
        is_1904: book.is_1904,
    };
    let (in_archive, part, own) = (archive.clone(), book.sheet.clone(), limits.clone());
    rows.merges(Box::new(move |row| {
        scan(&in_archive, &part, &own, |records| {
            sheet::merges(records, row)
        })
    }));
    let mut records = Records::new(archive.part(&book.sheet)?, limits.text_bytes);
    let skipped = sheet::read(&mut records, path, options, &context, rows)
        .map_err(|error| package.halt(&book, error))?;
    let mut summary = rows.finish(&|format| styles.code(format))?;
    summary.hidden(skipped);
    Ok(summary)
}

/// Runs `read` on a part.
fn scan<T>(
    archive: &Archive,
    entry: &Entry,
    limits: &ReadLimits,
    read: impl FnOnce(&mut Records<Part>) -> Result<T, ScanError>,
) -> Result<T, ReadError> {
    let mut records = Records::new(archive.part(entry)?, limits.text_bytes);
    read(&mut records).map_err(|e| xml::error(archive, entry, e))
}

/// Reads the main part.
fn workbook(records: &mut Records<Part>, limits: &ReadLimits) -> Result<Workbook, ScanError> {
    let mut workbook = Workbook::default();
    let mut properties = false;
    while let Some(record) = records.next()? {
        let body = record.body;
        match record.id {
            WORKBOOK_PROPERTIES if !properties => {
                properties = true;
                workbook.is_1904 = body.u32(0)? & 1 != 0;
            }
            LISTED_SHEET => {
                let (mut relation, mut name) = (String::new(), String::new());
                let at = body.text(8, &mut relation)?;
                body.text(at, &mut name)?;
                let sheet = SheetEntry {
                    name,
                    relation,
                    visible: body.u32(0)? & 3 == 0,
                };
                workbook.add(sheet, limits)?;
            }
            _ => {}
        }
    }
    Ok(workbook)
}

/// Reads the shared strings. Their runs and phonetic hints are ignored.
fn strings(records: &mut Records<Part>, budget: u64) -> Result<StringTable, ScanError> {
    let mut strings = StringTable::default();
    while let Some(record) = records.next()? {
        if record.id == SHARED_STRING {
            record.body.text(1, &mut strings.text)?;
            strings.end_string();
            ScanError::check("string_bytes", strings.bytes(), budget)?;
        }
    }
    Ok(strings)
}

/// Reads the number formats of cells.
fn styles(records: &mut Records<Part>) -> Result<Styles, ScanError> {
    let mut styles = Styles::default();
    // Named styles have formats too, but cells do not refer to them.
    let (mut in_formats, mut in_cells) = (false, false);
    while let Some(record) = records.next()? {
        match record.id {
            BEGIN_FORMATS => in_formats = true,
            END_FORMATS => in_formats = false,
            BEGIN_CELL_FORMATS => in_cells = true,
            END_CELL_FORMATS => in_cells = false,
            FORMAT if in_formats => {
                let mut code = String::new();
                record.body.text(2, &mut code)?;
                styles.add_code(u32::from(record.body.u16(0)?), code);
            }
            CELL_FORMAT if in_cells => styles.add_style(u32::from(record.body.u16(2)?)),
            _ => {}
        }
    }
    styles.classify();
    Ok(styles)
}
