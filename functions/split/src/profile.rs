//! The profile of a column: which values its records have.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::{fast, quality};
use rowmill_domain::manifest::{ColumnProfile, DISTINCT_CAP};
use rowmill_domain::{Kind, Value};

use crate::cell::CleanCell;
use crate::clean::truncate;

/// How many distinct values are remembered for all columns together, with 8 bytes each. A sheet of
/// 16,384 columns needs no more memory than one of 4,000.
const DISTINCT_BUDGET: usize = 4000 * DISTINCT_CAP;
/// Maximum number of characters kept of the smallest and the largest text.
const EXTREME_TEXT: usize = 100;

/// Builds the profile of a column value by value.
#[derive(Debug)]
pub(crate) struct Profile {
    filled: u64,
    width: usize,
    /// Fingerprints of the values seen, up to `cap`.
    seen: HashSet<u64, fast::FixedState>,
    cap: usize,
    kinds: [KindProfile; Kind::ALL.len()],
    texts: Option<TextExtremes>,
}

#[derive(Debug, Default)]
struct KindProfile {
    count: u64,
    /// The smallest and the largest value.
    extremes: Option<(Value, Value)>,
}

/// The smallest and the largest text, each with its [`prefix`], which decides most comparisons.
#[derive(Debug)]
struct TextExtremes {
    least: (u64, String),
    greatest: (u64, String),
}

impl TextExtremes {
    fn new(text: &str) -> TextExtremes {
        let extreme = (prefix(text.as_bytes()), text.to_owned());
        TextExtremes {
            least: extreme.clone(),
            greatest: extreme,
        }
    }

    fn add(&mut self, text: &str) {
        let prefix = prefix(text.as_bytes());
        let (least, greatest) = (&mut self.least, &mut self.greatest);
        // Clones into the existing allocation: in a sorted column, every text is a new extreme.
        if prefix < least.0 || prefix == least.0 && *text < *least.1 {
            least.0 = prefix;
            text.clone_into(&mut least.1);
        } else if prefix > greatest.0 || prefix == greatest.0 && *text > *greatest.1 {
            greatest.0 = prefix;
            text.clone_into(&mut greatest.1);
        }
    }
}

/// The first eight bytes of a text, with zeros if it is shorter, as a number that compares as they do.
fn prefix(text: &[u8]) -> u64 {
    let word = |bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes));
    if let Some(first) = text.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    // The bytes that both words have are the same.
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return word(*first) << 32 | word(*last) << (8 * (8 - text.len()));
    }
    let bytes = (0..).zip(text);
    bytes.fold(0, |prefix, (at, byte)| {
        prefix | u64::from(*byte) << (56 - 8 * at)
    })
}

impl Profile {
    /// An empty profile, for a sheet with this many columns.
    pub(crate) fn new(columns: usize) -> Profile {
        Profile {
            filled: 0,
            width: 0,
            seen: HashSet::default(),
            cap: DISTINCT_CAP.min(DISTINCT_BUDGET / columns.max(1)),
            kinds: Default::default(),
            texts: None,
        }
    }

    /// Adds the value of a record. `length` is the length of the value as text, in bytes.
    pub(crate) fn add(&mut self, cell: &CleanCell, length: usize) {
        match cell {
            CleanCell::Empty | CleanCell::Error(_) => {}
            CleanCell::Text(text) => self.add_text(text),
            CleanCell::Value(value) => self.add_value(value, length),
        }
    }

    fn add_text(&mut self, text: &str) {
        self.filled += 1;
        self.kinds[Kind::Text as usize].count += 1;
        // A text has at most as many characters as bytes, so most texts need no counting.
        if text.len() > self.width {
            self.width = self.width.max(text.chars().count());
        }
        if self.seen.len() < self.cap {
            self.seen.insert(fingerprint(Kind::Text, text));
        }
        match &mut self.texts {
            None => self.texts = Some(TextExtremes::new(text)),
            Some(extremes) => extremes.add(text),
        }
    }

    fn add_value(&mut self, value: &Value, length: usize) {
        self.filled += 1;
        self.width = self.width.max(length);
        if self.seen.len() < self.cap {
            self.seen.insert(fingerprint_value(value));
        }
        let kind = &mut self.kinds[value.kind() as usize];
        kind.count += 1;
        match &mut kind.extremes {
            None => kind.extremes = Some((value.clone(), value.clone())),
            Some((least, greatest)) => {
                if is_less(value, least) {
                    *least = value.clone();
                } else if is_less(greatest, value) {
                    *greatest = value.clone();
                }
            }
        }
    }

    /// The finished profile of the column `name`, with its declared type and its number format.
    pub(crate) fn finish(
        &self,
        name: &str,
        declared: Option<Kind>,
        format: Option<String>,
    ) -> ColumnProfile {
        let present = || {
            let kinds = Kind::ALL.into_iter().zip(&self.kinds);
            kinds.filter(|(_, profile)| profile.count > 0)
        };
        let inferred = match (present().next(), present().nth(1)) {
            (Some((kind, _)), None) => Some(kind),
            _ => None,
        };
        let most = present().max_by_key(|(_, profile)| profile.count);
        let extremes = match (most, &self.texts) {
            (Some((Kind::Text, _)), Some(TextExtremes { least, greatest })) => {
                Some((least.1.clone(), greatest.1.clone()))
            }
            (Some((_, profile)), _) => {
                let extremes = profile.extremes.as_ref();
                extremes.map(|(least, greatest)| (least.to_text(), greatest.to_text()))
            }
            (None, _) => None,
        };
        let (min, max) = extremes.unzip();
        let short = |text: String| truncate(&text, EXTREME_TEXT);
        ColumnProfile {
            name: name.to_owned(),
            kind: declared.or(inferred),
            format,
            filled: self.filled,
            distinct: self.seen.len() as u64,
            min: min.map(short),
            max: max.map(short),
            width: u32::try_from(self.width).unwrap_or(u32::MAX),
        }
    }
}

/// Whether `a` is less than `b`, if both have the same type, which is not text.
fn is_less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a < b,
        (Value::Number(a), Value::Number(b)) => a < b,
        (Value::Date(a), Value::Date(b)) => a < b,
        (Value::DateTime(a), Value::DateTime(b)) => a < b,
        (Value::Time(a), Value::Time(b)) => a < b,
        (Value::Duration(a), Value::Duration(b)) => a < b,
        _ => false,
    }
}

/// 64 bits of a value's hash. Two values with the same fingerprint are counted as one. Among a
/// thousand values this happens in one of ten trillion columns. A crafted file can only
/// falsify its own count.
fn fingerprint<T: Hash + ?Sized>(kind: Kind, value: &T) -> u64 {
    let mut hasher = quality::FixedState::with_seed(0).build_hasher();
    (kind as u8).hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

fn fingerprint_value(value: &Value) -> u64 {
    let kind = value.kind();
    match value {
        Value::Bool(b) => fingerprint(kind, b),
        Value::Number(n) => fingerprint(kind, &(n + 0.0).to_bits()),
        Value::Text(t) => fingerprint(kind, t),
        Value::Date(d) => fingerprint(kind, d),
        Value::DateTime(t) => fingerprint(kind, t),
        Value::Time(t) => fingerprint(kind, t),
        Value::Duration(d) => fingerprint(kind, d),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prefixes_compare_as_their_texts_do(a in "[\0-\x03aß]{0,10}", b in "[\0-\x03aß]{0,10}") {
            let (first, second) = (prefix(a.as_bytes()), prefix(b.as_bytes()));
            prop_assert!(first == second || (first < second) == (a < b), "{:?} {:?}", a, b);
        }

        #[test]
        fn the_extremes_are_the_smallest_and_the_largest_text(
            texts in proptest::collection::vec("[a-cß]{1,10}", 1..20),
        ) {
            let mut profile = Profile::new(1);
            for text in &texts {
                profile.add(&CleanCell::from(text.as_str()), text.len());
            }
            let profile = profile.finish("a", None, None);
            prop_assert_eq!(profile.min.as_ref(), texts.iter().min());
            prop_assert_eq!(profile.max.as_ref(), texts.iter().max());
            prop_assert_eq!(profile.width as usize, texts.iter().map(|t| t.chars().count()).max().unwrap());
        }
    }
}
