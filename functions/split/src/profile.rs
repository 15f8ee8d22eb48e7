//! The profile of a column: which values its records have.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::{fast, quality};
use rowmill_domain::manifest::{ColumnProfile, DISTINCT_CAP};
use rowmill_domain::{Kind, Value};

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
}

#[derive(Debug, Default)]
struct KindProfile {
    count: u64,
    /// The smallest and the largest value.
    extremes: Option<(Value, Value)>,
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
        }
    }

    /// Adds the value of a record. `length` is the length of the value as text, in bytes.
    pub(crate) fn add(&mut self, value: &Value, length: usize) {
        self.filled += 1;
        // A text has at most as many characters as bytes, so most texts need no counting.
        if length > self.width {
            let characters = match value {
                Value::Text(text) => text.chars().count(),
                _ => length,
            };
            self.width = self.width.max(characters);
        }
        if self.seen.len() < self.cap {
            self.seen.insert(fingerprint(value));
        }
        let kind = &mut self.kinds[value.kind() as usize];
        kind.count += 1;
        match &mut kind.extremes {
            None => kind.extremes = Some((value.clone(), value.clone())),
            Some((least, greatest)) => {
                if is_less(value, least) {
                    assign(least, value);
                } else if is_less(greatest, value) {
                    assign(greatest, value);
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
        let extremes = present()
            .max_by_key(|(_, profile)| profile.count)
            .and_then(|(_, profile)| profile.extremes.as_ref());
        let text = |value: &Value| truncate(&value.to_text(), EXTREME_TEXT);
        ColumnProfile {
            name: name.to_owned(),
            kind: declared.or(inferred),
            format,
            filled: self.filled,
            distinct: self.seen.len() as u64,
            min: extremes.map(|(least, _)| text(least)),
            max: extremes.map(|(_, greatest)| text(greatest)),
            width: u32::try_from(self.width).unwrap_or(u32::MAX),
        }
    }
}

/// Clones into the existing allocation: in a sorted column, every value is a new extreme.
fn assign(to: &mut Value, value: &Value) {
    match (to, value) {
        (Value::Text(to), Value::Text(text)) => to.clone_from(text),
        (to, value) => *to = value.clone(),
    }
}

/// Whether `a` is less than `b`. Values of different types are never less.
fn is_less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a < b,
        (Value::Number(a), Value::Number(b)) => a < b,
        (Value::Text(a), Value::Text(b)) => a < b,
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
fn fingerprint(value: &Value) -> u64 {
    let mut hasher = quality::FixedState::with_seed(0).build_hasher();
    (value.kind() as u8).hash(&mut hasher);
    match value {
        Value::Bool(b) => b.hash(&mut hasher),
        Value::Number(n) => (n + 0.0).to_bits().hash(&mut hasher),
        Value::Text(t) => t.hash(&mut hasher),
        Value::Date(d) => d.hash(&mut hasher),
        Value::DateTime(t) => t.hash(&mut hasher),
        Value::Time(t) => t.hash(&mut hasher),
        Value::Duration(d) => d.hash(&mut hasher),
    }
    hasher.finish()
}
