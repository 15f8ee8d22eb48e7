//! Streams OpenDocument spreadsheets: ods archives and flat documents (fods).

mod cell;
mod format;
#[cfg(test)]
mod paths;
mod styles;
mod table;
mod text;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use chrono::NaiveDate;
use memchr::memmem;
use rowmill_domain::SheetRef;

use super::archive::Archive;
use super::error::ReadError;
use super::foreign::TABLE;
use super::options::ReadOptions;
use super::origin;
use super::rows::{Assembler, Halt};
use super::sheet_error::SheetError;
use super::sheet_select::select_sheet;
use super::sink::ReadSummary;
use super::xml::{self, Event, ScanError, Scanner};
use styles::Styles;
use table::Table;

/// The part of a manifest to examine. Real manifests have a few kilobytes.
const MANIFEST_BYTES: u64 = 16 << 20;
/// What a table costs in the list of tables, in bytes, besides its name.
const PER_TABLE: u64 = 32;

/// Why content could not be read.
enum ContentError {
    Table(SheetError),
    /// The document is not a spreadsheet but of this kind.
    Kind(&'static str),
}

impl<E: Into<SheetError>> From<E> for ContentError {
    fn from(error: E) -> ContentError {
        ContentError::Table(error.into())
    }
}

/// Which table to read.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Visible,
    /// The index, from 0.
    Index(usize),
    Name(&'a str),
}

/// What is needed to read a document.
struct Document<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    styles: Styles,
    /// The day that serial numbers count from, if the document says.
    null_date: Option<NaiveDate>,
    /// The name of each table before the wanted one, and whether it is visible.
    tables: Vec<(String, bool)>,
}

/// Reads an ods archive.
pub(crate) fn read(
    path: &Path,
    mut file: File,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let limits = &options.limits;
    let archive = Archive::open(path, &mut file, limits)?;
    if is_encrypted(&archive)? {
        let file = path.to_owned();
        return Err(ReadError::Encrypted { file }.into());
    }
    let content = archive
        .find("content.xml")
        .ok_or_else(|| ReadError::malformed(path, "part `content.xml`", "it is missing"))?;
    let mut document = Document::new(path, options);
    if let Some(entry) = archive.find("styles.xml") {
        let styles = &mut document.styles;
        xml::scan(&archive, entry, limits, |scanner| {
            styles.read_part(scanner, limits.string_bytes)
        })?;
    }
    if let Some(entry) = archive.find("meta.xml") {
        rows.origin(xml::scan(&archive, entry, limits, |scanner| {
            origin::read(scanner, b"user-defined")
        })?);
    }
    document.read(
        || xml::scanner(&archive, content, limits),
        |error| xml::error(&archive, content, error),
        rows,
    )
}

/// Reads a flat document: the same XML in one file that is not compressed.
pub(crate) fn read_flat(
    path: &Path,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let limits = &options.limits;
    let open = || {
        let mut file = File::open(path).map_err(|e| ReadError::io(path, e))?;
        file.seek(SeekFrom::Start(0))
            .map_err(|e| ReadError::io(path, e))?;
        Ok(Scanner::new(file, limits.text_bytes, limits.nesting))
    };
    Document::new(path, options).read(
        open,
        |error| match error {
            ScanError::Limit(limit, found, allowed) => ReadError::Limit {
                file: path.to_owned(),
                limit,
                found,
                allowed,
            },
            error => ReadError::malformed(path, "document", error),
        },
        rows,
    )
}

/// Whether the manifest says that the file is encrypted. Manifests of old programs declare a document
/// type, which the scanner refuses, so this searches the text.
fn is_encrypted(archive: &Archive) -> Result<bool, ReadError> {
    let Some(entry) = archive.find("META-INF/manifest.xml") else {
        return Ok(false);
    };
    let mut manifest = Vec::new();
    archive
        .part(entry)?
        .take(MANIFEST_BYTES)
        .read_to_end(&mut manifest)
        .map_err(|e| archive.broken(entry, &e))?;
    Ok(memmem::find(&manifest, b"encryption-data").is_some())
}

impl<'a> Document<'a> {
    fn new(path: &'a Path, options: &'a ReadOptions) -> Document<'a> {
        Document {
            path,
            options,
            styles: Styles::default(),
            null_date: None,
            tables: Vec::new(),
        }
    }

    /// Reads the requested table. `open` opens the content, and `error` is the error for content that
    /// could not be scanned.
    fn read<R: Read>(
        mut self,
        open: impl Fn() -> Result<Scanner<R>, ReadError>,
        error: impl Fn(ScanError) -> ReadError,
        rows: &mut Assembler,
    ) -> Result<ReadSummary, Halt> {
        let wanted = match &self.options.sheet {
            None => Wanted::Visible,
            // There is no table number 0, and looking for it lists all tables.
            Some(SheetRef::Index(index)) => {
                Wanted::Index((*index as usize).checked_sub(1).unwrap_or(usize::MAX))
            }
            Some(SheetRef::Name(name)) => Wanted::Name(name),
        };
        let mut skipped = self.content(&mut open()?, wanted, rows);
        if let Ok(None) = skipped {
            // No table has exactly this name. Another spelling may have been among the tables.
            let listed: Vec<(&str, bool)> =
                self.tables.iter().map(|t| (t.0.as_str(), t.1)).collect();
            let index = select_sheet(self.path, self.options.sheet.as_ref(), &listed)?;
            self.tables.clear();
            skipped = self.content(&mut open()?, Wanted::Index(index), rows);
        }
        let skipped = skipped.map_err(|failed| match failed {
            ContentError::Table(failed) => {
                let sheet = self.tables.last().map_or("", |t| t.0.as_str());
                failed.halt(self.path, sheet, error)
            }
            ContentError::Kind(kind) => ReadError::NotAWorkbook {
                file: self.path.to_owned(),
                what: format!("is an OpenDocument {kind}, not a spreadsheet"),
                advice: TABLE,
            }
            .into(),
        })?;
        let codes = self.styles.codes();
        let mut summary = rows.finish(&|id| codes.get(&id).cloned())?;
        summary.hidden(skipped.unwrap_or(0));
        Ok(summary)
    }

    /// Reads the wanted table, and nothing after it. Returns the number of hidden rows that were
    /// skipped, or `None` if there is no such table.
    fn content<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        wanted: Wanted<'_>,
        rows: &mut Assembler,
    ) -> Result<Option<u64>, ContentError> {
        let (mut in_body, mut in_spreadsheet) = (false, false);
        let mut names = 0;
        loop {
            match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => match scanner.local(&name) {
                    b"table" if in_spreadsheet => {
                        let title = scanner.text_attribute(&attributes, b"name");
                        let title = title.unwrap_or_default();
                        names += title.len() as u64 + PER_TABLE;
                        ScanError::check("string_bytes", names, self.options.limits.string_bytes)?;
                        let style = scanner.attribute(&attributes, b"style-name");
                        let visible = style.is_none_or(|style| !self.styles.is_hidden(style));
                        let is_wanted = match wanted {
                            Wanted::Visible => visible,
                            Wanted::Index(index) => index == self.tables.len(),
                            Wanted::Name(wanted) => wanted == title,
                        };
                        if is_wanted {
                            rows.sheet(&title);
                        }
                        self.tables.push((title, visible));
                        if is_wanted {
                            if empty {
                                return Ok(Some(0));
                            }
                            let table = Table::new(
                                self.path,
                                self.options,
                                &self.styles,
                                self.null_date,
                                rows,
                            )?;
                            return Ok(Some(table.read(scanner)?));
                        }
                        if !empty {
                            scanner.skip_element()?;
                        }
                    }
                    b"calculation-settings" if in_spreadsheet => {}
                    b"null-date" if in_spreadsheet => {
                        let date = scanner.text_attribute(&attributes, b"date-value");
                        self.null_date = date.and_then(|date| date.get(..10)?.parse().ok());
                        if !empty {
                            scanner.skip_element()?;
                        }
                    }
                    b"spreadsheet" if in_body && empty => return Ok(None),
                    b"spreadsheet" if in_body => in_spreadsheet = true,
                    other if in_body && !in_spreadsheet => {
                        return Err(ContentError::Kind(match other {
                            b"text" => "text document",
                            b"presentation" => "presentation",
                            b"drawing" => "drawing",
                            b"chart" => "chart",
                            b"database" => "database",
                            _ => "document",
                        }));
                    }
                    b"body" => in_body = !empty,
                    b"styles" | b"automatic-styles" if !empty => {
                        let limit = self.options.limits.string_bytes;
                        self.styles.read(scanner, limit)?;
                    }
                    // The root.
                    b"document-content" | b"document" => {}
                    _ if !empty => scanner.skip_element()?,
                    _ => {}
                },
                Event::End { name } if scanner.local(&name) == b"spreadsheet" => return Ok(None),
                Event::Eof if in_spreadsheet => {
                    return Err(
                        ScanError::Malformed("it is incomplete: an element is not closed").into(),
                    );
                }
                Event::Eof => {
                    return Err(ScanError::Malformed("the element `spreadsheet` is missing").into());
                }
                _ => {}
            }
        }
    }
}
