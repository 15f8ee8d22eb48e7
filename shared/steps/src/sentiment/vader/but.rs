//! "But" shifts the weight: half for what comes before it, one and a half for what comes after.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Weighs `valences` around the word at `but`.
///
/// The reference intends to weight each word once. It walks over the list and, to find the index of
/// the current valence, asks for the first place that holds an equal one (`list.index`) in the list
/// it is changing. So a word whose valence equals that of an earlier word, after earlier changes,
/// is passed over, and the earlier word is weighted again. Scores depend on it, so it is kept;
/// the heap of places for each valence finds the first one without a search.
pub(super) fn weigh(valences: &mut [f64], but: usize) {
    // The places seen so far, by the bits of the valence that they hold now. Places not yet seen
    // hold their first valence and come later than the current one, so they are never first.
    let mut places: HashMap<u64, BinaryHeap<Reverse<usize>>> = HashMap::new();
    for current in 0..valences.len() {
        let valence = valences[current];
        // Zero stays zero. It would also be one heap of almost all words.
        if valence == 0.0 {
            continue;
        }
        let equal = places.entry(valence.to_bits()).or_default();
        equal.push(Reverse(current));
        let Some(Reverse(first)) = equal.pop() else {
            continue;
        };
        // Never equal: the valence of "but" itself is 0.
        let weighed = valence * if first < but { 0.5 } else { 1.5 };
        valences[first] = weighed;
        places
            .entry(weighed.to_bits())
            .or_default()
            .push(Reverse(first));
    }
}
