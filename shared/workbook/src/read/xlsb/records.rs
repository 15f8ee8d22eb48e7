//! Reads the records of a binary part (MS-XLSB 2.1.4): an ID, a length and a body.

use std::io::{self, Read};

use crate::read::binary::push_utf16;
use crate::read::bytes::u32_at;
use crate::read::xml::ScanError;

/// Minimum free space in the buffer for a read from the source.
const CHUNK: usize = 64 << 10;
/// What a record holds besides a text of maximum length.
const BESIDES_TEXT: u64 = 64 << 10;

/// A record.
pub(super) struct Record<'a> {
    pub(super) id: u16,
    pub(super) body: Body<'a>,
}

/// The body of a record.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    text_max: u64,
}

/// Reads records from a part, in bounded memory: of a long body only the start is kept.
pub(super) struct Records<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// What is left to skip of the last record.
    skip: usize,
    text_max: u64,
}

/// The start of a future extension, whose records other readers ignore, and its end.
const FRT_BEGIN: u16 = 35;
const FRT_END: u16 = 36;

const INCOMPLETE: &str = "it is incomplete: it ends inside a record";

impl<R: Read> Records<R> {
    /// `text_max` limits the size of a text in bytes.
    pub(super) fn new(source: R, text_max: u64) -> Records<R> {
        Records {
            source,
            buffer: vec![0; 2 * CHUNK],
            at: 0,
            end: 0,
            skip: 0,
            text_max,
        }
    }

    /// The next record that does not belong to a future extension; `None` at the end of the part.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, ScanError> {
        let mut depth = 0u64;
        loop {
            let Some((id, length)) = self.head()? else {
                return Ok(None);
            };
            match id {
                FRT_BEGIN => depth += 1,
                FRT_END => depth = depth.saturating_sub(1),
                _ if depth == 0 => {
                    let start = self.at;
                    self.at += length;
                    let body = Body {
                        bytes: &self.buffer[start..start + length],
                        text_max: self.text_max,
                    };
                    return Ok(Some(Record { id, body }));
                }
                _ => {}
            }
            self.at += length;
        }
    }

    /// Reads the head of the next record, and buffers its body or the start of it, whose length it
    /// returns.
    fn head(&mut self) -> Result<Option<(u16, usize)>, ScanError> {
        while self.skip > 0 {
            if self.at == self.end && !self.fill()? {
                return Err(ScanError::Malformed(INCOMPLETE));
            }
            let some = self.skip.min(self.end - self.at);
            self.at += some;
            self.skip -= some;
        }
        if self.at == self.end && !self.fill()? {
            return Ok(None);
        }
        // Seven bits per byte, the lowest first. A set eighth bit says that another byte follows.
        let mut id = u16::from(self.byte()?);
        if id & 0x80 != 0 {
            id = id & 0x7f | u16::from(self.byte()? & 0x7f) << 7;
        }
        let mut length = 0usize;
        for i in 0..4 {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let most = self.text_max.saturating_mul(2).saturating_add(BESIDES_TEXT);
        let kept = length.min(usize::try_from(most).unwrap_or(usize::MAX));
        while self.end - self.at < kept {
            if !self.fill()? {
                return Err(ScanError::Malformed(INCOMPLETE));
            }
        }
        self.skip = length - kept;
        Ok(Some((id, kept)))
    }

    fn byte(&mut self) -> Result<u8, ScanError> {
        if self.at == self.end && !self.fill()? {
            return Err(ScanError::Malformed(INCOMPLETE));
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    /// Reads more bytes. `false` at the end of the source.
    fn fill(&mut self) -> Result<bool, ScanError> {
        if self.at > 0 {
            self.buffer.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
        }
        // The buffer grows with the bytes that arrive, whatever length a record declares.
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// What is wrong with a record.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It does not fit its kind.
    Malformed(&'static str),
    /// Its text has more bytes than allowed.
    LongText(u64, u64),
}

impl From<Wrong> for ScanError {
    fn from(wrong: Wrong) -> ScanError {
        match wrong {
            Wrong::Malformed(what) => ScanError::Malformed(what),
            Wrong::LongText(found, allowed) => ScanError::Limit("text_bytes", found, allowed),
        }
    }
}

const SHORT: Wrong = Wrong::Malformed("its record is too short");

impl Body<'_> {
    pub(super) fn u8(&self, at: usize) -> Result<u8, Wrong> {
        self.bytes.get(at).copied().ok_or(SHORT)
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, Wrong> {
        crate::read::bytes::u16_at(self.bytes, at).ok_or(SHORT)
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, Wrong> {
        u32_at(self.bytes, at).ok_or(SHORT)
    }

    pub(super) fn f64(&self, at: usize) -> Result<f64, Wrong> {
        let bits = crate::read::bytes::u64_at(self.bytes, at).ok_or(SHORT)?;
        Ok(f64::from_bits(bits))
    }

    /// Appends the text at an offset, and returns the offset after it. A missing text
    /// (XLNullableWideString) is empty.
    pub(super) fn text(&self, at: usize, to: &mut String) -> Result<usize, Wrong> {
        let units = self.u32(at)?;
        let start = at + 4;
        if units == u32::MAX {
            return Ok(start);
        }
        // Each unit takes at least one byte in UTF-8.
        let units = u64::from(units);
        if units > self.text_max {
            return Err(Wrong::LongText(units, self.text_max));
        }
        let end = start + 2 * units as usize;
        let before = to.len();
        push_utf16(self.bytes.get(start..end).ok_or(SHORT)?, to);
        let size = (to.len() - before) as u64;
        if size > self.text_max {
            return Err(Wrong::LongText(size, self.text_max));
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], text_max: u64) -> Result<Vec<(u16, usize)>, ScanError> {
        let mut records = Records::new(bytes, text_max);
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            all.push((record.id, record.body.bytes.len()));
        }
        Ok(all)
    }

    #[test]
    fn ids_and_lengths_have_variable_length() {
        let mut bytes = vec![5, 2, 1, 1, 0x91, 1, 0, 0x80, 0x80, 0x80, 0];
        assert_eq!(all(&bytes, 9).unwrap(), [(5, 2), (0x91, 0), (0, 0)]);
        // 200,000 bytes, of which the start is kept.
        bytes.extend([7, 0xc0, 0x9a, 0x0c]);
        bytes.resize(bytes.len() + 200_000, 1);
        bytes.extend([8, 0]);
        assert_eq!(all(&bytes, 9).unwrap()[3..], [(7, 65_554), (8, 0)]);
        bytes.truncate(bytes.len() - 3);
        assert!(all(&bytes, 9).is_err());
        // The declared length is no reason to use memory.
        let mut records = Records::new(&[7, 0xff, 0xff, 0xff, 0x7f][..], u64::MAX);
        assert!(records.next().is_err());
        assert_eq!(records.buffer.len(), 2 * CHUNK);
    }

    #[test]
    fn future_extensions_are_skipped() {
        let bytes = [1, 0, 35, 1, 9, 2, 0, 35, 0, 36, 0, 3, 0, 36, 0, 4, 0];
        assert_eq!(all(&bytes, 9).unwrap(), [(1, 0), (4, 0)]);
    }
}
