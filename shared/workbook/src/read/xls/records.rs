//! Reads the records of a workbook stream (MS-XLS 2.1.4): an ID, a length and a body.

use std::borrow::Cow;

/// What is wrong with a record.
pub(super) type Wrong = Cow<'static, str>;

/// The ID of a record that continues the one before it.
pub(super) const CONTINUE: u16 = 0x003c;
/// The ID of the start of a sheet, of the globals, or of a chart in a sheet.
pub(super) const BEGIN: u16 = 0x0809;
/// The ID of the end of what [`BEGIN`] starts.
pub(super) const END: u16 = 0x000a;

const SHORT: &str = "its record is too short";

/// A record.
#[derive(Clone)]
pub(super) struct Record<'a> {
    pub(super) id: u16,
    /// Its offset in the stream.
    pub(super) at: usize,
    pub(super) body: &'a [u8],
    /// What follows it.
    pub(super) rest: Records<'a>,
}

/// The records from an offset on.
#[derive(Clone)]
pub(super) struct Records<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(stream: &'a [u8], at: usize) -> Records<'a> {
        Records { stream, at }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Record<'a>, Wrong> {
        let incomplete = "it is incomplete: its end is missing";
        let at = self.at;
        let ahead = self.stream.get(at..).unwrap_or_default();
        let [a, b, c, d, body @ ..] = ahead else {
            return Err(incomplete.into());
        };
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        let body = body.get(..length).ok_or(incomplete)?;
        self.at = at + 4 + length;
        Ok(Record {
            id: u16::from_le_bytes([*a, *b]),
            at,
            body,
            rest: self.clone(),
        })
    }
}

impl<'a> Record<'a> {
    /// The fields of the record from an offset in its body on.
    pub(super) fn fields(&self, from: usize) -> Result<Fields<'a>, Wrong> {
        Ok(Fields {
            piece: self.body.get(from..).ok_or(SHORT)?,
            rest: self.rest.clone(),
        })
    }

    /// A byte of the body.
    pub(super) fn u8(&self, at: usize) -> Result<u8, Wrong> {
        self.array(at).map(|[byte]| byte)
    }

    /// A number in the body.
    pub(super) fn u16(&self, at: usize) -> Result<u16, Wrong> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// A number in the body.
    pub(super) fn u32(&self, at: usize) -> Result<u32, Wrong> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// A number in the body.
    pub(super) fn f64(&self, at: usize) -> Result<f64, Wrong> {
        self.array(at).map(f64::from_le_bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Wrong> {
        let bytes = self.body.get(at..at + N);
        Ok(bytes.ok_or(SHORT)?.try_into().map_err(|_| SHORT)?)
    }
}

/// Reads the fields of a record that may be continued by others.
pub(super) struct Fields<'a> {
    /// What is left of the current record.
    piece: &'a [u8],
    rest: Records<'a>,
}

impl<'a> Fields<'a> {
    /// Whether nothing is left, in this record or in one that continues it.
    pub(super) fn is_empty(&mut self) -> bool {
        while self.piece.is_empty() {
            if self.next_piece().is_err() {
                return true;
            }
        }
        false
    }

    pub(super) fn u8(&mut self) -> Result<u8, Wrong> {
        while self.piece.is_empty() {
            self.next_piece()?;
        }
        let byte = self.piece[0];
        self.piece = &self.piece[1..];
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Wrong> {
        Ok(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Wrong> {
        Ok(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    pub(super) fn skip(&mut self, mut count: usize) -> Result<(), Wrong> {
        while count > 0 {
            if self.piece.is_empty() {
                self.next_piece()?;
            }
            count -= self.some(count).len();
        }
        Ok(())
    }

    /// At most `count` bytes of the current record; empty at its end.
    pub(super) fn some(&mut self, count: usize) -> &'a [u8] {
        let (some, left) = self.piece.split_at(count.min(self.piece.len()));
        self.piece = left;
        some
    }

    /// Goes on to the record that continues this one.
    pub(super) fn next_piece(&mut self) -> Result<(), Wrong> {
        let mut rest = self.rest.clone();
        match rest.next() {
            Ok(next) if next.id == CONTINUE => {
                self.piece = next.body;
                self.rest = rest;
                Ok(())
            }
            _ => Err(SHORT.into()),
        }
    }
}
