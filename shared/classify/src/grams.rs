//! A text's n-grams, each as a 64-bit key. The keys are part of the model's format: they never
//! change within a version of it.
//!
//! Two families, as scikit-learn's `TfidfVectorizer` has them: single words and pairs of words
//! (`ngram_range=(1, 2)`), and 3 to 5 characters within one word with a space on each side
//! (`analyzer="char_wb"`, `ngram_range=(3, 5)`). Letters are lowercased first.

/// Set in the keys of character n-grams, so that sorted keys have the words first.
pub(crate) const CHARACTERS: u64 = 1 << 63;

/// Lengths of character n-grams, in characters.
const SHORTEST: usize = 3;
const LONGEST: usize = 5;

/// Words shorter than this are no features of their own; their characters still are.
const WORD_CHARS: usize = 2;

/// FNV-1a, 64 bits: offset basis and prime (Fowler, Noll and Vo).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Which n-gram was met, and between which of the text's tokens (counted as
/// [`str::split_whitespace`] does) it stands; both the same but for a pair of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gram {
    pub(crate) key: u64,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Hands every n-gram of `text` on, repeats included.
pub(crate) fn grams(text: &str, mut take: impl FnMut(Gram)) {
    let text = text.to_lowercase();
    let mut padded = String::new();
    let mut starts = Vec::new();
    // The word before: its hash so far, and its token.
    let mut before: Option<(u64, usize)> = None;
    for (token, word) in text.split_whitespace().enumerate() {
        for part in word.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if part.chars().nth(WORD_CHARS - 1).is_none() {
                continue;
            }
            let one = fnv(BASIS, part.as_bytes());
            take(Gram {
                key: word_key(one),
                first: token,
                last: token,
            });
            if let Some((hash, first)) = before {
                let pair = fnv(fnv(hash, b" "), part.as_bytes());
                take(Gram {
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
        // Windows of 4 places hold 3 characters; the last ones have no 4th or 5th.
        for at in 0..starts.len().saturating_sub(SHORTEST) {
            let ends = &starts[at + SHORTEST..starts.len().min(at + LONGEST + 1)];
            let (mut hash, mut from) = (BASIS, starts[at]);
            for &end in ends {
                hash = fnv(hash, &bytes[from..end]);
                from = end;
                take(Gram {
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

/// Spreads a hash over all bits: the last step of MurmurHash3 (Appleby).
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The n-grams of a text, sorted by key, with how often each occurs.
pub(crate) fn counted(text: &str, keys: &mut Vec<u64>, mut take: impl FnMut(u64, u32)) {
    keys.clear();
    grams(text, |gram| keys.push(gram.key));
    keys.sort_unstable();
    for same in keys.chunk_by(|a, b| a == b) {
        // A text of 2^32 n-grams does not fit a cell.
        take(same[0], u32::try_from(same.len()).unwrap_or(u32::MAX));
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
    fn words_pairs_and_characters() {
        let mut wanted = vec![word("héllo"), word("héllo it"), word("it")];
        let parts = [
            " hé", " hél", " héll", "hél", "héll", "héllo", "éll", "éllo", "éllo,", "llo", "llo,",
            "llo, ", "lo,", "lo, ", "o, ", " it", " it ", "it ", " a ",
        ];
        wanted.extend(parts.map(chars));
        wanted.sort_unstable();
        assert_eq!(all("Héllo,  IT a"), wanted);
    }

    #[test]
    fn a_pair_stands_between_its_tokens() {
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

    /// Keys are in files: a change here needs a new version of the format.
    #[test]
    fn keys_stay_as_they_are() {
        assert_eq!(word("late"), 0x332e_dfca_91f5_183d);
        assert_eq!(chars(" la"), 0xb5a6_2ab7_bd89_406c);
    }

    proptest! {
        /// By the definition of the two families, over the characters of each token.
        #[test]
        fn any_text_has_the_ngrams_of_the_definition(text in "\\PC{0,60}|[a-c, é日]{0,40}") {
            let mut wanted = Vec::new();
            let lower = text.to_lowercase();
            let words: Vec<&str> = lower
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|w| w.chars().count() >= 2)
                .collect();
            wanted.extend(words.iter().map(|w| word(w)));
            wanted.extend(words.windows(2).map(|w| word(&w.join(" "))));
            for token in lower.split_whitespace() {
                let token: Vec<char> = format!(" {token} ").chars().collect();
                for n in 3..=5 {
                    wanted.extend(token.windows(n).map(|w| chars(&w.iter().collect::<String>())));
                }
            }
            wanted.sort_unstable();
            prop_assert_eq!(all(&text), wanted);
        }

        #[test]
        fn counts_are_of_sorted_keys(text in "[ab ]{0,40}") {
            let mut wanted = BTreeMap::new();
            for key in all(&text) {
                *wanted.entry(key).or_insert(0) += 1;
            }
            let mut found = Vec::new();
            counted(&text, &mut Vec::new(), |key, count| found.push((key, count)));
            prop_assert_eq!(found, wanted.into_iter().collect::<Vec<_>>());
        }
    }
}
