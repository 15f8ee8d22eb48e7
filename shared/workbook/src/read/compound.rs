//! Reads compound files, the container of xls.

use std::collections::HashSet;

use super::bytes::{u16_at, u32_at};

/// Numbers from here on are markers in the allocation table, not sectors.
const NO_SECTOR: u32 = 0xffff_fffa;
/// Size in bytes of the sectors of small streams.
const MINI_SECTOR: usize = 64;
/// Size of a directory entry in bytes.
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
    /// Reads the tables. `None` if they are damaged.
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
        // The header lists the first 109 sectors of the table; a chain of sectors lists the rest.
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
            // A table that is larger than the file needs contains repeated sectors.
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
            let table = file.chain(u32_at(bytes, 60)?, u64::MAX)?;
            file.mini_table = table.chunks_exact(4).filter_map(|b| u32_at(b, 0)).collect();
        }
        Some(file)
    }

    /// Whether the file contains a stream or folder with this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The content of a stream.
    pub(crate) fn stream(&self, name: &str) -> Option<Vec<u8>> {
        let entry = self.entry(name)?;
        if !self.is_mini(entry) {
            return self.chain(entry.start, entry.size);
        }
        let mut bytes = Vec::new();
        let mut sector = entry.start;
        let mut left = self.mini_table.len() + 1;
        while sector < NO_SECTOR && left > 0 && (bytes.len() as u64) < entry.size {
            let from = sector as usize * MINI_SECTOR;
            bytes.extend_from_slice(self.mini.get(from..from + MINI_SECTOR)?);
            sector = *self.mini_table.get(sector as usize)?;
            left -= 1;
        }
        bytes.truncate(usize::try_from(entry.size).ok()?);
        Some(bytes)
    }

    /// The offset in the file at which the content of a stream begins.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let entry = self.entry(name)?;
        let (mut sector, mut within) = (entry.start, 0);
        if self.is_mini(entry) {
            // Small streams are in a stream of their own, that of the root.
            let at = entry.start as usize * MINI_SECTOR;
            sector = self.entries.first()?.start;
            for _ in 0..at / self.sector {
                sector = *self.table.get(sector as usize)?;
            }
            within = at % self.sector;
        }
        let start = (sector as usize).checked_add(1)?.checked_mul(self.sector)?;
        start.checked_add(within)
    }

    fn is_mini(&self, entry: &Stream) -> bool {
        entry.size < u64::from(self.mini_max)
    }

    fn entry(&self, name: &str) -> Option<&Stream> {
        let same = |e: &&Stream| e.name.eq_ignore_ascii_case(name);
        self.entries.iter().find(same)
    }

    fn sector_bytes(&self, sector: u32) -> Option<&'a [u8]> {
        let from = (sector as usize).checked_add(1)?.checked_mul(self.sector)?;
        self.bytes.get(from..from.checked_add(self.sector)?)
    }

    /// The content of a chain of sectors, at most `size` bytes. A circular chain ends once it has as
    /// many sectors as the table.
    fn chain(&self, start: u32, size: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut sector = start;
        let mut left = self.table.len();
        while sector < NO_SECTOR && (bytes.len() as u64) < size {
            left = left.checked_sub(1)?;
            // The last sector of a file may be incomplete.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circular_chains_and_truncated_files_are_rejected() {
        let mut bytes = vec![0xff; 4096];
        bytes[30] = 9;
        bytes[31] = 0;
        // The only sector of the table is sector 0. In it, every sector points to itself.
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
