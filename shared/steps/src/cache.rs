//! A cache of answers within a child, so that rows with the same request share one answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

/// Maximum size of all cached answers, in bytes. A child has 512 MiB by default.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Maximum number of cached answers.
const ENTRIES_MAX: usize = 10_000;

/// A value that can be cached.
pub(crate) trait Cached {
    /// Approximate size in memory.
    fn bytes(&self) -> usize;
}

impl Cached for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// The place of one answer. The first caller fills it while the others wait.
pub(crate) type Slot<T> = Arc<OnceCell<Arc<T>>>;

/// Answers by key. The oldest are evicted first.
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

impl<T: Cached> Cache<T> {
    /// The slot for a key, created if there is none.
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
        slots.evict();
        slot
    }
}

impl<T: Cached> Slots<T> {
    fn evict(&mut self) {
        // Sizes are summed once per 100 slots: answers arrive after their slots, and summing is slow.
        let bytes = match self.added % 100 {
            0 => self.bytes(),
            _ => 0,
        };
        let mut over = bytes.saturating_sub(BYTES_MAX);
        while over > 0 || self.oldest.len() > ENTRIES_MAX {
            let Some(key) = self.oldest.pop_front() else {
                return;
            };
            let evicted = self.by_key.remove(&key);
            over = over.saturating_sub(evicted.map_or(0, |slot| size(&key, &slot)));
        }
    }

    fn bytes(&self) -> usize {
        self.by_key.iter().map(|(key, slot)| size(key, slot)).sum()
    }
}

/// The key is stored twice, and may be as long as the answer.
fn size<T: Cached>(key: &str, slot: &Slot<T>) -> usize {
    2 * key.len() + slot.get().map_or(0, |answer| answer.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(slot: &Slot<String>, bytes: usize) {
        assert!(slot.set(Arc::new("x".repeat(bytes))).is_ok());
    }

    #[test]
    fn the_oldest_answers_are_evicted_when_the_cache_is_full() {
        let cache = Cache::default();
        for i in 0..1000 {
            fill(&cache.slot(format!("{i}")), 100_000);
        }
        let slots = cache.0.lock().unwrap();
        // Up to 100 answers of 100,000 bytes arrive between two sums.
        assert!(
            slots.bytes() <= BYTES_MAX + 100 * 100_100,
            "{}",
            slots.bytes()
        );
        assert!(slots.by_key.contains_key("999") && !slots.by_key.contains_key("0"));
        assert_eq!(slots.by_key.len(), slots.oldest.len());
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let cache = Cache::default();
        for i in 0..ENTRIES_MAX + 10 {
            cache.slot(format!("{i}"));
        }
        assert_eq!(cache.0.lock().unwrap().by_key.len(), ENTRIES_MAX);
        let first = cache.slot("x".into());
        fill(&first, 1);
        assert!(cache.slot("x".into()).initialized());
    }
}
