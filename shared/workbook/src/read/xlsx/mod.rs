//! Streams xlsx and xlsm. docs/decisions/0004-own-xlsx-reader.md explains why this is not left to a
//! library.

mod cell;
mod escapes;
mod merges;
mod origin;
#[cfg(test)]
mod paths;
mod sheet;
mod strings;
mod styles;

use std::fs::File;
use std::path::Path;

use super::archive::{Archive, Entry, Part};
use super::error::ReadError;
use super::options::ReadOptions;
use super::package::{self, Relation};
use super::reference::column_letters;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::ReadSummary;
use super::xml::{self, Event, ScanError, Scanner};
use cell::SheetContext;
use sheet::SheetError;
use strings::Strings;
use styles::Styles;

/// The parts of a workbook.
struct Package<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    archive: Archive,
}

/// A sheet as listed in the workbook.
struct SheetEntry {
    name: String,
    relation: String,
    visible: bool,
}

/// The content of `workbook.xml`.
#[derive(Default)]
struct Workbook {
    sheets: Vec<SheetEntry>,
    is_1904: bool,
}

pub(crate) fn read(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let package = Package {
        path,
        options,
        archive: Archive::open(path, &mut file, &options.limits)?,
    };
    let main = package::main_part(&package.archive, &options.limits)?;
    let main = main.map_or_else(|| "xl/workbook.xml".to_owned(), |main| main.path);
    let workbook = package.workbook(&main)?;
    let relations = package.relations(&main)?;

    let roots = package.relations("")?;
    let properties = roots
        .iter()
        .find(|r| matches!(&*r.kind, "custom-properties" | "customProperties"));
    if let Some(entry) = properties.and_then(|r| package.find(&r.target)) {
        rows.origin(package.scan(entry, origin::read)?);
    }

    // A chart sheet has no rows. It is selected only if requested.
    let has_rows = |s: &SheetEntry| {
        let mut own = relations.iter().filter(|r| r.id == s.relation);
        s.visible && own.any(|r| r.kind == "worksheet")
    };
    let some_have = workbook.sheets.iter().any(has_rows);
    let listed: Vec<(&str, bool)> = workbook
        .sheets
        .iter()
        .map(|s| (s.name.as_str(), s.visible && (has_rows(s) || !some_have)))
        .collect();
    let sheet = &workbook.sheets[select_sheet(path, options.sheet.as_ref(), &listed)?];
    rows.sheet(&sheet.name);
    let place = format!("sheet `{}`", sheet.name);
    let broken = |what: &str| ReadError::malformed(path, place.as_str(), what);
    let relation = relations
        .iter()
        .find(|r| r.id == sheet.relation)
        .ok_or_else(|| broken("the workbook does not say which part contains it"))?;
    if relation.kind != "worksheet" {
        return Err(broken(&format!("it is a {}, which has no rows", relation.kind)).into());
    }

    let of_kind = |kind: &str| relations.iter().find(|r| r.kind == kind);
    let strings = match of_kind("sharedStrings").and_then(|r| package.find(&r.target)) {
        Some(entry) => package.scan(entry, |scanner| {
            Strings::read(scanner, options.limits.string_bytes)
        })?,
        None => Strings::default(),
    };
    let styles = match of_kind("styles").and_then(|r| package.find(&r.target)) {
        Some(entry) => package.scan(entry, Styles::read)?,
        None => Styles::default(),
    };
    let entry = package
        .find(&relation.target)
        .ok_or_else(|| broken(&format!("its part `{}` is missing", relation.target)))?;
    let book = SheetContext {
        strings: &strings,
        styles: &styles,
        is_1904: workbook.is_1904,
    };
    let (archive, part, limits) = (
        package.archive.clone(),
        entry.clone(),
        options.limits.clone(),
    );
    rows.merges(Box::new(move |row| {
        xml::scan(&archive, &part, &limits, |scanner| {
            merges::read(scanner, row)
        })
    }));
    let mut scanner = xml::scanner(&package.archive, entry, &options.limits)?;
    let skipped =
        sheet::read(&mut scanner, path, options, &book, rows).map_err(|error| match error {
            SheetError::Halt(halt) => halt,
            SheetError::Scan(error) => xml::error(&package.archive, entry, error).into(),
            SheetError::Cell(row, column, what) => {
                let at = format!("{place}, cell {}{}", column_letters(column), row + 1);
                ReadError::malformed(path, at, what).into()
            }
        })?;
    let mut summary = rows.finish(&|format| styles.code(format))?;
    if skipped > 0 {
        summary
            .notes
            .push(format!("{skipped} hidden rows were skipped."));
    }
    Ok(summary)
}

impl Package<'_> {
    fn scan<T>(
        &self,
        entry: &Entry,
        read: impl FnOnce(&mut Scanner<Part>) -> Result<T, ScanError>,
    ) -> Result<T, ReadError> {
        xml::scan(&self.archive, entry, &self.options.limits, read)
    }

    fn find(&self, path: &str) -> Option<&Entry> {
        package::find(&self.archive, path)
    }

    fn relations(&self, part: &str) -> Result<Vec<Relation>, ReadError> {
        package::relations(&self.archive, &self.options.limits, part)
    }

    fn workbook(&self, main: &str) -> Result<Workbook, ReadError> {
        let missing = || ReadError::malformed(self.path, format!("part `{main}`"), "it is missing");
        let entry = self.find(main).ok_or_else(missing)?;
        self.scan(entry, |scanner| {
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
                        workbook.sheets.push(SheetEntry {
                            name: text(b"name").unwrap_or_default(),
                            relation: text(b"id").unwrap_or_default(),
                            visible: !matches!(state.as_deref(), Some("hidden" | "veryHidden")),
                        });
                    }
                    _ => {}
                }
            }
        })
    }
}
