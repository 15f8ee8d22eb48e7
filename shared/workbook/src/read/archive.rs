//! Zip archives, read with suspicion: the directory is checked against the limits before a byte
//! is inflated, and no part may give more than the directory said.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::bytes::{u16_at, u32_at, u64_at};
use super::error::ReadError;
use super::limits::ReadLimits;

/// From here on the ratio is looked at: below, even deflate's maximum does no harm.
const RATIO_FROM: u64 = 64 << 20;
/// Bytes read from the file at once.
const FILE_BUFFER: usize = 64 << 10;
/// The end record with the longest comment.
const END_MAX: u64 = 22 + 65_535;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const END64_LOCATOR: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// An archive's directory.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    file: PathBuf,
    entries: Vec<Entry>,
}

/// One file of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its path as the directory says it.
    pub name: String,
    /// Whether it is deflated; else it is stored as it is.
    pub deflated: bool,
    /// Checksum of its bytes.
    pub crc: u32,
    /// Bytes in the archive.
    pub compressed: u64,
    /// Bytes after inflating, as the directory says.
    pub inflated: u64,
    offset: u64,
}

/// Where the directory lies.
struct End {
    entries: u64,
    size: u64,
    /// From the start of the file.
    start: u64,
    /// Bytes before the archive's own start, in a self-extracting file.
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
        let end = find_end(file, size)
            .map_err(io)?
            .ok_or_else(|| broken("there is none; the file is cut off"))?;
        ReadError::check(path, "entries", end.entries, limits.entries)?;
        // 46 bytes are the least an entry takes, so the number is bounded by the size too.
        if end.size > size || end.entries.saturating_mul(46) > end.size {
            return Err(broken("its size is not that of its entries"));
        }
        let mut directory = vec![0; end.size as usize];
        file.seek(SeekFrom::Start(end.start)).map_err(io)?;
        file.read_exact(&mut directory).map_err(io)?;

        let mut entries = Vec::with_capacity(end.entries as usize);
        let mut rest = &directory[..];
        for _ in 0..end.entries {
            let (mut entry, flags, method) =
                parse_entry(&mut rest).ok_or_else(|| broken("an entry is cut off"))?;
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
                        format_args!(
                            "it is compressed in a way that is not read (method {method})"
                        ),
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
            ReadError::malformed(path, format!("part `{name}`"), "it overlaps with another")
        })?;
        Ok(Archive {
            file: path.to_owned(),
            entries,
        })
    }

    /// A part by its path; case does not count, nor does a slash at the front.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let name = name.trim_start_matches('/');
        // Of a repeated name the last one counts, as in other readers.
        let named = |e: &&Entry| e.name.trim_start_matches('/').eq_ignore_ascii_case(name);
        self.entries.iter().rev().find(named)
    }

    /// Whether a part's path starts so.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.entries.iter().any(|e| e.name.starts_with(prefix))
    }

    /// All parts, in the order of the directory.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes of a part, inflated.
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

    /// The bytes of a part as they lie in the archive.
    pub(crate) fn raw(&self, entry: &Entry) -> Result<Take<File>, ReadError> {
        let broken =
            |what: &str| ReadError::malformed(&self.file, format!("part `{}`", entry.name), what);
        let io = |e| ReadError::io(&self.file, e);
        // Opened anew: readers of two parts must not share a position.
        let mut file = File::open(&self.file).map_err(io)?;
        file.seek(SeekFrom::Start(entry.offset)).map_err(io)?;
        let mut local = [0; 30];
        file.read_exact(&mut local)
            .map_err(|_| broken("it begins beyond the end of the file"))?;
        if u32_at(&local, 0) != Some(LOCAL) {
            return Err(broken("it is not where the directory says"));
        }
        let skip = |at| u64::from(u16_at(&local, at).unwrap_or(0));
        let start = entry.offset + 30 + skip(26) + skip(28);
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        Ok(file.take(entry.compressed))
    }

    /// Inflates every part once, so that a reader which does not check sizes meets none that lies.
    pub(crate) fn verify(&self) -> Result<(), ReadError> {
        let mut buffer = vec![0; FILE_BUFFER];
        for entry in &self.entries {
            let mut part = self.part(entry)?;
            loop {
                let read = part.read(&mut buffer);
                if read.map_err(|e| self.broken(entry, &e))? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The error for a limit that the archive's content passes.
    pub(crate) fn limit(&self, limit: &'static str, found: u64, allowed: u64) -> ReadError {
        ReadError::Limit {
            file: self.file.clone(),
            limit,
            found,
            allowed,
        }
    }

    /// The error for a part that cannot be read.
    pub(crate) fn broken(&self, entry: &Entry, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::malformed(&self.file, format!("part `{}`", entry.name), error)
    }
}

enum Source {
    Stored(Take<File>),
    Deflated(DeflateDecoder<Take<File>>),
}

/// A part's bytes, inflated as they are read; at the end its length and checksum are checked.
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
            return bad("it inflates to more than the directory says");
        }
        self.left -= read as u64;
        self.crc.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && !self.checked {
            if self.left > 0 {
                return bad("it is cut off");
            }
            if self.crc.sum() != self.want {
                return bad("its checksum is wrong");
            }
            self.checked = true;
        }
        Ok(read)
    }
}

/// Finds the end record, the 64-bit one where there is one.
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

/// Takes an entry off the directory, with its flags and method.
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
            // 64-bit sizes: in this order, each only where the 32-bit field is full.
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
        // No file is that large; the sum with the bytes before must not overflow.
        offset: offset.min(u64::MAX / 2),
    };
    Some((entry, flags, method))
}

/// Fails with the name of an entry that reaches into the next one or into the directory.
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
