//! Detects the format of a file by its content, not by its name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memmem;

use super::archive::Archive;
use super::compound::Compound;
use super::error::ReadError;
use super::limits::ReadLimits;
use super::package::{self, PackageKind};
use super::text_encoding::ByteOrder;

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
    let not = |what: &str| {
        Err(ReadError::NotAWorkbook {
            file: path.to_owned(),
            what: what.to_owned(),
        })
    };
    if let Some(of) = locked_workbook(path)
        && (head.len() as u64) < LOCK_FILE_MAX
    {
        let file = path.to_owned();
        return Err(ReadError::LockFile { file, of });
    }
    let format = match &head[..] {
        [] => return not("is empty"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            let archive = Archive::open(path, file, limits)?;
            match package::main_part(&archive, limits)?.map(|main| main.kind) {
                Some(PackageKind::Workbook) => return Ok(FileFormat::Xlsx),
                Some(PackageKind::BinaryWorkbook) => return Ok(FileFormat::Xlsb),
                Some(PackageKind::Document) => return not("is a Word document"),
                Some(PackageKind::Presentation) => return not("is a PowerPoint presentation"),
                Some(PackageKind::Other) | None => {}
            }
            if archive.find("content.xml").is_some() {
                FileFormat::Ods
            } else if archive.find("encrypted-package").is_some() {
                let file = path.to_owned();
                return Err(ReadError::Encrypted { file });
            } else if archive.has_prefix("Index/") {
                return not("is a Numbers document");
            } else if archive.has_prefix("word/") {
                return not("is a Word document");
            } else {
                return not("is a zip archive that does not contain a workbook");
            }
        }
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => {
            let size = file.metadata().map_err(io)?.len();
            ReadError::check(path, "whole_bytes", size, limits.whole_bytes)?;
            let mut all = Vec::new();
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.read_to_end(&mut all).map_err(io)?;
            let Some(compound) = Compound::open(&all) else {
                return not("is a damaged compound file");
            };
            if compound.contains("EncryptedPackage") {
                return Err(ReadError::Encrypted {
                    file: path.to_owned(),
                });
            }
            if !compound.contains("Workbook") && !compound.contains("Book") {
                return not("is a compound file that does not contain a workbook");
            }
            FileFormat::Xls
        }
        [b'%', b'P', b'D', b'F', ..] => return not("is a PDF document"),
        [0x1f, 0x8b, ..] => return not("is compressed with gzip"),
        [0x09, 0x00 | 0x02 | 0x04 | 0x08, ..] => {
            return not("is a workbook of Excel 2, 3 or 4, which is not supported");
        }
        _ => return text(&head, not),
    };
    Ok(format)
}

fn text(
    head: &[u8],
    not: impl Fn(&str) -> Result<FileFormat, ReadError>,
) -> Result<FileFormat, ReadError> {
    if matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || utf32(head).is_some() {
        return Ok(FileFormat::Delimited);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let start = text.trim_ascii_start().to_ascii_lowercase();
    // A namespace of the root element.
    let open_document = memmem::find(&start, b"opendocument:xmlns:office").is_some();
    if start.starts_with(b"<?xml") && open_document {
        return Ok(FileFormat::Fods);
    }
    if start.starts_with(b"<?xml") || start.starts_with(b"<workbook") {
        return not("is an XML document");
    }
    if start.starts_with(b"<html")
        || start.starts_with(b"<!doctype html")
        || start.starts_with(b"<table")
    {
        return not("is an HTML page");
    }
    let zeros = head.iter().filter(|b| **b == 0).count();
    if zeros == 0 || is_utf16(head, zeros) {
        Ok(FileFormat::Delimited)
    } else {
        not("has an unknown format")
    }
}

/// Whether `head`, which contains `zeros` zero bytes, is UTF-16: in Western text every second byte is
/// zero.
pub(super) fn is_utf16(head: &[u8], zeros: usize) -> bool {
    zeros > 0 && zeros * 5 >= head.len() * 2 && zeros * 5 <= head.len() * 3
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
