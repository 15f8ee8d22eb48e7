//! The n-grams of a text as 64-bit keys. The keys are part of the format of model files: they never
//! change within a version.
//!
//! There are two families, like in scikit-learn's `TfidfVectorizer`: single words and pairs of words
//! (`ngram_range=(1, 2)`), and 3 to 5 characters within a word that has a space on each side
//! (`analyzer="char_wb"`, `ngram_range=(3, 5)`). The text is converted to lower case first.

/// The bit that is set in the keys of character n-grams. Words come first in sorted keys.
pub(crate) const CHARACTERS: u64 = 1 << 63;

/// Lengths of character n-grams, in characters.
const SHORTEST: usize = 3;
const LONGEST: usize = 5;

/// Shortest word that is an n-gram. Shorter ones only have character n-grams.
const WORD_CHARS: usize = 2;

/// FNV-1a, 64 bits: offset basis and prime (Fowler, Noll and Vo).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The key of an n-gram, and its first and last token (numbered as by [`str::split_whitespace`]).
/// Only pairs of words have two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gram {
    pub(crate) key: u64,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Calls `visit` with every n-gram of `text`, including repetitions.
pub(crate) fn grams(text: &str, mut visit: impl FnMut(Gram)) {
    let text = text.to_lowercase();
    let mut padded = String::new();
    let mut starts = Vec::new();
    // The previous word: its hash and its token.
    let mut before: Option<(u64, usize)> = None;
    for (token, word) in text.split_whitespace().enumerate() {
        for part in word.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if part.chars().nth(WORD_CHARS - 1).is_none() {
                continue;
            }
            let one = fnv(BASIS, part.as_bytes());
            visit(Gram {
                key: word_key(one),
                first: token,
                last: token,
            });
            if let Some((hash, first)) = before {
                let pair = fnv(fnv(hash, b" "), part.as_bytes());
                visit(Gram {
                    key: word_key(pair),
                    first,
                    last: token,
                });
            }
            before = Some((one, token));
        }

        padded.clear();
        padded.push(' ');
        padded.push_str(word);
        padded.push(' ');
        starts.clear();
        starts.extend(padded.char_indices().map(|(at, _)| at));
        starts.push(padded.len());
        let bytes = padded.as_bytes();
        // n + 1 boundaries enclose n characters. Near the end there are only shorter n-grams.
        for at in 0..starts.len().saturating_sub(SHORTEST) {
            let ends = &starts[at + SHORTEST..starts.len().min(at + LONGEST + 1)];
            let (mut hash, mut from) = (BASIS, starts[at]);
            for &end in ends {
                hash = fnv(hash, &bytes[from..end]);
                from = end;
                visit(Gram {
                    key: mix(hash) | CHARACTERS,
                    first: token,
                    last: token,
                });
            }
        }
    }
}

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    hash
}

fn word_key(hash: u64) -> u64 {
    mix(hash) & !CHARACTERS
}

/// Distributes a hash over all bits: the finalizer of MurmurHash3 (Appleby).
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Calls `visit` with the key and count of each n-gram of a text, in the order of the keys.
pub(crate) fn counted(text: &str, keys: &mut Vec<u64>, mut visit: impl FnMut(u64, u32)) {
    keys.clear();
    grams(text, |gram| keys.push(gram.key));
    keys.sort_unstable();
    for same in keys.chunk_by(|a, b| a == b) {
        // A text of 2^32 n-grams does not fit a cell.
        visit(same[0], u32::try_from(same.len()).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn word(text: &str) -> u64 {
        word_key(fnv(BASIS, text.as_bytes()))
    }

    fn chars(text: &str) -> u64 {
        mix(fnv(BASIS, text.as_bytes())) | CHARACTERS
    }

    fn all(text: &str) -> Vec<u64> {
        let mut keys = Vec::new();
        grams(text, |g| keys.push(g.key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_text_has_words_pairs_and_characters() {
        let mut expected = vec![word("héllo"), word("héllo it"), word("it")];
        let parts = [
            " hé", " hél", " héll", "hél", "héll", "héllo", "éll", "éllo", "éllo,", "llo", "llo,",
            "llo, ", "lo,", "lo, ", "o, ", " it", " it ", "it ", " a ",
        ];
        expected.extend(parts.map(chars));
        expected.sort_unstable();
        assert_eq!(all("Héllo,  IT a"), expected);
    }

    #[test]
    fn a_pair_has_the_tokens_of_both_words() {
        let mut pairs = Vec::new();
        grams("no-one came , twice", |g| {
            if g.first != g.last {
                pairs.push((g.key, g.first, g.last));
            }
        });
        assert_eq!(
            pairs,
            [(word("one came"), 0, 1), (word("came twice"), 1, 3)]
        );
    }

    /// Keys are stored in files: changing them requires a new version of the format.
    #[test]
    fn keys_do_not_change() {
        assert_eq!(word("late"), 0x332e_dfca_91f5_183d);
        assert_eq!(chars(" la"), 0xb5a6_2ab7_bd89_406c);
    }

    proptest! {
        /// Compares with the definition of the two families.
        #[test]
        fn every_text_has_the_ngrams_of_the_definition(text in "\\PC{0,60}|[a-c, é日]{0,40}") {
            let mut expected = Vec::new();
            let lower = text.to_lowercase();
            let words: Vec<&str> = lower
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|w| w.chars().count() >= 2)
                .collect();
            expected.extend(words.iter().map(|w| word(w)));
            expected.extend(words.windows(2).map(|w| word(&w.join(" "))));
            for token in lower.split_whitespace() {
                let token: Vec<char> = format!(" {token} ").chars().collect();
                for n in 3..=5 {
                    expected.extend(token.windows(n).map(|w| chars(&w.iter().collect::<String>())));
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(all(&text), expected);
        }

        #[test]
        fn counts_are_in_the_order_of_the_keys(text in "[ab ]{0,40}") {
            let mut expected = BTreeMap::new();
            for key in all(&text) {
                *expected.entry(key).or_insert(0) += 1;
            }
            let mut found = Vec::new();
            counted(&text, &mut Vec::new(), |key, count| found.push((key, count)));
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
