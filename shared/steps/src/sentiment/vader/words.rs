//! From text to words, as the reference's `polarity_scores` and `SentiText` do it.

use std::borrow::Cow;

use super::tables::{Emojis, Lexicon, Meaning};

/// One word or emoticon of a text.
#[derive(Debug)]
pub(super) struct Word<'t> {
    /// In lower case. All rules compare this.
    pub(super) lower: Cow<'t, str>,
    /// Written in capitals, in a text where not all words are. Only then do capitals emphasize.
    pub(super) shouted: bool,
    pub(super) meaning: Meaning,
}

/// Replaces each emoji by its description. An emoji is one character: skin tones and joined
/// emojis are described part by part.
///
/// As in the reference, a space goes before a description (unless one is there already) but not
/// after it: in "😀good" the last word is "facegood".
pub(super) fn describe_emojis<'t>(text: &'t str, emojis: &Emojis) -> Cow<'t, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut described = String::with_capacity(text.len());
    let mut after_space = true;
    for c in text.chars() {
        if let Some(description) = emojis.description(c) {
            if !after_space {
                described.push(' ');
            }
            described.push_str(description);
            after_space = false;
        } else {
            described.push(c);
            after_space = c == ' ';
        }
    }
    Cow::Owned(described)
}

/// The words of a text, with the lexicon entry of each.
pub(super) fn split<'t>(text: &'t str, lexicon: &Lexicon) -> Vec<Word<'t>> {
    let mut words: Vec<Word<'t>> = text
        .split(is_space)
        .filter(|token| !token.is_empty())
        .map(|token| {
            let token = strip_punctuation(token);
            let lower = lowercase(token);
            Word {
                meaning: lexicon.meaning(&lower),
                shouted: is_upper(token),
                lower,
            }
        })
        .collect();
    // In a text of capitals only, capitals emphasize nothing.
    if words.iter().all(|word| word.shouted) {
        for word in &mut words {
            word.shouted = false;
        }
    }
    words
}

/// White space as of Python's `str.split`: that of Unicode and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The token without ASCII punctuation around it. Where no more than two characters would be left,
/// it may be an emoticon and stays whole. This also keeps "no," and "ok." whole, which are then in
/// no list.
fn strip_punctuation(token: &str) -> &str {
    let stripped = token.trim_matches(|c: char| c.is_ascii_punctuation());
    if stripped.chars().nth(2).is_some() {
        stripped
    } else {
        token
    }
}

fn lowercase(token: &str) -> Cow<'_, str> {
    if token
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
    {
        Cow::Borrowed(token)
    } else {
        Cow::Owned(token.to_lowercase())
    }
}

/// Python's `str.isupper`: at least one upper-case letter, and none in lower or title case.
fn is_upper(token: &str) -> bool {
    let mut upper = false;
    for c in token.chars() {
        if c.is_lowercase() || is_titlecase(c) {
            return false;
        }
        upper |= c.is_uppercase();
    }
    upper
}

/// Unicode's category Lt: digraphs such as "ǅ" and Greek capitals with iota. The standard library
/// has no test for it.
fn is_titlecase(c: char) -> bool {
    matches!(c,
        '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}'
        | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}'
        | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}
