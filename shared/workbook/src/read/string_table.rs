//! The shared string table of a workbook: all strings in one allocation, within a memory budget.

/// Memory overhead per string in bytes.
const PER_STRING: u64 = 8;

/// The table.
#[derive(Default)]
pub(super) struct StringTable {
    /// All texts. A reader appends the text of a string, then calls [`StringTable::end_string`].
    pub(super) text: String,
    ends: Vec<usize>,
}

impl StringTable {
    /// The string at an index.
    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = match at {
            0 => 0,
            _ => self.ends[at - 1],
        };
        self.text.get(start..end)
    }

    /// Ends the current string.
    pub(super) fn end_string(&mut self) {
        self.ends.push(self.text.len());
    }

    /// Size in memory in bytes, which counts towards the limit `string_bytes`.
    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64 + self.ends.len() as u64 * PER_STRING
    }
}
