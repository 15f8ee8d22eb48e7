//! Answers kept within a child, so that rows that ask for the same get it from one request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

/// Bytes of answers kept, in all. A child has 512 MiB by default.
const KEPT: usize = 32 * 1024 * 1024;
/// Answers kept.
const ENTRIES: usize = 10_000;

/// What is kept.
pub(crate) trait Answer {
    /// Its size in memory, roughly.
    fn bytes(&self) -> usize;
}

impl Answer for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// An answer that is there, or that somebody is asking for while others wait for it.
pub(crate) type Slot<T> = Arc<OnceCell<Arc<T>>>;

/// The answers by what was asked, the oldest given up first.
pub(crate) struct Cache<T>(Mutex<Slots<T>>);

struct Slots<T> {
    by_key: HashMap<String, Slot<T>>,
    oldest: VecDeque<String>,
    added: usize,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache(Mutex::new(Slots {
            by_key: HashMap::new(),
            oldest: VecDeque::new(),
            added: 0,
        }))
    }
}

impl<T: Answer> Cache<T> {
    /// The place of the answer to a question.
    pub(crate) fn slot(&self, key: String) -> Slot<T> {
        let mut slots = match self.0.lock() {
            Ok(slots) => slots,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(slot) = slots.by_key.get(&key) {
            return slot.clone();
        }
        let slot = Slot::default();
        slots.by_key.insert(key.clone(), slot.clone());
        slots.oldest.push_back(key);
        slots.added += 1;
        slots.shrink();
        slot
    }
}

impl<T: Answer> Slots<T> {
    fn shrink(&mut self) {
        // Summed anew only when a hundred more came: answers arrive after their slots.
        let bytes = match self.added % 100 {
            0 => self.bytes(),
            _ => 0,
        };
        let mut over = bytes.saturating_sub(KEPT);
        while over > 0 || self.oldest.len() > ENTRIES {
            let Some(key) = self.oldest.pop_front() else {
                return;
            };
            let gone = self.by_key.remove(&key);
            over = over.saturating_sub(gone.map_or(0, |slot| size(&key, &slot)));
        }
    }

    fn bytes(&self) -> usize {
        self.by_key.iter().map(|(key, slot)| size(key, slot)).sum()
    }
}

/// The question is kept twice, and may be as long as the answer.
fn size<T: Answer>(key: &str, slot: &Slot<T>) -> usize {
    2 * key.len() + slot.get().map_or(0, |answer| answer.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(slot: &Slot<String>, bytes: usize) {
        assert!(slot.set(Arc::new("x".repeat(bytes))).is_ok());
    }

    #[test]
    fn the_oldest_go_first_and_the_sum_is_bounded() {
        let cache = Cache::default();
        for i in 0..1000 {
            fill(&cache.slot(format!("{i}")), 100_000);
        }
        let slots = cache.0.lock().unwrap();
        // A hundred of 100,000 bytes may come between two counts.
        assert!(slots.bytes() <= KEPT + 100 * 100_100, "{}", slots.bytes());
        assert!(slots.by_key.contains_key("999") && !slots.by_key.contains_key("0"));
        assert_eq!(slots.by_key.len(), slots.oldest.len());
    }

    #[test]
    fn entries_are_bounded() {
        let cache = Cache::default();
        for i in 0..ENTRIES + 10 {
            cache.slot(format!("{i}"));
        }
        assert_eq!(cache.0.lock().unwrap().by_key.len(), ENTRIES);
        let first = cache.slot("x".into());
        fill(&first, 1);
        assert!(cache.slot("x".into()).initialized());
    }
}
