//! Compound files (the shell of xls), as far as needed to tell what is inside before calamine
//! reads it: calamine spreads a sheet's cells over the rectangle they span, so the rectangles are
//! checked first.

use std::collections::{HashMap, HashSet};

/// Marks of the allocation table: from here on a number is no sector.
const NO_SECTOR: u32 = 0xffff_fffa;
/// Bytes of a directory entry.
const ENTRY: usize = 128;

/// A compound file in memory.
pub(crate) struct Compound<'a> {
    bytes: &'a [u8],
    sector: usize,
    table: Vec<u32>,
    mini_table: Vec<u32>,
    mini: Vec<u8>,
    mini_max: u32,
    entries: Vec<Stream>,
}

struct Stream {
    name: String,
    start: u32,
    size: u64,
}

impl<'a> Compound<'a> {
    /// Reads the tables; `None` where they are broken.
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Compound<'a>> {
        let shift = u16_at(bytes, 30)?;
        if !(7..=16).contains(&shift) {
            return None;
        }
        let mut file = Compound {
            bytes,
            sector: 1 << shift,
            table: Vec::new(),
            mini_table: Vec::new(),
            mini: Vec::new(),
            mini_max: u32_at(bytes, 56)?,
            entries: Vec::new(),
        };
        // The sectors of the table: 109 in the header, the rest in a chain of their own.
        let mut parts: Vec<u32> = (0..109).map_while(|i| u32_at(bytes, 76 + 4 * i)).collect();
        let mut next = u32_at(bytes, 68)?;
        let mut seen = HashSet::new();
        while next < NO_SECTOR && seen.insert(next) {
            let block = file.sector_bytes(next)?;
            parts.extend((0..file.sector / 4 - 1).filter_map(|i| u32_at(block, 4 * i)));
            next = u32_at(block, file.sector - 4)?;
        }
        for part in parts.into_iter().filter(|p| *p < NO_SECTOR) {
            let block = file.sector_bytes(part)?;
            file.table
                .extend((0..file.sector / 4).filter_map(|i| u32_at(block, 4 * i)));
            // A table larger than the file can need says that its sectors repeat.
            if file.table.len() > bytes.len() / file.sector + file.sector {
                return None;
            }
        }
        let directory = file.chain(u32_at(bytes, 48)?, u64::MAX)?;
        for entry in directory.chunks_exact(ENTRY) {
            let length = usize::from(u16_at(entry, 64)?).min(64);
            let units: Vec<u16> = (0..(length / 2).saturating_sub(1))
                .filter_map(|i| u16_at(entry, 2 * i))
                .collect();
            file.entries.push(Stream {
                name: String::from_utf16_lossy(&units),
                start: u32_at(entry, 116)?,
                size: u64::from(u32_at(entry, 120)?),
            });
        }
        let root = file.entries.first()?;
        let (start, size) = (root.start, root.size);
        if start < NO_SECTOR {
            file.mini = file.chain(start, size)?;
            let table = file.chain(u32_at(bytes, 60)?, u64::MAX).unwrap_or_default();
            file.mini_table = table.chunks_exact(4).filter_map(|b| u32_at(b, 0)).collect();
        }
        Some(file)
    }

    /// Whether it has a stream or a folder of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The bytes of a stream.
    pub(crate) fn stream(&self, name: &str) -> Option<Vec<u8>> {
        let entry = self.entry(name)?;
        if entry.size >= u64::from(self.mini_max) {
            return self.chain(entry.start, entry.size);
        }
        let mut bytes = Vec::new();
        let mut sector = entry.start;
        let mut left = self.mini_table.len() + 1;
        while sector < NO_SECTOR && left > 0 && (bytes.len() as u64) < entry.size {
            let from = sector as usize * 64;
            bytes.extend_from_slice(self.mini.get(from..from + 64)?);
            sector = *self.mini_table.get(sector as usize)?;
            left -= 1;
        }
        bytes.truncate(usize::try_from(entry.size).ok()?);
        Some(bytes)
    }

    fn entry(&self, name: &str) -> Option<&Stream> {
        let same = |e: &&Stream| e.name.eq_ignore_ascii_case(name);
        self.entries.iter().find(same)
    }

    fn sector_bytes(&self, sector: u32) -> Option<&'a [u8]> {
        let from = (sector as usize).checked_add(1)?.checked_mul(self.sector)?;
        self.bytes.get(from..from.checked_add(self.sector)?)
    }

    /// The bytes of a chain of sectors, at most `size`. A chain that runs in a circle ends when
    /// it has as many sectors as the table.
    fn chain(&self, start: u32, size: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut sector = start;
        let mut left = self.table.len();
        while sector < NO_SECTOR && (bytes.len() as u64) < size {
            left = left.checked_sub(1)?;
            // The last sector of a file may be cut off.
            let from = (sector as usize).checked_add(1)?.checked_mul(self.sector)?;
            let end = from.saturating_add(self.sector).min(self.bytes.len());
            bytes.extend_from_slice(self.bytes.get(from..end)?);
            sector = *self.table.get(sector as usize)?;
        }
        if (bytes.len() as u64) > size {
            bytes.truncate(usize::try_from(size).ok()?);
        }
        Some(bytes)
    }
}

/// Cells of the rectangles that the sheets of an xls stream span or say that they span, in all: for
/// as many calamine takes memory. It is walked through as calamine does: from each place at which
/// the front says that a sheet begins, which may be one place many times, or within a record.
/// Source of the record numbers: MS-XLS 2.3.
pub(crate) fn spanned_cells(stream: &[u8]) -> u64 {
    let mut known = HashMap::new();
    let mut total = 0u64;
    for (kind, body) in records(stream, 0) {
        match kind {
            0x0085 => {
                let Some(start) = u32_at(body, 0) else {
                    break;
                };
                let cells = known
                    .entry(start)
                    .or_insert_with(|| sheet_cells(stream, start as usize));
                total = total.saturating_add(*cells);
            }
            END => break,
            _ => {}
        }
    }
    total
}

/// The end of a sheet or of the front.
const END: u16 = 0x000a;

/// The records from `at` on, each with its kind and its body, up to one that is cut off.
fn records(stream: &[u8], mut at: usize) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(stream, at)?, u16_at(stream, at + 2)?);
        let begin = at + 4;
        at = begin + usize::from(length);
        Some((kind, stream.get(begin..at)?))
    })
}

/// [`spanned_cells`] of the sheet that begins at `start`.
fn sheet_cells(stream: &[u8], start: usize) -> u64 {
    let mut span: Option<[u16; 4]> = None;
    let mut said = 0;
    let mut formula = false;
    // Charts within a sheet have cells of their own, which are passed over.
    let (mut begun, mut depth) = (false, 0u32);
    for (kind, body) in records(stream, start) {
        match kind {
            0x0809 if depth > 0 || begun => depth += 1,
            0x0809 => begun = true,
            END if depth > 0 => depth -= 1,
            END => break,
            _ if depth > 0 => {}
            0x0200 => said = said.max(declared(body).unwrap_or(0)),
            // A formula's text has no place of its own: calamine puts it where the last formula was,
            // and before a sheet's first one into the first cell.
            0x0207 if !formula => {
                span = Some(span.map_or([0; 4], |[_, _, bottom, right]| [0, 0, bottom, right]));
            }
            // Formula, number, label, boolean or error, string, RK, multiple RK, shared text.
            0x0006 | 0x0203 | 0x0204 | 0x0205 | 0x00d6 | 0x027e | 0x00bd | 0x00fd => {
                formula |= kind == 0x0006;
                let (Some(row), Some(column)) = (u16_at(body, 0), u16_at(body, 2)) else {
                    continue;
                };
                let last = match kind {
                    0x00bd => u16_at(body, body.len().saturating_sub(2)).unwrap_or(column),
                    _ => column,
                };
                let [top, left, bottom, right] = span.unwrap_or([row, column, row, column]);
                span = Some([
                    top.min(row),
                    left.min(column),
                    bottom.max(row),
                    right.max(column).max(last),
                ]);
            }
            _ => {}
        }
    }
    let area = span.map_or(0, |[top, left, bottom, right]| {
        (u64::from(bottom - top) + 1) * (u64::from(right - left) + 1)
    });
    area.max(said)
}

/// Cells that a record of dimensions makes calamine take memory for: it holds the first row, the one
/// after the last, and columns likewise; a first one beyond the last wraps around there.
fn declared(body: &[u8]) -> Option<u64> {
    let wide = body.len() >= 14;
    let row = |n: usize| match wide {
        true => u32_at(body, 4 * n),
        false => u16_at(body, 2 * n).map(u32::from),
    };
    let columns = if wide { 8 } else { 4 };
    let (left, right) = (u16_at(body, columns)?, u16_at(body, columns + 2)?);
    let left = if left > 0xff || right < left { 0 } else { left };
    let rows = u64::from(row(1)?.wrapping_sub(row(0)?));
    Some(rows.saturating_mul(u64::from(right - left)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, body: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [kind, body.len() as u16 * 2].iter().chain(body) {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// A stream whose front names sheets at these places of what follows it.
    fn stream(places: &[usize], rest: &[u8]) -> Vec<u8> {
        let bound = |place: usize| {
            let place = place as u32;
            record(0x0085, &[place as u16, (place >> 16) as u16, 0, 1, 97])
        };
        let front = 8 + places.len() * bound(0).len() + 4;
        let mut all = record(0x0809, &[0x0600, 0x0005]);
        all.extend(places.iter().flat_map(|place| bound(front + place)));
        all.extend(record(END, &[]));
        all.extend(rest);
        all
    }

    fn cells(sheet: &[u8]) -> u64 {
        spanned_cells(&stream(&[0], sheet))
    }

    #[test]
    fn rectangles_are_summed_over_sheets() {
        let begin = record(0x0809, &[0x0600, 0x0010]);
        let cell = |row, column| record(0x0203, &[row, column, 15, 0, 0, 0, 0]);
        let sheet = [
            begin.clone(),
            cell(0, 0),
            record(0x00bd, &[9, 2, 1, 1, 1, 1, 1, 1, 4]),
            // A chart in the sheet, with a cell of its own.
            begin.clone(),
            cell(60_000, 200),
            record(END, &[]),
            record(END, &[]),
        ]
        .concat();
        assert_eq!(cells(&sheet), 50);
        let lone = [begin, cell(0, 0), cell(65_535, 255)].concat();
        let both = [&sheet[..], &lone].concat();
        let places = [0, sheet.len()];
        assert_eq!(spanned_cells(&stream(&places, &both)), 50 + 65_536 * 256);
        // What no sheet begins at is not read, and what many do is, each time.
        assert_eq!(spanned_cells(&stream(&[], &both)), 0);
        assert_eq!(spanned_cells(&stream(&[0, 0, 0, 9999], &both)), 150);
        // A sheet may begin within a record: here in a number's last eight bytes.
        let hidden = record(0x0203, &[7, 7, 0, 0x0200, 10, 1, 3]);
        let hidden = [hidden, vec![0, 0, 1, 0, 0, 0]].concat();
        assert_eq!(spanned_cells(&stream(&[0], &hidden)), 1);
        assert_eq!(spanned_cells(&stream(&[10], &hidden)), 2);
        assert_eq!(spanned_cells(&[9, 8, 255]), 0);
        // Dimensions alone take as much memory: rows 1 to 65,533, columns 0 to 15,103.
        let said = record(0x0200, &[1, 0xfffe, 0xffff, 0x3b00, 0]);
        assert_eq!(cells(&said), 65_533 * 15_104);
        let backwards = record(0x0200, &[2, 0, 1, 0, 0, 1, 0]);
        assert_eq!(cells(&backwards), u64::from(u32::MAX));
    }

    /// Found by fuzzing: of a few bytes calamine made a rectangle of 137 GB.
    #[test]
    fn a_text_before_any_formula_lies_in_the_first_cell() {
        let number = record(0x0203, &[99, 9, 15, 0, 0, 0, 0]);
        let formula = record(0x0006, &[99, 9, 15, 0, 0, 0, 0, 0, 0, 0]);
        let text = record(0x0207, &[1, 0]);
        assert_eq!(cells(&[number, text.clone()].concat()), 1000);
        assert_eq!(cells(&[formula, text].concat()), 1);
    }

    #[test]
    fn circles_and_nonsense_end() {
        let mut bytes = vec![0xff; 4096];
        bytes[30] = 9;
        bytes[31] = 0;
        // The table's only sector is 0, and says that every sector follows itself.
        bytes[76..80].copy_from_slice(&0u32.to_le_bytes());
        bytes[68..72].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes[48..52].copy_from_slice(&1u32.to_le_bytes());
        for i in 0..128u32 {
            let at = 512 + 4 * i as usize;
            bytes[at..at + 4].copy_from_slice(&i.to_le_bytes());
        }
        assert!(Compound::open(&bytes).is_none());
        assert!(Compound::open(&bytes[..40]).is_none());
    }
}
