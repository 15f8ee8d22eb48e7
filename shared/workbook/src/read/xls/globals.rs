//! Reads the globals of a workbook: what applies to all sheets, and where these are. Record numbers are
//! from MS-XLS 2.3.2.

use std::path::Path;

use super::code_page::CodePage;
use super::records::{BEGIN, END, Record, Records, Wrong};
use super::text::Texts;
use crate::read::error::ReadError;
use crate::read::limits::ReadLimits;
use crate::read::string_table::StringTable;
use crate::read::styles::Styles;

const DATE_SYSTEM: u16 = 0x0022;
const CODE_PAGE: u16 = 0x0042;
const AUTHOR: u16 = 0x005c;
const SHEET: u16 = 0x0085;
const CELL_FORMAT: u16 = 0x00e0;
const SHARED_STRINGS: u16 = 0x00fc;
const FORMAT: u16 = 0x041e;

/// The globals.
pub(super) struct Globals {
    pub(super) texts: Texts,
    pub(super) styles: Styles,
    pub(super) strings: StringTable,
    pub(super) sheets: Vec<SheetEntry>,
    pub(super) is_1904: bool,
    /// Whether a program wrote the file that does not calculate formulas, and saves empty texts as
    /// their results.
    pub(super) never_calculated: bool,
}

/// A sheet as listed in the globals.
pub(super) struct SheetEntry {
    pub(super) name: String,
    /// Its offset in the stream.
    pub(super) start: usize,
    pub(super) visible: bool,
    pub(super) kind: SheetKind,
}

/// What a sheet contains.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SheetKind {
    Cells,
    /// Macros of Excel 4, in cells.
    Macros,
    Chart,
    /// Code in Visual Basic.
    Module,
}

/// Why the globals could not be read.
pub(super) enum GlobalsError {
    Read(ReadError),
    Wrong(Wrong),
}

impl From<ReadError> for GlobalsError {
    fn from(error: ReadError) -> GlobalsError {
        GlobalsError::Read(error)
    }
}

impl<W: Into<Wrong>> From<W> for GlobalsError {
    fn from(wrong: W) -> GlobalsError {
        GlobalsError::Wrong(wrong.into())
    }
}

/// The version of a stream.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Version {
    /// Excel 5.0 and Excel 95.
    Biff5,
    /// Excel 97 to Excel 2003.
    Biff8,
}

/// The version that the first record of a stream declares. `None` if it is older.
pub(super) fn version(stream: &[u8]) -> Result<Option<Version>, Wrong> {
    let first = Records::new(stream, 0).next()?;
    match first.id {
        // The starts of Excel 2, 3 and 4.
        0x0009 | 0x0209 | 0x0409 => return Ok(None),
        BEGIN => {}
        _ => return Err("it does not start with the version of Excel".into()),
    }
    Ok(match first.u16(0)? {
        0x0600 => Some(Version::Biff8),
        0x0500 => Some(Version::Biff5),
        0x0200..0x0500 => None,
        _ => return Err("its version of Excel is unknown".into()),
    })
}

/// Reads the globals.
pub(super) fn read(
    path: &Path,
    stream: &[u8],
    version: Version,
    limits: &ReadLimits,
) -> Result<Globals, GlobalsError> {
    let mut globals = Globals {
        texts: match version {
            Version::Biff8 => Texts::Unicode,
            Version::Biff5 => Texts::Bytes(CodePage::new(code_page(stream)?)),
        },
        styles: Styles::default(),
        strings: StringTable::default(),
        sheets: Vec::new(),
        is_1904: false,
        never_calculated: false,
    };
    let mut records = Records::new(stream, 0);
    records.next()?;
    loop {
        let record = records.next()?;
        match record.id {
            DATE_SYSTEM => globals.is_1904 = record.u16(0)? == 1,
            AUTHOR => globals.never_calculated = is_xlwt(&record, version),
            FORMAT => {
                let mut code = String::new();
                let fields = &mut record.fields(2)?;
                match version {
                    Version::Biff8 => globals.texts.long(fields, &mut code)?,
                    Version::Biff5 => globals.texts.short(fields, &mut code)?,
                }
                globals.styles.add_code(record.u16(0)?.into(), code);
            }
            CELL_FORMAT => globals.styles.add_style(record.u16(2)?.into()),
            SHEET => globals.sheets.push(sheet(&globals.texts, &record)?),
            SHARED_STRINGS => strings(path, &mut globals, &record, limits)?,
            END => break,
            _ => {}
        }
    }
    globals.styles.classify();
    Ok(globals)
}

/// The code page of a workbook; that of Windows in Western Europe if the workbook has none.
fn code_page(stream: &[u8]) -> Result<u16, Wrong> {
    let mut records = Records::new(stream, 0);
    loop {
        let record = records.next()?;
        match record.id {
            CODE_PAGE => return record.u16(0),
            END => return Ok(1252),
            _ => {}
        }
    }
}

/// Whether the record with the name of the author is as xlwt writes it: without a length and flags
/// before the name, so that Excel cannot have written the file. xlwt saves an empty text as the result
/// of every formula.
fn is_xlwt(record: &Record<'_>, version: Version) -> bool {
    let valid = |(length, flags): (u16, u8)| length <= 54 && flags <= 1;
    let head = record.u16(0).ok().zip(record.u8(2).ok());
    version == Version::Biff8 && record.body.len() == 112 && !head.is_some_and(valid)
}

fn sheet(texts: &Texts, record: &Record<'_>) -> Result<SheetEntry, Wrong> {
    let mut name = String::new();
    texts.short(&mut record.fields(6)?, &mut name)?;
    Ok(SheetEntry {
        name,
        start: usize::try_from(record.u32(0)?).map_err(|_| "a sheet is beyond the end")?,
        visible: record.u8(4)? & 3 == 0,
        kind: match record.u8(5)? {
            1 => SheetKind::Macros,
            2 => SheetKind::Chart,
            6 => SheetKind::Module,
            _ => SheetKind::Cells,
        },
    })
}

/// Reads the shared strings. The record says how many there are, but not every program counts right.
fn strings(
    path: &Path,
    globals: &mut Globals,
    record: &Record<'_>,
    limits: &ReadLimits,
) -> Result<(), GlobalsError> {
    let declared = u64::from(record.u32(4)?);
    let mut fields = record.fields(8)?;
    let strings = &mut globals.strings;
    let mut count = 0u64;
    while !fields.is_empty() {
        let start = strings.text.len();
        if let Err(wrong) = globals.texts.long(&mut fields, &mut strings.text) {
            strings.text.truncate(start);
            if count >= declared {
                break;
            }
            return Err(format!("string {count} of the shared strings: {wrong}").into());
        }
        strings.end_string();
        count += 1;
        ReadError::check(path, "string_bytes", strings.bytes(), limits.string_bytes)?;
    }
    Ok(())
}
