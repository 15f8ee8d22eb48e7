//! The words and phrases that the rules ask for, and the two data files.

use std::collections::HashMap;

use super::words::Word;

/// What a booster adds to a valence.
const B_INCR: f64 = 0.293;
/// What a dampener adds to a valence.
pub(super) const B_DECR: f64 = -0.293;

/// The valence of "no" where it negates the next word.
pub(super) const NO_VALENCE: f64 = 0.0;

/// The role of a word in the rules. No word is two of these; a test checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// In the lexicon, with this valence (-4 to 4).
    Valence(f64),
    /// Strengthens or weakens what follows by this much.
    Boost(f64),
    /// Turns what follows into its opposite.
    Negation,
    /// None of these.
    Other,
}

impl Meaning {
    pub(super) fn is_valence(self) -> bool {
        matches!(self, Meaning::Valence(_))
    }
}

/// Words by what they mean.
#[derive(Debug)]
pub(super) struct Lexicon(HashMap<&'static str, Meaning>);

impl Lexicon {
    pub(super) fn new() -> Lexicon {
        let valences = lines(include_str!("lexicon.tsv"))
            .filter_map(|(word, valence)| Some((word, Meaning::Valence(valence.parse().ok()?))));
        let boosters = BOOSTERS.iter().map(|word| (*word, Meaning::Boost(B_INCR)));
        let dampeners = DAMPENERS.iter().map(|word| (*word, Meaning::Boost(B_DECR)));
        let negations = NEGATIONS.iter().map(|word| (*word, Meaning::Negation));
        Lexicon(
            valences
                .chain(boosters)
                .chain(dampeners)
                .chain(negations)
                .collect(),
        )
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The meaning of a word in lower case.
    pub(super) fn meaning(&self, lower: &str) -> Meaning {
        match self.0.get(lower) {
            Some(meaning) => *meaning,
            // Contractions that are not listed, as "ain'ts".
            None if lower.contains("n't") => Meaning::Negation,
            None => Meaning::Other,
        }
    }
}

/// Emojis of one character with their descriptions in English.
#[derive(Debug)]
pub(super) struct Emojis(HashMap<char, &'static str>);

impl Emojis {
    pub(super) fn new() -> Emojis {
        Emojis(
            lines(include_str!("emoji.tsv"))
                .filter_map(|(emoji, description)| Some((emoji.chars().next()?, description)))
                .collect(),
        )
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn description(&self, c: char) -> Option<&'static str> {
        self.0.get(&c).copied()
    }
}

/// The two columns of each line.
fn lines(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter_map(|line| line.split_once('\t'))
}

/// The valence that a phrase gives to the words around it. The reference also lists "badass", but
/// compares it to phrases only, so it has no effect.
pub(super) fn phrase(words: &[Word<'_>]) -> Option<f64> {
    PHRASES
        .iter()
        .find(|(phrase, _)| {
            phrase
                .iter()
                .copied()
                .eq(words.iter().map(|word| &*word.lower))
        })
        .map(|(_, valence)| *valence)
}

/// Whether two words together are a dampener.
pub(super) fn is_dampener(first: &Word<'_>, second: &Word<'_>) -> bool {
    matches!(
        (&*first.lower, &*second.lower),
        ("just", "enough") | ("kind" | "sort", "of")
    )
}

const PHRASES: [(&[&str], f64); 8] = [
    (&["the", "shit"], 3.0),
    (&["the", "bomb"], 3.0),
    (&["bad", "ass"], 1.5),
    (&["bus", "stop"], 0.0),
    (&["yeah", "right"], -2.0),
    (&["kiss", "of", "death"], -1.5),
    (&["to", "die", "for"], 3.0),
    (&["beating", "heart"], 3.5),
];

#[rustfmt::skip]
pub(super) const BOOSTERS: [&str; 60] = [
    "absolutely", "amazingly", "awfully", "completely", "considerable", "considerably",
    "decidedly", "deeply", "effing", "enormous", "enormously", "entirely", "especially",
    "exceptional", "exceptionally", "extreme", "extremely", "fabulously", "flipping", "flippin",
    "frackin", "fracking", "fricking", "frickin", "frigging", "friggin", "fully", "fuckin",
    "fucking", "fuggin", "fugging", "greatly", "hella", "highly", "hugely", "incredible",
    "incredibly", "intensely", "major", "majorly", "more", "most", "particularly", "purely",
    "quite", "really", "remarkably", "so", "substantially", "thoroughly", "total", "totally",
    "tremendous", "tremendously", "uber", "unbelievably", "unusually", "utter", "utterly", "very",
];

#[rustfmt::skip]
pub(super) const DAMPENERS: [&str; 21] = [
    "almost", "barely", "hardly", "kinda", "kindof", "kind-of", "less", "little", "marginal",
    "marginally", "occasional", "occasionally", "partly", "scarce", "scarcely", "slight",
    "slightly", "somewhat", "sorta", "sortof", "sort-of",
];

#[rustfmt::skip]
pub(super) const NEGATIONS: [&str; 59] = [
    "aint", "arent", "cannot", "cant", "couldnt", "darent", "didnt", "doesnt", "ain't", "aren't",
    "can't", "couldn't", "daren't", "didn't", "doesn't", "dont", "hadnt", "hasnt", "havent",
    "isnt", "mightnt", "mustnt", "neither", "don't", "hadn't", "hasn't", "haven't", "isn't",
    "mightn't", "mustn't", "neednt", "needn't", "never", "none", "nope", "nor", "not", "nothing",
    "nowhere", "oughtnt", "shant", "shouldnt", "uhuh", "wasnt", "werent", "oughtn't", "shan't",
    "shouldn't", "uh-uh", "wasn't", "weren't", "without", "wont", "wouldnt", "won't", "wouldn't",
    "rarely", "seldom", "despite",
];
