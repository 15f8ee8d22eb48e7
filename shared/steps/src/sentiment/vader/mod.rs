//! VADER (Hutto and Gilbert, 2014): sentiment of English text by a lexicon and a few rules.
//!
//! [`Vader::compound`] returns the `compound` score of vaderSentiment 3.3.2, the authors' own
//! Python package, to four decimals. Users compare scores across tools, so the package is the
//! specification, bugs included. A comment marks each bug that is kept on purpose.
//!
//! Time is linear in the length of the text. A text with `but` adds a logarithmic factor in its
//! number of words.
//!
//! - `words.rs` turns text into words: emojis become their descriptions, punctuation is removed.
//! - `rules.rs` changes the valence of one word by the words around it.
//! - `but.rs` weighs what comes before and after `but`.
//! - `tables.rs` holds the words and phrases that the rules ask for, and loads `lexicon.tsv` and
//!   `emoji.tsv`. `tests/python/vader_data.py` makes both from the package's files; `LICENSE` is the
//!   package's (MIT).

mod but;
mod rules;
mod tables;
mod words;

use tables::{Emojis, Lexicon};

/// The scorer. Building one parses the lexicon, so build it once and share it.
#[derive(Debug)]
pub(crate) struct Vader {
    lexicon: Lexicon,
    emojis: Emojis,
}

impl Vader {
    /// Loads the lexicon and the descriptions of emojis.
    pub(crate) fn new() -> Vader {
        Vader {
            lexicon: Lexicon::new(),
            emojis: Emojis::new(),
        }
    }

    /// The sentiment of `text` from -1 (most negative) to 1 (most positive), rounded to four
    /// decimals. 0 where no word of the text is in the lexicon.
    pub(crate) fn compound(&self, text: &str) -> f64 {
        let text = words::describe_emojis(text, &self.emojis);
        let words = words::split(&text, &self.lexicon);
        let mut valences: Vec<f64> = rules::valences(&words);
        if let Some(but) = words.iter().position(|word| word.lower == "but") {
            but::weigh(&mut valences, but);
        }
        // From left to right without compensation, as `sum` of Python before 3.12: where positive
        // and negative words cancel out, the last bit decides whether emphasis is added at all.
        let mut sum = valences.iter().fold(0.0, |sum, valence| sum + valence);
        if sum > 0.0 {
            sum += emphasis(&text);
        } else if sum < 0.0 {
            sum -= emphasis(&text);
        }
        round(normalize(sum))
    }
}

/// What exclamation and question marks add to the sum. At most four `!` count. A single `?` has no
/// effect; two or three add a little each, and more add a fixed amount.
fn emphasis(text: &str) -> f64 {
    let count = |mark: u8| text.bytes().filter(|byte| *byte == mark).count();
    let exclamations = count(b'!').min(4) as f64 * 0.292;
    let questions = match count(b'?') {
        0 | 1 => 0.0,
        few @ (2 | 3) => few as f64 * 0.18,
        _ => 0.96,
    };
    exclamations + questions
}

/// Maps a sum of valences to -1..1.
fn normalize(sum: f64) -> f64 {
    /// Approximates the largest sum to expect.
    const ALPHA: f64 = 15.0;
    (sum / (sum * sum + ALPHA).sqrt()).clamp(-1.0, 1.0)
}

/// Rounds to four decimals as Python's `round` does: by the exact decimal value, without the error
/// of a multiplication by 10,000. Never returns -0.
fn round(score: f64) -> f64 {
    format!("{score:.4}").parse().unwrap_or(score) + 0.0
}

#[cfg(test)]
mod tests;
