//! What xlsx and xlsb have in common: an archive with a part that lists the sheets, and parts that it
//! refers to.

use std::fs::File;
use std::path::Path;

use super::archive::{Archive, Entry, Part};
use super::error::ReadError;
use super::limits::ReadLimits;
use super::options::ReadOptions;
use super::origin;
use super::package;
use super::rows::{Assembler, Halt};
use super::sheet_error::SheetError;
use super::sheet_select::select_sheet;
use super::xml::{self, ScanError, Scanner};

/// A package: the archive of a workbook.
pub(super) struct Package<'a> {
    pub(super) path: &'a Path,
    pub(super) options: &'a ReadOptions,
    pub(super) archive: Archive,
}

/// The main part of a workbook.
#[derive(Default)]
pub(super) struct Workbook {
    pub(super) sheets: Vec<SheetEntry>,
    pub(super) is_1904: bool,
    bytes: usize,
}

impl Workbook {
    /// Adds a sheet, within the limits on lists of parts.
    pub(super) fn add(&mut self, sheet: SheetEntry, limits: &ReadLimits) -> Result<(), ScanError> {
        self.bytes += sheet.name.len() + sheet.relation.len();
        package::check(self.bytes, self.sheets.len(), limits)?;
        self.sheets.push(sheet);
        Ok(())
    }
}

/// A sheet as listed in the main part.
pub(super) struct SheetEntry {
    pub(super) name: String,
    /// The ID of the relationship to its part.
    pub(super) relation: String,
    pub(super) visible: bool,
}

/// The parts from which to read the requested sheet.
pub(super) struct Book {
    pub(super) sheet_name: String,
    pub(super) sheet: Entry,
    pub(super) strings: Option<Entry>,
    pub(super) styles: Option<Entry>,
    pub(super) is_1904: bool,
}

impl<'a> Package<'a> {
    /// An error in the sheet of a book, with its place.
    pub(super) fn halt(&self, book: &Book, error: SheetError) -> Halt {
        error.halt(self.path, &book.sheet_name, |error| {
            xml::error(&self.archive, &book.sheet, error)
        })
    }

    /// Opens the archive.
    pub(super) fn open(
        path: &'a Path,
        mut file: File,
        options: &'a ReadOptions,
    ) -> Result<Package<'a>, ReadError> {
        Ok(Package {
            path,
            options,
            archive: Archive::open(path, &mut file, &options.limits)?,
        })
    }

    /// Finds the parts of the requested sheet, and passes its name and the origin of the workbook to
    /// `rows`. `main` is the usual path of the main part, which `workbook` reads.
    pub(super) fn book(
        &self,
        main: &str,
        workbook: impl FnOnce(&Package<'_>, &Entry) -> Result<Workbook, ReadError>,
        rows: &mut Assembler,
    ) -> Result<Book, ReadError> {
        let (archive, limits) = (&self.archive, &self.options.limits);
        let find = |path: &str| package::find(archive, path);
        let main = package::main_part(archive, limits)?.map_or(main.to_owned(), |main| main.path);
        let missing = || ReadError::malformed(self.path, format!("part `{main}`"), "it is missing");
        let workbook = workbook(self, find(&main).ok_or_else(missing)?)?;
        let relations = package::relations(archive, limits, &main)?;

        let roots = package::relations(archive, limits, "")?;
        let properties = roots
            .iter()
            .find(|r| matches!(&*r.kind, "custom-properties" | "customProperties"));
        if let Some(entry) = properties.and_then(|r| find(&r.target)) {
            rows.origin(self.scan(entry, |scanner| origin::read(scanner, b"property"))?);
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
        let wanted = self.options.sheet.as_ref();
        let sheet = &workbook.sheets[select_sheet(self.path, wanted, &listed)?];
        rows.sheet(&sheet.name);
        let broken =
            |what: &str| ReadError::malformed(self.path, format!("sheet `{}`", sheet.name), what);
        let relation = relations
            .iter()
            .find(|r| r.id == sheet.relation)
            .ok_or_else(|| broken("the workbook does not say which part contains it"))?;
        if relation.kind != "worksheet" {
            return Err(broken(&format!(
                "it is a {}, which has no rows",
                relation.kind
            )));
        }
        let part = find(&relation.target);
        let missing = || broken(&format!("its part `{}` is missing", relation.target));
        let of_kind = |kind: &str| {
            let of = relations.iter().find(|r| r.kind == kind);
            of.and_then(|r| find(&r.target)).cloned()
        };
        Ok(Book {
            sheet_name: sheet.name.clone(),
            sheet: part.ok_or_else(missing)?.clone(),
            strings: of_kind("sharedStrings"),
            styles: of_kind("styles"),
            is_1904: workbook.is_1904,
        })
    }

    /// Runs `read` on a part that is XML.
    pub(super) fn scan<T>(
        &self,
        entry: &Entry,
        read: impl FnOnce(&mut Scanner<Part>) -> Result<T, ScanError>,
    ) -> Result<T, ReadError> {
        xml::scan(&self.archive, entry, &self.options.limits, read)
    }
}
