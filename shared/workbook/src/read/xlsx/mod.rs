//! Streams xlsx and xlsm. docs/decisions/0015-own-readers.md explains why this is not left to a
//! library.

mod cell;
mod escapes;
mod merges;
mod order;
#[cfg(test)]
mod paths;
mod sheet;
mod strings;
mod styles;

use std::fs::File;
use std::path::Path;

use super::archive::Entry;
use super::book::{Package, SheetEntry, Workbook};
use super::error::ReadError;
use super::options::ReadOptions;
use super::rows::{Assembler, Halt};
use super::sheet_error::SheetError;
use super::sink::ReadSummary;
use super::string_table::StringTable;
use super::styles::Styles;
use super::xml::{self, Event, Scanner};
use cell::SheetContext;
use order::Sorted;

pub(crate) fn read(
    path: &Path,
    file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let package = Package::open(path, file, options)?;
    let book = package.book("xl/workbook.xml", workbook, rows)?;
    let strings = match &book.strings {
        Some(entry) => package.scan(entry, |scanner| {
            strings::read(scanner, options.limits.string_bytes)
        })?,
        None => StringTable::default(),
    };
    let styles = match &book.styles {
        Some(entry) => package.scan(entry, styles::read)?,
        None => Styles::default(),
    };
    let context = SheetContext {
        strings: &strings,
        styles: &styles,
        is_1904: book.is_1904,
    };
    let (archive, part, limits) = (
        package.archive.clone(),
        book.sheet.clone(),
        options.limits.clone(),
    );
    rows.merges(Box::new(move |row| {
        xml::scan(&archive, &part, &limits, |scanner| {
            merges::read(scanner, row)
        })
    }));
    let limits = &options.limits;
    let failed = |error: SheetError| package.halt(&book, error);
    let mut scanner = xml::scanner(&package.archive, &book.sheet, limits)?;
    let mut read = sheet::read(&mut scanner, path, options, &context, rows);
    if let Err(SheetError::Halt(Halt::Unordered(why))) = read {
        drop(scanner);
        rows.restart(why)?;
        let part = package.archive.part(&book.sheet)?;
        let sorted = Sorted::new(part, limits).map_err(|error| failed(error.into()))?;
        let mut scanner = Scanner::of_utf8(sorted, limits.text_bytes, limits.nesting);
        read = sheet::read(&mut scanner, path, options, &context, rows);
    }
    let skipped = read.map_err(failed)?;
    let mut summary = rows.finish(&|format| styles.code(format))?;
    summary.hidden(skipped);
    Ok(summary)
}

/// Reads the main part.
fn workbook(package: &Package<'_>, entry: &Entry) -> Result<Workbook, ReadError> {
    package.scan(entry, |scanner| {
        let mut workbook = Workbook::default();
        let mut properties = false;
        loop {
            let (name, attributes, empty) = match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => (name, attributes, empty),
                Event::Eof => return Ok(workbook),
                _ => continue,
            };
            match scanner.local(&name) {
                // Newer versions of Excel keep other elements of these names in extensions.
                b"extLst" | b"Fallback" if !empty => scanner.skip_element()?,
                b"workbookPr" if !properties => {
                    properties = true;
                    let flag = scanner.text_attribute(&attributes, b"date1904");
                    let flag = flag.as_deref().map(str::trim);
                    workbook.is_1904 = matches!(flag, Some("1" | "true" | "on"));
                }
                b"sheet" => {
                    let text = |name| scanner.text_attribute(&attributes, name);
                    let state = text(b"state");
                    let sheet = SheetEntry {
                        name: text(b"name").unwrap_or_default(),
                        relation: text(b"id").unwrap_or_default(),
                        visible: !matches!(state.as_deref(), Some("hidden" | "veryHidden")),
                    };
                    workbook.add(sheet, &package.options.limits)?;
                }
                _ => {}
            }
        }
    })
}
