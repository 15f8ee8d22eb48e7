//! Writes the zip archive of the result: the workbook that rust_xlsxwriter wrote (the frame), with the
//! rows inserted into its sheets.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::links::{Link, PLACEHOLDER};
use super::stream::{Deflated, deflate_whole};
use crate::read::{Archive, ReadError, ReadLimits};

/// A 32-bit field with this value refers to the zip64 field.
const FULL: u32 = u32::MAX;

/// A part of the archive, as listed in the directory.
struct PackagePart {
    name: String,
    crc: u32,
    compressed: u64,
    inflated: u64,
    offset: u64,
    deflated: bool,
}

/// The rows of one sheet.
pub(super) struct SheetRows {
    /// The rows below the header.
    pub(super) rows: Deflated,
    /// The range of all cells: `A1:M200001`.
    pub(super) dimension: String,
}

/// Writes the archive to `to`: a copy of the archive at `frame`, in which `sheets` replace the rows
/// below the header of the first sheets, and the targets of their links.
pub(super) fn write(
    frame: &Path,
    to: File,
    sheets: Vec<(SheetRows, Vec<Link>)>,
    level: u32,
) -> io::Result<()> {
    let limits = ReadLimits::default();
    let archive = Archive::open(frame, &mut File::open(frame)?, &limits).map_err(unexpected)?;
    let mut zip = PackageWriter {
        to: BufWriter::with_capacity(1 << 20, to),
        at: 0,
        parts: Vec::new(),
    };
    let (rows, links): (Vec<SheetRows>, Vec<Vec<Link>>) = sheets.into_iter().unzip();
    let mut rows: Vec<Option<SheetRows>> = rows.into_iter().map(Some).collect();
    for entry in archive.entries() {
        let sheet_rows = sheet_index(&entry.name, "xl/worksheets/sheet", ".xml")
            .and_then(|index| rows.get_mut(index)?.take());
        let sheet_links = sheet_index(&entry.name, "xl/worksheets/_rels/sheet", ".xml.rels")
            .and_then(|index| links.get(index))
            .filter(|links| !links.is_empty());
        if let Some(links) = sheet_links {
            let mut xml = String::new();
            archive
                .part(entry)
                .map_err(unexpected)?
                .read_to_string(&mut xml)?;
            zip.relations(&entry.name, &xml, links, level)?;
            continue;
        }
        match sheet_rows {
            None => {
                let mut part = PackagePart {
                    name: entry.name.clone(),
                    crc: entry.crc,
                    compressed: entry.compressed,
                    inflated: entry.inflated,
                    offset: 0,
                    deflated: entry.deflated,
                };
                zip.begin(&mut part)?;
                let mut raw = archive.raw(entry).map_err(unexpected)?;
                zip.copy(&mut raw, part.compressed)?;
                zip.parts.push(part);
            }
            Some(sheet) => {
                let mut xml = String::new();
                archive
                    .part(entry)
                    .map_err(unexpected)?
                    .read_to_string(&mut xml)?;
                zip.sheet(&entry.name, &xml, sheet, level)?;
            }
        }
    }
    zip.end()?.sync_all()
}

/// The index of a sheet, from 0, from the name of a part.
fn sheet_index(name: &str, start: &str, end: &str) -> Option<usize> {
    let number: usize = name.strip_prefix(start)?.strip_suffix(end)?.parse().ok()?;
    number.checked_sub(1)
}

/// Replaces the characters that an XML attribute cannot contain.
fn escaped(address: &str) -> String {
    address
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// The error for a frame that cannot be read. The frame was just written, so this is unexpected.
fn unexpected(error: ReadError) -> io::Error {
    io::Error::other(error)
}

struct PackageWriter {
    to: BufWriter<File>,
    at: u64,
    parts: Vec<PackagePart>,
}

impl PackageWriter {
    /// Writes a sheet: the XML of the frame up to the header row, the rows, the rest of the frame.
    fn sheet(&mut self, name: &str, xml: &str, sheet: SheetRows, level: u32) -> io::Result<()> {
        let unexpected_xml = || io::Error::other("the sheet has an unexpected structure");
        let header_end = xml.find("</row>").ok_or_else(unexpected_xml)? + "</row>".len();
        let tail_start = xml.rfind("</sheetData>").ok_or_else(unexpected_xml)?;
        let mark = "<dimension ref=\"";
        let range_start = xml.find(mark).ok_or_else(unexpected_xml)? + mark.len();
        let range_end = range_start + xml[range_start..].find('"').ok_or_else(unexpected_xml)?;
        let front = [
            &xml[..range_start],
            &sheet.dimension,
            &xml[range_end..header_end],
        ]
        .concat();
        let tail = &xml[tail_start..];

        let (mut before, mut after) = (Vec::new(), Vec::new());
        deflate_whole(front.as_bytes(), level, false, &mut before)?;
        deflate_whole(tail.as_bytes(), level, true, &mut after)?;
        let mut crc = Crc::new();
        crc.update(front.as_bytes());
        crc.combine(&sheet.rows.crc);
        let mut tail_crc = Crc::new();
        tail_crc.update(tail.as_bytes());
        crc.combine(&tail_crc);

        let compressed = before.len() as u64 + sheet.rows.compressed + after.len() as u64;
        let mut part = PackagePart {
            name: name.to_owned(),
            crc: crc.sum(),
            compressed,
            // `Crc` counts bytes modulo 2^32, so add up the sizes here.
            inflated: front.len() as u64 + sheet.rows.bytes + tail.len() as u64,
            offset: 0,
            deflated: true,
        };
        self.begin(&mut part)?;
        self.put(&before)?;
        let mut rows = sheet.rows.file;
        self.copy(&mut rows, sheet.rows.compressed)?;
        self.put(&after)?;
        self.parts.push(part);
        Ok(())
    }

    /// Writes the relations of a sheet with the targets of its links in place of the placeholders.
    fn relations(&mut self, name: &str, xml: &str, links: &[Link], level: u32) -> io::Result<()> {
        let (mut crc, mut inflated) = (Crc::new(), 0);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        let mut write = |text: &str| {
            crc.update(text.as_bytes());
            inflated += text.len() as u64;
            encoder.write_all(text.as_bytes())
        };
        let mark = format!("Target=\"{PLACEHOLDER}");
        let mut rest = xml;
        while let Some(start) = rest.find(&mark) {
            let (before, after) = rest.split_at(start);
            let after = &after[mark.len()..];
            let unexpected_link = || io::Error::other("the sheet has an unexpected link");
            let (n, after) = after.split_once('"').ok_or_else(unexpected_link)?;
            let link = n.parse().ok().and_then(|n: usize| links.get(n));
            let link = link.ok_or_else(unexpected_link)?;
            write(before)?;
            write("Target=\"")?;
            write(&escaped(link.target()))?;
            write("\"")?;
            rest = after;
        }
        write(rest)?;
        let compressed = encoder.finish()?;
        let mut part = PackagePart {
            name: name.to_owned(),
            crc: crc.sum(),
            compressed: compressed.len() as u64,
            inflated,
            offset: 0,
            deflated: true,
        };
        self.begin(&mut part)?;
        self.put(&compressed)?;
        self.parts.push(part);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn copy(&mut self, from: &mut impl Read, bytes: u64) -> io::Result<()> {
        let copied = io::copy(&mut from.take(bytes), &mut self.to)?;
        self.at += copied;
        if copied == bytes {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Writes the local header of a part.
    fn begin(&mut self, part: &mut PackagePart) -> io::Result<()> {
        part.offset = self.at;
        let large = part.compressed >= u64::from(FULL) || part.inflated >= u64::from(FULL);
        let mut header = Vec::new();
        put32(&mut header, 0x0403_4b50);
        common(&mut header, part, large);
        put16(&mut header, if large { 20 } else { 0 });
        header.extend(part.name.as_bytes());
        if large {
            put16(&mut header, 1);
            put16(&mut header, 16);
            put64(&mut header, part.inflated);
            put64(&mut header, part.compressed);
        }
        self.put(&header)
    }

    /// Writes the directory and the end record.
    fn end(mut self) -> io::Result<File> {
        let start = self.at;
        for part in std::mem::take(&mut self.parts) {
            let large = part.compressed >= u64::from(FULL) || part.inflated >= u64::from(FULL);
            let far = part.offset >= u64::from(FULL);
            let mut extra = Vec::new();
            if large {
                put64(&mut extra, part.inflated);
                put64(&mut extra, part.compressed);
            }
            if far {
                put64(&mut extra, part.offset);
            }
            let mut header = Vec::new();
            put32(&mut header, 0x0201_4b50);
            put16(&mut header, 45);
            common(&mut header, &part, large);
            let extra_bytes = if extra.is_empty() { 0 } else { extra.len() + 4 };
            put16(&mut header, extra_bytes as u16);
            // No comment, disk number or attributes.
            header.extend([0; 10]);
            put32(&mut header, if far { FULL } else { part.offset as u32 });
            header.extend(part.name.as_bytes());
            if !extra.is_empty() {
                put16(&mut header, 1);
                put16(&mut header, extra.len() as u16);
                header.extend(extra);
            }
            self.put(&header)?;
            self.parts.push(part);
        }
        let size = self.at - start;
        let count = self.parts.len() as u64;
        let mut end = Vec::new();
        let far = start >= u64::from(FULL);
        if far {
            put32(&mut end, 0x0606_4b50);
            put64(&mut end, 44);
            put16(&mut end, 45);
            put16(&mut end, 45);
            put64(&mut end, 0);
            for number in [count, count, size, start] {
                put64(&mut end, number);
            }
            put32(&mut end, 0x0706_4b50);
            put32(&mut end, 0);
            put64(&mut end, self.at);
            put32(&mut end, 1);
        }
        put32(&mut end, 0x0605_4b50);
        put32(&mut end, 0);
        // The frame has only a few parts.
        put16(&mut end, count as u16);
        put16(&mut end, count as u16);
        put32(&mut end, size as u32);
        put32(&mut end, if far { FULL } else { start as u32 });
        put16(&mut end, 0);
        self.put(&end)?;
        self.to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Writes the fields that both headers of a part share, from the version needed to the length of the
/// name.
fn common(header: &mut Vec<u8>, part: &PackagePart, large: bool) {
    let size = |bytes: u64| if large { FULL } else { bytes as u32 };
    put16(header, if large { 45 } else { 20 });
    put16(header, 0);
    put16(header, if part.deflated { 8 } else { 0 });
    // Midnight on 1 January 1980, so that equal content produces equal files.
    put16(header, 0);
    put16(header, 0x21);
    put32(header, part.crc);
    put32(header, size(part.compressed));
    put32(header, size(part.inflated));
    put16(header, part.name.len() as u16);
}

fn put16(to: &mut Vec<u8>, number: u16) {
    to.extend(number.to_le_bytes());
}

fn put32(to: &mut Vec<u8>, number: u32) {
    to.extend(number.to_le_bytes());
}

fn put64(to: &mut Vec<u8>, number: u64) {
    to.extend(number.to_le_bytes());
}
