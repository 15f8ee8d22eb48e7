//! Responses kept within a child, so that rows that ask for the same get it from one request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use super::extract::Fetched;

/// Bytes of bodies kept, in all. A child has 512 MiB by default.
const KEPT: usize = 32 * 1024 * 1024;
/// Responses kept.
const ENTRIES: usize = 10_000;

/// A response that is there, or that somebody is fetching while others wait for it.
pub(super) type Slot = Arc<OnceCell<Arc<Fetched>>>;

/// The responses by request, the oldest given up first.
#[derive(Default)]
pub(super) struct Cache(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    by_key: HashMap<String, Slot>,
    oldest: VecDeque<String>,
    added: usize,
}

impl Cache {
    /// The place of a request's response.
    pub(super) fn slot(&self, key: String) -> Slot {
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

impl Slots {
    fn shrink(&mut self) {
        // Summed anew only when a hundred more came: bodies arrive after their slots.
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
            over = over.saturating_sub(gone.map_or(0, |slot| size(&slot)));
        }
    }

    fn bytes(&self) -> usize {
        self.by_key.values().map(size).sum()
    }
}

fn size(slot: &Slot) -> usize {
    slot.get().map_or(0, |fetched| fetched.body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(slot: &Slot, bytes: usize) {
        let fetched = Fetched {
            status: reqwest::StatusCode::OK,
            headers: reqwest::header::HeaderMap::new(),
            body: vec![0; bytes].into(),
        };
        assert!(slot.set(Arc::new(fetched)).is_ok());
    }

    #[test]
    fn the_oldest_go_first_and_the_sum_is_bounded() {
        let cache = Cache::default();
        for i in 0..1000 {
            fill(&cache.slot(format!("{i}")), 100_000);
        }
        let slots = cache.0.lock().unwrap();
        // A hundred of 100,000 bytes may come between two counts.
        assert!(slots.bytes() <= KEPT + 100 * 100_000, "{}", slots.bytes());
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
