//! The part of a text that identifies its language.
//!
//! The detector counts every character that is not ASCII as part of the text, so emojis, symbols and
//! words of another script would raise its confidence.

/// Minimum share of the main script in the letters of a text. Below it, the text mixes scripts.
pub(super) const SHARE_MIN: f64 = 0.8;

/// The words of a text that tell its language.
#[derive(Debug, PartialEq)]
pub(super) struct Evidence {
    /// The letters of the main script, in words.
    pub(super) words: String,
    /// The same without words that are names: those with a capital that do not begin a sentence.
    pub(super) words_without_names: String,
    /// The share of the main script in all letters, from 0 to 1.
    pub(super) share: f64,
}

/// A script, or scripts that one language uses together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letters {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Hebrew,
    Arabic,
    Georgian,
    Ethiopic,
    /// Han and kana.
    Han,
    Hangul,
    /// By block of 128 characters, which is how the scripts of India and its neighbors are arranged.
    Block(u32),
}

impl Letters {
    fn of(letter: char) -> Option<Letters> {
        if !letter.is_alphabetic() {
            return None;
        }
        Some(match u32::from(letter) {
            0x41..=0x5a
            | 0x61..=0x7a
            | 0xaa
            | 0xba
            | 0xc0..=0x2af
            | 0x1e00..=0x1eff
            | 0x2c60..=0x2c7f
            | 0xa720..=0xa7ff
            | 0xab30..=0xab6f
            | 0xfb00..=0xfb06 => Letters::Latin,
            0x370..=0x3ff | 0x1f00..=0x1fff => Letters::Greek,
            0x400..=0x52f | 0x1c80..=0x1c8f | 0x2de0..=0x2dff | 0xa640..=0xa69f => {
                Letters::Cyrillic
            }
            0x530..=0x58f | 0xfb13..=0xfb17 => Letters::Armenian,
            0x590..=0x5ff | 0xfb1d..=0xfb4f => Letters::Hebrew,
            0x600..=0x6ff | 0x750..=0x77f | 0x8a0..=0x8ff | 0xfb50..=0xfdff | 0xfe70..=0xfeff => {
                Letters::Arabic
            }
            0x10a0..=0x10ff | 0x1c90..=0x1cbf | 0x2d00..=0x2d2f => Letters::Georgian,
            0x1200..=0x139f | 0x2d80..=0x2ddf | 0xab00..=0xab2f => Letters::Ethiopic,
            0x3005..=0x3007
            | 0x3040..=0x30ff
            | 0x31f0..=0x31ff
            | 0x3400..=0x4dbf
            | 0x4e00..=0x9fff
            | 0xf900..=0xfaff
            | 0xff66..=0xff9f
            | 0x20000..=0x3ffff => Letters::Han,
            0x1100..=0x11ff | 0x3130..=0x318f | 0xa960..=0xa97f | 0xac00..=0xd7ff => {
                Letters::Hangul
            }
            // Myanmar and Khmer have two blocks each.
            0x1000..=0x109f => Letters::Block(0x1000 >> 7),
            0x1780..=0x17ff => Letters::Block(0x1780 >> 7),
            other => Letters::Block(other >> 7),
        })
    }

    /// A character of these scripts says as much as about two letters.
    fn weight(self) -> usize {
        match self {
            Letters::Han | Letters::Hangul => 2,
            _ => 1,
        }
    }
}

impl Evidence {
    pub(super) fn of(text: &str) -> Evidence {
        let words = || text.split_whitespace().filter(|word| is_word(word));
        let mut weights: Vec<(Letters, usize)> = Vec::new();
        for letters in words().flat_map(str::chars).filter_map(Letters::of) {
            match weights.iter_mut().find(|(known, _)| *known == letters) {
                Some((_, weight)) => *weight += letters.weight(),
                None => weights.push((letters, letters.weight())),
            }
        }
        let all: usize = weights.iter().map(|(_, weight)| weight).sum();
        // The first of several that are equal.
        let main = weights.iter().rev().max_by_key(|(_, weight)| *weight);
        let Some((main, weight)) = main else {
            return Evidence {
                words: String::new(),
                words_without_names: String::new(),
                share: 0.0,
            };
        };
        let (mut kept, mut without_names) = (String::new(), String::new());
        let mut begins_sentence = true;
        for word in text.split_whitespace() {
            let has_letters = word.chars().any(char::is_alphanumeric);
            if is_word(word) {
                let first = word.chars().find(|c| c.is_alphanumeric());
                let is_name = !begins_sentence && first.is_some_and(char::is_uppercase);
                push_letters(word, *main, &mut kept);
                if !is_name {
                    push_letters(word, *main, &mut without_names);
                }
            }
            let ends = word.ends_with(['.', '!', '?', ':', '…']);
            begins_sentence = ends || begins_sentence && !has_letters;
        }
        Evidence {
            words: kept,
            words_without_names: without_names,
            share: *weight as f64 / all as f64,
        }
    }
}

/// Whether it is a word, and not an address, a handle, a hashtag or a product's name with digits.
fn is_word(text: &str) -> bool {
    !(text.contains("://")
        || text.starts_with("www.")
        || text.contains('@')
        || text.starts_with('#')
        || text.chars().any(char::is_numeric))
}

/// Appends the letters of one script, and a space for the rest.
fn push_letters(word: &str, main: Letters, to: &mut String) {
    let space = |to: &mut String| {
        if !to.is_empty() && !to.ends_with(' ') {
            to.push(' ');
        }
    };
    space(to);
    let mut after_letter = false;
    for c in word.chars() {
        let keep = match Letters::of(c) {
            Some(letters) => letters == main,
            None => after_letter && is_within_word(c),
        };
        match keep {
            true => to.push(c),
            false => space(to),
        }
        after_letter = keep;
    }
}

/// Whether a character that is not a letter belongs to the letter before it: marks that combine with
/// it, and apostrophes.
fn is_within_word(c: char) -> bool {
    matches!(
        u32::from(c),
        0x27 | 0x2019
            | 0x300..=0x36f
            // Signs of the scripts of India and South-East Asia: virama, nukta, tone marks.
            | 0x900..=0xdff
            | 0xe00..=0xeff
            | 0x1000..=0x109f
            | 0x1780..=0x17ff
            // Vowel points of Hebrew and Arabic.
            | 0x591..=0x5c7
            | 0x610..=0x65f
            | 0x200c..=0x200d
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_the_main_script_are_evidence() {
        for (text, words, without_names) in [
            ("Great! 👍👍 ❤️ ½ 5°", "Great ", "Great "),
            (
                "See https://a.example/x or me@a.example #sale",
                "See or",
                "See or",
            ),
            (
                "The iPhone15 from Zoë works. Really",
                "The from Zoë works Really",
                "The from works Really",
            ),
            ("👍 Good stuff", " Good stuff", " Good stuff"),
            ("Это товар OK", "Это товар ", "Это товар "),
            (
                "これは素晴らしい製品です",
                "これは素晴らしい製品です",
                "これは素晴らしい製品です",
            ),
            ("don't l’eau", "don't l’eau", "don't l’eau"),
            ("हिन्दी में", "हिन्दी में", "हिन्दी में"),
            ("12 345 !", "", ""),
        ] {
            let found = Evidence::of(text);
            assert_eq!(found.words.trim(), words.trim(), "{text}");
            assert_eq!(
                found.words_without_names.trim(),
                without_names.trim(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_share_tells_whether_a_text_mixes_scripts() {
        for (text, mixed) in [
            ("Good 非常好", true),
            ("OK отличный", false),
            ("Отличный smartphone", true),
            ("このiPhoneケースは素晴らしいです", false),
            ("Great 👍👍👍👍👍👍👍", false),
        ] {
            assert_eq!(Evidence::of(text).share < SHARE_MIN, mixed, "{text}");
        }
    }
}
