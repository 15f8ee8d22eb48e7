//! Reads texts: Unicode in BIFF8, bytes in a code page in BIFF5.

use super::code_page::CodePage;
use super::records::{Fields, Wrong};
use crate::read::binary::push_utf16;

/// How a workbook stores its texts.
pub(super) enum Texts {
    /// As UTF-16, in one byte per unit if the other one is zero (MS-XLS 2.5.293).
    Unicode,
    /// As bytes.
    Bytes(CodePage),
}

impl Texts {
    /// Appends a text whose length takes two bytes.
    pub(super) fn long(&self, fields: &mut Fields<'_>, to: &mut String) -> Result<(), Wrong> {
        let length = fields.u16()?;
        self.text(length, fields, to)
    }

    /// Appends a text whose length takes one byte.
    pub(super) fn short(&self, fields: &mut Fields<'_>, to: &mut String) -> Result<(), Wrong> {
        let length = fields.u8()?;
        self.text(length.into(), fields, to)
    }

    fn text(&self, length: u16, fields: &mut Fields<'_>, to: &mut String) -> Result<(), Wrong> {
        let length = usize::from(length);
        match self {
            Texts::Unicode => unicode(length, fields, to),
            Texts::Bytes(page) => {
                let some = fields.some(length);
                if some.len() == length {
                    return page.decode(some, to);
                }
                let mut bytes = some.to_vec();
                while bytes.len() < length {
                    fields.next_piece()?;
                    bytes.extend(fields.some(length - bytes.len()));
                }
                page.decode(&bytes, to)
            }
        }
    }
}

/// Appends a text of BIFF8, which may have runs and phonetic hints.
fn unicode(length: usize, fields: &mut Fields<'_>, to: &mut String) -> Result<(), Wrong> {
    // No flags follow an empty text in some files.
    if length == 0 && fields.is_empty() {
        return Ok(());
    }
    let flags = fields.u8()?;
    let runs = if flags & 8 != 0 { fields.u16()? } else { 0 };
    let hints = if flags & 4 != 0 { fields.u32()? } else { 0 };
    let mut wide = flags & 1 != 0;
    let size = |wide| if wide { 2 } else { 1 };
    let first = fields.some(length * size(wide));
    if first.len() == length * size(wide) {
        push(first, wide, to);
    } else {
        // Two records may share a surrogate pair, so the units are put together first.
        let mut units = Vec::new();
        let mut piece = first;
        loop {
            match wide {
                true if !piece.len().is_multiple_of(2) => {
                    return Err("its text is split within a character".into());
                }
                true => units.extend(piece),
                false => units.extend(piece.iter().flat_map(|byte| [*byte, 0])),
            }
            let left = length - units.len() / 2;
            if left == 0 {
                break;
            }
            // Each record starts by saying how many bytes a unit has in it.
            fields.next_piece()?;
            wide = fields.u8()? & 1 != 0;
            piece = fields.some(left * size(wide));
        }
        push_utf16(&units, to);
    }
    fields.skip(4 * usize::from(runs))?;
    fields.skip(usize::try_from(hints).map_err(|_| "its hints are too long")?)
}

fn push(bytes: &[u8], wide: bool, to: &mut String) {
    match wide {
        true => push_utf16(bytes, to),
        false => to.extend(bytes.iter().map(|byte| char::from(*byte))),
    }
}
