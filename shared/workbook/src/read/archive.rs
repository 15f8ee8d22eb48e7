//! Reads untrusted zip archives: checks the directory against the limits before inflating anything,
//! and stops if a part inflates to more than the directory declares.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::bytes::{u16_at, u32_at, u64_at};
use super::error::ReadError;
use super::limits::ReadLimits;

/// Inflated size from which to check the ratio. Below it, even the maximum ratio of deflate is
/// harmless.
pub(crate) const RATIO_FROM: u64 = 64 << 20;
/// Size of a read from the file in bytes.
const FILE_BUFFER: usize = 64 << 10;
/// Size of the end record with the longest possible comment.
const END_MAX: u64 = 22 + 65_535;
/// Maximum size of the directory in bytes. The names in it are as long as the file says.
const DIRECTORY_MAX: u64 = 64 << 20;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const END64_LOCATOR: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// The directory of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    file: PathBuf,
    entries: Vec<Entry>,
}

/// A part of an archive, which is a file in it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The path, as declared in the directory.
    pub name: String,
    /// Whether the part is deflated. If not, it is stored uncompressed.
    pub deflated: bool,
    /// The CRC-32 of the inflated content.
    pub crc: u32,
    /// Size in the archive in bytes.
    pub compressed: u64,
    /// Inflated size in bytes, as declared in the directory.
    pub inflated: u64,
    offset: u64,
}

/// The end record, which locates the directory.
struct End {
    entries: u64,
    size: u64,
    /// Offset of the directory from the start of the file.
    start: u64,
    /// Bytes before the start of the archive, as in a self-extracting file.
    before: u64,
}

impl Archive {
    /// Reads and checks the directory.
    pub(crate) fn open(
        path: &Path,
        file: &mut File,
        limits: &ReadLimits,
    ) -> Result<Archive, ReadError> {
        let broken = |what: &str| ReadError::malformed(path, "zip directory", what);
        let io = |e| ReadError::io(path, e);
        let size = file.metadata().map_err(io)?.len();
        let end = find_end(file, size).map_err(io)?.ok_or_else(|| {
            broken(
                "it is missing: the file is incomplete, as after an interrupted download or copy",
            )
        })?;
        ReadError::check(path, "entries", end.entries, limits.entries)?;
        // An entry takes at least 46 bytes, so the size also limits the number of entries.
        if end.size > DIRECTORY_MAX {
            return Err(broken("it is larger than 64 MiB"));
        }
        if end.size > size || end.entries.saturating_mul(46) > end.size {
            return Err(broken("its size does not match its entries"));
        }
        let mut directory = vec![0; end.size as usize];
        file.seek(SeekFrom::Start(end.start)).map_err(io)?;
        file.read_exact(&mut directory).map_err(io)?;

        let mut entries = Vec::with_capacity(end.entries as usize);
        let mut rest = &directory[..];
        for _ in 0..end.entries {
            let (mut entry, flags, method) =
                parse_entry(&mut rest).ok_or_else(|| broken("an entry is incomplete"))?;
            if flags & 1 != 0 {
                return Err(ReadError::Encrypted {
                    file: path.to_owned(),
                });
            }
            entry.deflated = match method {
                0 => false,
                8 => true,
                _ => {
                    return Err(ReadError::malformed(
                        path,
                        format!("part `{}`", entry.name),
                        format_args!("its compression method {method} is not supported"),
                    ));
                }
            };
            entry.offset += end.before;
            entries.push(entry);
        }

        let inflated = entries
            .iter()
            .fold(0u64, |s, e| s.saturating_add(e.inflated));
        ReadError::check(path, "inflated_bytes", inflated, limits.inflated_bytes)?;
        if inflated > RATIO_FROM {
            ReadError::check(path, "ratio", inflated / size.max(1), limits.ratio)?;
        }
        check_overlaps(&entries, end.start).map_err(|name| {
            ReadError::malformed(path, format!("part `{name}`"), "it overlaps another part")
        })?;
        Ok(Archive {
            file: path.to_owned(),
            entries,
        })
    }

    /// Finds a part by its path, ignoring case and leading slashes.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let name = name.trim_start_matches('/');
        // If a name is repeated, the last entry counts, as in other readers.
        let named = |e: &&Entry| e.name.trim_start_matches('/').eq_ignore_ascii_case(name);
        self.entries.iter().rev().find(named)
    }

    /// Whether the path of any part starts with `prefix`.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.entries.iter().any(|e| e.name.starts_with(prefix))
    }

    /// All parts, in directory order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The inflated content of a part.
    pub(crate) fn part(&self, entry: &Entry) -> Result<Part, ReadError> {
        let raw = self.raw(entry)?;
        Ok(Part {
            source: if entry.deflated {
                Source::Deflated(DeflateDecoder::new_with_buf(raw, vec![0; FILE_BUFFER]))
            } else {
                Source::Stored(raw)
            },
            left: entry.inflated,
            crc: Crc::new(),
            want: entry.crc,
            checked: false,
        })
    }

    /// The content of a part as stored in the archive.
    pub(crate) fn raw(&self, entry: &Entry) -> Result<Take<File>, ReadError> {
        let broken =
            |what: &str| ReadError::malformed(&self.file, format!("part `{}`", entry.name), what);
        let io = |e| ReadError::io(&self.file, e);
        // A new handle, because readers of two parts must not share a file position.
        let mut file = File::open(&self.file).map_err(io)?;
        file.seek(SeekFrom::Start(entry.offset)).map_err(io)?;
        let mut local = [0; 30];
        file.read_exact(&mut local)
            .map_err(|_| broken("it starts after the end of the file"))?;
        if u32_at(&local, 0) != Some(LOCAL) {
            return Err(broken(
                "it is not at the offset that the directory declares",
            ));
        }
        let skip = |at| u64::from(u16_at(&local, at).unwrap_or(0));
        let start = entry.offset + 30 + skip(26) + skip(28);
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        Ok(file.take(entry.compressed))
    }

    /// The error for content that exceeds a limit.
    pub(crate) fn limit(&self, limit: &'static str, found: u64, allowed: u64) -> ReadError {
        ReadError::Limit {
            file: self.file.clone(),
            limit,
            found,
            allowed,
        }
    }

    /// The error for a part that could not be read.
    pub(crate) fn broken(&self, entry: &Entry, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::malformed(&self.file, format!("part `{}`", entry.name), error)
    }
}

enum Source {
    Stored(Take<File>),
    Deflated(DeflateDecoder<Take<File>>),
}

/// Inflates a part as it is read. Checks its size and checksum at the end.
pub(crate) struct Part {
    source: Source,
    left: u64,
    crc: Crc,
    want: u32,
    checked: bool,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Stored(source) => source.read(buffer)?,
            Source::Deflated(source) => source.read(buffer)?,
        };
        let bad = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if read as u64 > self.left {
            return bad("it inflates to more than the directory declares");
        }
        self.left -= read as u64;
        self.crc.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && !self.checked {
            if self.left > 0 {
                return bad("it is incomplete");
            }
            if self.crc.sum() != self.want {
                return bad("its checksum is wrong");
            }
            self.checked = true;
        }
        Ok(read)
    }
}

/// Finds the end record. Prefers the zip64 record if there is one.
fn find_end(file: &mut File, size: u64) -> io::Result<Option<End>> {
    let from = size.saturating_sub(END_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(END_MAX).read_to_end(&mut tail)?;
    let Some(at) = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|at| u32_at(&tail, *at) == Some(END))
    else {
        return Ok(None);
    };
    let field16 = |i| u64::from(u16_at(&tail, at + i).unwrap_or(0));
    let field32 = |i| u64::from(u32_at(&tail, at + i).unwrap_or(0));
    let (mut entries, mut bytes, mut offset) = (field16(10), field32(12), field32(16));
    let mut end_at = from + at as u64;
    if entries == 0xffff || bytes == 0xffff_ffff || offset == 0xffff_ffff {
        let Some(locator) = at.checked_sub(20) else {
            return Ok(None);
        };
        if u32_at(&tail, locator) != Some(END64_LOCATOR) {
            return Ok(None);
        }
        end_at = u64_at(&tail, locator + 8).unwrap_or(u64::MAX);
        if end_at > size {
            return Ok(None);
        }
        let mut record = [0; 56];
        file.seek(SeekFrom::Start(end_at))?;
        if file.read_exact(&mut record).is_err() || u32_at(&record, 0) != Some(END64) {
            return Ok(None);
        }
        entries = u64_at(&record, 32).unwrap_or(0);
        bytes = u64_at(&record, 40).unwrap_or(0);
        offset = u64_at(&record, 48).unwrap_or(0);
    }
    let Some(start) = end_at.checked_sub(bytes) else {
        return Ok(None);
    };
    Ok(start.checked_sub(offset).map(|before| End {
        entries,
        size: bytes,
        start,
        before,
    }))
}

/// Parses the next entry of the directory, with its flags and compression method.
fn parse_entry(rest: &mut &[u8]) -> Option<(Entry, u16, u16)> {
    let all = *rest;
    if u32_at(all, 0)? != CENTRAL {
        return None;
    }
    let (flags, method) = (u16_at(all, 8)?, u16_at(all, 10)?);
    let crc = u32_at(all, 16)?;
    let mut compressed = u64::from(u32_at(all, 20)?);
    let mut inflated = u64::from(u32_at(all, 24)?);
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(all, at).unwrap_or(0)));
    let mut offset = u64::from(u32_at(all, 42)?);
    let name = all.get(46..46 + lengths[0])?;
    let extra_at = 46 + lengths[0];
    let mut extra = all.get(extra_at..extra_at + lengths[1])?;
    *rest = all.get(extra_at + lengths[1] + lengths[2]..)?;
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let body = extra.get(4..4 + usize::from(length))?;
        if id == 1 {
            // zip64 values, in this order, each present only if the 32-bit field is full.
            let mut at = 0;
            for field in [&mut inflated, &mut compressed, &mut offset] {
                if *field == 0xffff_ffff {
                    *field = u64_at(body, at)?;
                    at += 8;
                }
            }
        }
        extra = extra.get(4 + usize::from(length)..)?;
    }
    let entry = Entry {
        name: String::from_utf8_lossy(name).replace('\\', "/"),
        deflated: false,
        crc,
        compressed,
        inflated,
        // No file is that large. Adding `End::before` must not overflow.
        offset: offset.min(u64::MAX / 2),
    };
    Some((entry, flags, method))
}

/// Fails with the name of an entry that overlaps the next one or the directory.
fn check_overlaps(entries: &[Entry], directory: u64) -> Result<(), &str> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|e| e.offset);
    for (i, entry) in order.iter().enumerate() {
        let next = order.get(i + 1).map_or(directory, |e| e.offset);
        let end = entry
            .offset
            .saturating_add(30)
            .saturating_add(entry.compressed);
        if end > next {
            return Err(&entry.name);
        }
    }
    Ok(())
}
