//! Detects the format of a file by its content, not by its name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use rowmill_domain::Delimiter;

use super::archive::Archive;
use super::compound::Compound;
use super::dialect::guess_delimiter;
use super::error::ReadError;
use super::foreign::{self, AGAIN, Foreign, SAVE, TABLE};
use super::limits::ReadLimits;
use super::markup::{Markup, markup};
use super::package::{self, PackageKind};
use super::text_encoding::{ByteOrder, Decoder, TextEncoding};

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Office Open XML: xlsx and xlsm.
    Xlsx,
    /// Office Open XML with binary parts.
    Xlsb,
    /// Excel 5.0 to Excel 2003.
    Xls,
    /// OpenDocument spreadsheet.
    Ods,
    /// OpenDocument spreadsheet in one XML file.
    Fods,
    /// XML Spreadsheet 2003.
    SpreadsheetXml,
    /// An HTML page with a table.
    Html,
    /// Delimited text: csv and tsv.
    Delimited,
}

/// Bytes to examine.
pub(super) const HEAD: u64 = 8192;
/// Lock files contain little more than a user name: those of Excel have 165 bytes, those of
/// LibreOffice about 100.
const LOCK_FILE_MAX: u64 = 1024;

/// The workbook that a lock file belongs to. Excel names lock files `~$x.xlsx`, LibreOffice
/// `.~lock.x.xlsx#`.
fn locked_workbook(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let of = name.strip_prefix("~$").or_else(|| {
        let name = name.strip_prefix(".~lock.")?;
        name.strip_suffix('#')
    });
    of.filter(|of| !of.is_empty()).map(str::to_owned)
}

/// Detects the format of a file by its content.
///
/// # Errors
/// [`ReadError::NotAWorkbook`] if the format is not supported, [`ReadError::LockFile`],
/// [`ReadError::Encrypted`], [`ReadError::Io`], and [`ReadError::Limit`] or [`ReadError::Malformed`]
/// for the directory of an archive.
pub fn detect(path: &Path) -> Result<FileFormat, ReadError> {
    let mut file = File::open(path).map_err(|e| ReadError::io(path, e))?;
    detect_open(path, &mut file, &ReadLimits::default())
}

pub(crate) fn detect_open(
    path: &Path,
    file: &mut File,
    limits: &ReadLimits,
) -> Result<FileFormat, ReadError> {
    let io = |e| ReadError::io(path, e);
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    file.take(HEAD).read_to_end(&mut head).map_err(io)?;
    let not = |foreign: Foreign| {
        Err(ReadError::NotAWorkbook {
            file: path.to_owned(),
            what: foreign.what,
            advice: foreign.advice,
        })
    };
    if let Some(of) = locked_workbook(path)
        && (head.len() as u64) < LOCK_FILE_MAX
    {
        let file = path.to_owned();
        return Err(ReadError::LockFile { file, of });
    }
    let is = |what: &str, advice| not(Foreign::new(what, advice));
    match &head[..] {
        [] => is("is empty", AGAIN),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            let archive = Archive::open(path, file, limits)?;
            match package::main_part(&archive, limits)?.map(|main| main.kind) {
                Some(PackageKind::Workbook) => return Ok(FileFormat::Xlsx),
                Some(PackageKind::BinaryWorkbook) => return Ok(FileFormat::Xlsb),
                Some(PackageKind::Document) => return is("is a Word document", TABLE),
                Some(PackageKind::Presentation) => {
                    return is("is a PowerPoint presentation", TABLE);
                }
                Some(PackageKind::Other) | None => {}
            }
            if archive.find("content.xml").is_some() {
                return Ok(FileFormat::Ods);
            }
            if archive.find("encrypted-package").is_some() {
                let file = path.to_owned();
                return Err(ReadError::Encrypted { file });
            }
            not(foreign::archive(&archive))
        }
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => {
            let size = file.metadata().map_err(io)?.len();
            ReadError::check(path, "whole_bytes", size, limits.whole_bytes)?;
            let mut all = Vec::new();
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.read_to_end(&mut all).map_err(io)?;
            let Some(compound) = Compound::open(&all) else {
                return is(
                    "is a damaged compound file (xls or another Office file)",
                    AGAIN,
                );
            };
            if compound.contains("EncryptedPackage") {
                return Err(ReadError::Encrypted {
                    file: path.to_owned(),
                });
            }
            if compound.contains("Workbook") || compound.contains("Book") {
                return Ok(FileFormat::Xls);
            }
            not(foreign::compound(&compound))
        }
        [0x09, 0x00 | 0x02 | 0x04 | 0x08, ..] => is(
            "is a workbook of Excel 2, 3 or 4, which is not supported",
            SAVE,
        ),
        _ => match foreign::binary(&head) {
            Some(foreign) => not(foreign),
            None => text(path, &head).or_else(not),
        },
    }
}

/// Names of files that are workbooks and not text.
const WORKBOOK_NAMES: [&str; 7] = ["xlsx", "xlsm", "xltx", "xlsb", "xls", "xlt", "ods"];

/// Whether the name of a file says that it is a workbook.
pub(super) fn named_as_workbook(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    WORKBOOK_NAMES
        .iter()
        .any(|name| extension.eq_ignore_ascii_case(name))
}

fn text(path: &Path, head: &[u8]) -> Result<FileFormat, Foreign> {
    let Some(start) = head_text(head) else {
        return Err(Foreign::new("has an unknown format", SAVE));
    };
    match markup(&start) {
        Some(Markup::Html) => return Ok(FileFormat::Html),
        Some(Markup::SpreadsheetXml) => return Ok(FileFormat::SpreadsheetXml),
        Some(Markup::OpenDocument) => return Ok(FileFormat::Fods),
        Some(Markup::Xml(foreign)) => return Err(foreign),
        None => {}
    }
    if let Some(foreign) = foreign::text(&start) {
        return Err(foreign);
    }
    // An error message saved as a workbook would become a column.
    let whole = (head.len() as u64) < HEAD;
    if named_as_workbook(path)
        && guess_delimiter(&start, whole, path).delimiter == Delimiter::None
        && !start.starts_with("sep=")
    {
        return Err(Foreign::new(
            "is plain text of one column and not a workbook, although it is named like one",
            "look at it in a text editor; if it is a list, rename it to .csv and try again",
        ));
    }
    Ok(FileFormat::Delimited)
}

/// The text that a file begins with, without byte order marks. `None` if it is not a text.
fn head_text(head: &[u8]) -> Option<String> {
    let zeros = head.iter().filter(|b| **b == 0).count();
    let encoding = if let Some(order) = utf32(head) {
        TextEncoding::Utf32(order)
    } else if let Some((marked, _)) = Encoding::for_bom(head) {
        TextEncoding::Known(marked)
    } else if let Some(wide) = utf16(head) {
        TextEncoding::Known(wide)
    } else if zeros == 0 || is_text_with_zeros(head) {
        TextEncoding::Known(UTF_8)
    } else {
        return None;
    };
    let mut text = String::new();
    Decoder::new(encoding).decode(head, &mut text, false);
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

/// The byte order of UTF-16 without a byte order mark; `None` if `head` is not UTF-16.
///
/// In Western text every second byte is zero. In other scripts, only those of line ends, digits and
/// delimiters are: then all are in the same half of a unit, and all units are characters of text.
pub(super) fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.get(..HEAD as usize).unwrap_or(head);
    let (units, _) = head.as_chunks::<2>();
    let zeros = |half: usize| units.iter().filter(|unit| unit[half] == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let (all, bytes) = (even + odd, units.len() * 2);
    let order = if odd >= even { UTF_16LE } else { UTF_16BE };
    if all > 0 && all * 5 >= bytes * 2 && all * 5 <= bytes * 3 {
        return Some(order);
    }
    let one_half = all > 1 && even.min(odd) == 0;
    if !one_half || is_text_with_zeros(head) {
        return None;
    }
    let unit = |unit: &[u8; 2]| match order == UTF_16LE {
        true => u16::from_le_bytes(*unit),
        false => u16::from_be_bytes(*unit),
    };
    let mut characters = char::decode_utf16(units.iter().map(unit)).peekable();
    while let Some(character) = characters.next() {
        match character {
            Ok(c) if is_of_text(c) => {}
            // The last character of `head` may be incomplete.
            Err(_) if characters.peek().is_none() => {}
            _ => return None,
        }
    }
    Some(order)
}

/// Whether a character occurs in texts.
fn is_of_text(c: char) -> bool {
    !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1a}' | '\u{85}')
}

/// Whether `head` would be a text in UTF-8 or Windows-1252 if it had no zero bytes. Only few are zero.
fn is_text_with_zeros(head: &[u8]) -> bool {
    let zeros = head.iter().filter(|b| **b == 0).count();
    let text = head.iter().filter(|b| **b != 0);
    // Bytes from 0x80 on are control characters only in encodings that are not used.
    let is_text = |b: &u8| *b >= 0x80 || is_of_text(char::from(*b));
    zeros * 4 < head.len()
        && text.clone().all(is_text)
        && text.filter(|b| **b >= 0x80).count() * 2 < head.len()
}

/// The byte order of UTF-32, with or without a byte order mark; `None` if `head` is not UTF-32.
pub(super) fn utf32(head: &[u8]) -> Option<ByteOrder> {
    let head = head.get(..HEAD as usize).unwrap_or(head);
    let (characters, _) = head.as_chunks::<4>();
    // A single character is too little evidence, and text has no zeros.
    let valid = |order: &ByteOrder| {
        characters.len() > 1
            && characters
                .iter()
                .map(|bytes| order.u32(*bytes))
                .all(|code| code != 0 && char::from_u32(code).is_some())
    };
    [ByteOrder::Little, ByteOrder::Big].into_iter().find(valid)
}
