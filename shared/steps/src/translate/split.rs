//! Splits a long text into parts that a service accepts.

use unicode_segmentation::UnicodeSegmentation as _;

use super::Limit;

/// Splits a text at sentence boundaries (Unicode Standard Annex 29) into parts within the limit, each
/// as long as possible. A sentence over the limit is split between words, and a word over the limit
/// between characters. The concatenated parts are the text.
pub(super) fn parts(text: &str, limit: Limit) -> Vec<&str> {
    let mut ends = Vec::new();
    for sentence in text.split_sentence_bounds() {
        push(sentence, limit, &mut ends, |sentence, ends| {
            for word in sentence.split_word_bounds() {
                push(word, limit, ends, |word, ends| {
                    let mut last = *ends.last().unwrap_or(&0);
                    ends.extend(word.chars().map(|c| {
                        last += c.len_utf8();
                        last
                    }));
                });
            }
        });
    }
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, 0);
    for next in ends {
        if end > start && !limit.accepts(&text[start..next]) {
            parts.push(&text[start..end]);
            start = end;
        }
        end = next;
    }
    if end > start {
        parts.push(&text[start..end]);
    }
    parts
}

/// Adds the end of a piece, or of its pieces by `split` if it exceeds the limit.
fn push(piece: &str, limit: Limit, ends: &mut Vec<usize>, split: impl Fn(&str, &mut Vec<usize>)) {
    if limit.accepts(piece) {
        ends.push(ends.last().unwrap_or(&0) + piece.len());
    } else {
        split(piece, ends);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_split_at_sentence_boundaries() {
        let text = "It broke. I wrote to them. Nobody answered!  Bad.";
        assert_eq!(
            parts(text, Limit::Chars(28)),
            ["It broke. I wrote to them. ", "Nobody answered!  Bad."]
        );
        assert_eq!(parts(text, Limit::Chars(49)), [text]);
        assert_eq!(parts("", Limit::Chars(5)), [""; 0]);
    }

    #[test]
    fn long_sentences_are_split_between_words_and_long_words_between_characters() {
        assert_eq!(
            parts("one two three four", Limit::Chars(8)),
            ["one two ", "three ", "four"]
        );
        assert_eq!(parts("abcdefghij", Limit::Chars(4)), ["abcd", "efgh", "ij"]);
        assert_eq!(parts("äöüß", Limit::Bytes(4)), ["äö", "üß"]);
        assert_eq!(parts("很好用", Limit::Bytes(1)), ["很", "好", "用"]);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_limit_and_concatenate_to_the_text(
            text in "([a-zäß很]{1,12}[ .!?\n]{0,2}){0,60}|\\PC{0,200}",
            max in 1_usize..200,
            bytes in any::<bool>(),
        ) {
            let limit = if bytes { Limit::Bytes(max) } else { Limit::Chars(max) };
            let parts = parts(&text, limit);
            prop_assert_eq!(parts.concat(), text.as_str());
            for part in parts {
                // A part has at least one character.
                prop_assert!(limit.accepts(part) || part.chars().count() == 1);
                prop_assert!(!part.is_empty());
            }
        }
    }
}
