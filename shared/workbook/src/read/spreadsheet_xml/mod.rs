//! Streams XML Spreadsheet 2003, which many programs write as `.xls` or `.xml`.

mod formats;
mod sheet;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::ReadError;
use super::options::ReadOptions;
use super::rows::{Assembler, Halt};
use super::sheet_select::select_sheet;
use super::sink::ReadSummary;
use super::xml::{Event, ScanError, Scanner};
use formats::Formats;
use sheet::Sheet;

/// What is before the cells.
#[derive(Default)]
struct Book {
    /// The name of each sheet, and whether it is visible.
    sheets: Vec<(String, bool)>,
    formats: Formats,
    is_1904: bool,
}

pub(crate) fn read(
    path: &Path,
    options: &ReadOptions,
    rows: &mut Assembler,
) -> Result<ReadSummary, Halt> {
    let limits = &options.limits;
    let mut book = Book::default();
    book.read(&mut open(path, options)?, limits.string_bytes)
        .map_err(|error| failed(path, error))?;
    let listed: Vec<(&str, bool)> = book.sheets.iter().map(|s| (s.0.as_str(), s.1)).collect();
    let wanted = select_sheet(path, options.sheet.as_ref(), &listed)?;
    let name = &book.sheets[wanted].0;
    rows.sheet(name);
    let (file, settings) = (path.to_owned(), options.clone());
    rows.merges(Box::new(move |row| {
        let mut scanner = open(&file, &settings)?;
        let find = |scanner: &mut Scanner<File>| match to_sheet(scanner, wanted)? {
            true => sheet::merges(scanner, row),
            false => Ok(Vec::new()),
        };
        find(&mut scanner).map_err(|error| failed(&file, error))
    }));
    let mut scanner = open(path, options)?;
    let mut skipped = 0;
    if to_sheet(&mut scanner, wanted).map_err(|error| failed(path, error))? {
        let sheet = Sheet::new(path, options, &book.formats, book.is_1904);
        skipped = sheet
            .read(&mut scanner, rows)
            .map_err(|error| error.halt(path, name, |error| failed(path, error)))?;
    }
    let mut summary = rows.finish(&|format| book.formats.code(format))?;
    summary.hidden(skipped);
    Ok(summary)
}

fn open(path: &Path, options: &ReadOptions) -> Result<Scanner<File>, ReadError> {
    let file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    let limits = &options.limits;
    Ok(Scanner::new(file, limits.text_bytes, limits.nesting))
}

/// The error for a document that could not be scanned.
fn failed(path: &Path, error: ScanError) -> ReadError {
    match error {
        ScanError::Io(error) => ReadError::io(path, error),
        ScanError::Limit(limit, found, allowed) => ReadError::Limit {
            file: path.to_owned(),
            limit,
            found,
            allowed,
        },
        error => ReadError::malformed(path, "document", error),
    }
}

/// Scans to the start of the sheet with this index. `false` if there is none.
fn to_sheet<R: Read>(scanner: &mut Scanner<R>, wanted: usize) -> Result<bool, ScanError> {
    let mut sheets = 0;
    loop {
        match scanner.next()? {
            Event::Start { name, empty, .. } if scanner.local(&name) == b"Worksheet" => {
                if sheets == wanted {
                    return Ok(!empty);
                }
                sheets += 1;
            }
            Event::Eof => return Ok(false),
            _ => {}
        }
    }
}

impl Book {
    /// Lists sheets and formats. `budget` is the maximum size of their texts.
    fn read<R: Read>(&mut self, scanner: &mut Scanner<R>, budget: u64) -> Result<(), ScanError> {
        let mut bytes = 0;
        loop {
            let (name, attributes, empty) = match scanner.next()? {
                Event::Start {
                    name,
                    attributes,
                    empty,
                } => (name, attributes, empty),
                Event::Eof => return Ok(()),
                _ => continue,
            };
            match scanner.local(&name) {
                b"Styles" if !empty => self.formats.read(scanner, budget)?,
                b"Date1904" => self.is_1904 = true,
                b"Worksheet" => {
                    let name = scanner.text_attribute(&attributes, b"Name");
                    let name = name.unwrap_or_default();
                    bytes += name.len() as u64 + 32;
                    ScanError::check("string_bytes", bytes, budget)?;
                    self.sheets.push((name, true));
                }
                // The cells.
                b"Table" if !empty => scanner.skip_element()?,
                b"Visible" if !empty => {
                    if let Event::Text(text) = scanner.next()?
                        && scanner.bytes(&text).trim_ascii() != b"SheetVisible"
                        && let Some(sheet) = self.sheets.last_mut()
                    {
                        sheet.1 = false;
                    }
                }
                _ => {}
            }
        }
    }
}
