//! The valence of each word, changed by the words around it.

use super::tables::{self, B_DECR, Meaning, NO_VALENCE};
use super::words::Word;

/// What capitals add to the valence of a word, or to the effect of a booster.
const CAPITALS: f64 = 0.733;

/// What a negation multiplies a valence by.
const NEGATED: f64 = -0.74;

/// The valence of each word; 0 for those not in the lexicon.
pub(super) fn valences(words: &[Word<'_>]) -> Vec<f64> {
    (0..words.len()).map(|i| valence(words, i)).collect()
}

fn valence(words: &[Word<'_>], i: usize) -> f64 {
    let Meaning::Valence(own) = words[i].meaning else {
        return 0.0;
    };
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.lower == word);
    // "kind of" only weakens what follows.
    if is(i, "kind") && is(i + 1, "of") {
        return 0.0;
    }
    // Whether the word `n` places before is `word`.
    let before = |n: usize, word: &str| i >= n && is(i - n, word);

    let mut valence = own;
    // "no" before a word of the lexicon has no valence of its own.
    if is(i, "no") && words.get(i + 1).is_some_and(|w| w.meaning.is_valence()) {
        valence = NO_VALENCE;
    }
    // Its effect on the next two words, or on "no complaints or problems". The reference applies
    // it to "no" itself as well, as in "no no good".
    if before(1, "no")
        || before(2, "no")
        || (before(3, "no") && (before(1, "or") || before(1, "nor")))
    {
        valence = own * NEGATED;
    }
    // A "NO" that negates has valence 0 here and becomes negative again: kept from the reference.
    if words[i].shouted {
        valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
    }
    for distance in 1..=3 {
        if i < distance {
            break;
        }
        let word = &words[i - distance];
        // A word of the lexicon neither boosts nor negates, and it also switches off the other
        // checks of its place, phrases included.
        if word.meaning.is_valence() {
            continue;
        }
        valence += boost(word, distance, valence);
        valence = negate(&words[i - distance..i], valence);
        if distance == 3 {
            valence = phrases(words, i, valence);
        }
    }
    // "least good", but not "at least good" and "very least good".
    if before(1, "least") && !before(2, "at") && !before(2, "very") {
        valence *= NEGATED;
    }
    valence
}

/// What `word`, `distance` places before a word of the given valence, adds to it.
fn boost(word: &Word<'_>, distance: usize, valence: f64) -> f64 {
    let Meaning::Boost(boost) = word.meaning else {
        return 0.0;
    };
    let mut boost = if valence < 0.0 { -boost } else { boost };
    // Capitals strengthen a dampener too: "BARELY good" is better than "good".
    if word.shouted {
        boost += if valence > 0.0 { CAPITALS } else { -CAPITALS };
    }
    match distance {
        2 => boost * 0.95,
        3 => boost * 0.9,
        _ => boost,
    }
}

/// `valence` after a look at the first of the words `before` it, of which there are one to three.
fn negate(before: &[Word<'_>], valence: f64) -> f64 {
    let [first, between @ ..] = before else {
        return valence;
    };
    let between = |word: &str| between.iter().any(|w| w.lower == word);
    let so_or_this = |at: usize| {
        before
            .get(at)
            .is_some_and(|w| w.lower == "so" || w.lower == "this")
    };
    // "never so good" and "never this good" are praise. Three places away, the reference's `and`
    // binds tighter than its `or`: "so" or "this" right before the word is enough, without "never".
    let praise = match before.len() {
        2 => first.lower == "never" && so_or_this(1),
        3 => (first.lower == "never" && so_or_this(1)) || so_or_this(2),
        _ => false,
    };
    if praise {
        valence * 1.25
    } else if first.lower == "without" && between("doubt") {
        valence
    } else if first.meaning == Meaning::Negation {
        valence * NEGATED
    } else {
        valence
    }
}

/// `valence` of word `i`, which has at least three words before it, after a look at phrases.
fn phrases(words: &[Word<'_>], i: usize, valence: f64) -> f64 {
    let phrase = |start: usize, end: usize| words.get(start..end).and_then(tables::phrase);
    // A phrase sets the valence; the first that is found counts. The reference also looks at those
    // that end before the word, so "the shit is good" has a "good" of 3.
    let mut valence = phrase(i - 1, i + 1)
        .or_else(|| phrase(i - 2, i + 1))
        .or_else(|| phrase(i - 2, i))
        .or_else(|| phrase(i - 3, i))
        .or_else(|| phrase(i - 3, i - 1))
        .unwrap_or(valence);
    if let Some(set) = phrase(i, i + 2) {
        valence = set;
    }
    if let Some(set) = phrase(i, i + 3) {
        valence = set;
    }
    // "kind of" and similar phrases weaken by addition, whatever the sign of the valence.
    for start in [i - 3, i - 2] {
        if tables::is_dampener(&words[start], &words[start + 1]) {
            valence += B_DECR;
        }
    }
    valence
}
