use std::time::Duration;

use super::tables::{BOOSTERS, DAMPENERS, Meaning, NEGATIONS};
use super::*;
use crate::cpu_time::cpu_time;

/// Sentences with the scores of vaderSentiment 3.3.2, from `tests/python/vader_sentences.py --golden`.
/// Each rule fires in at least 50 of them, and each listed word in at least 10.
const GOLDEN: &str = include_str!("golden.tsv");

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                _ => '\\',
            },
            c => c,
        });
    }
    plain
}

#[test]
fn scores_equal_those_of_the_published_package() {
    let vader = Vader::new();
    let mut sentences = 0;
    for line in GOLDEN.split_terminator('\n') {
        let (score, text) = line.split_once('\t').unwrap();
        let text = unescape(text);
        assert_eq!(
            vader.compound(&text),
            score.parse::<f64>().unwrap(),
            "{text:?}"
        );
        sentences += 1;
    }
    assert!(sentences >= 2_000);
}

#[test]
fn the_authors_examples_score_as_published() {
    let vader = Vader::new();
    for (text, score) in [
        ("VADER is smart, handsome, and funny.", 0.8316),
        ("VADER is smart, handsome, and funny!", 0.8439),
        ("VADER is very smart, handsome, and funny.", 0.8545),
        ("VADER is VERY SMART, handsome, and FUNNY.", 0.9227),
        ("VADER is VERY SMART, handsome, and FUNNY!!!", 0.9342),
        (
            "VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!",
            0.9469,
        ),
        ("VADER is not smart, handsome, nor funny.", -0.7424),
        ("At least it isn't a horrible book.", 0.431),
        ("The book was only kind of good.", 0.3832),
        ("Today only kinda sux! But I'll get by, lol", 0.5249),
        ("Catch utf-8 emoji such as 💘 and 💋 and 😁", 0.875),
        ("Not bad at all", 0.431),
        ("", 0.0),
    ] {
        assert_eq!(vader.compound(text), score, "{text}");
    }
}

#[test]
fn all_of_the_lexicon_is_loaded_and_no_word_has_two_meanings() {
    let vader = Vader::new();
    for (words, meaning) in [
        (&BOOSTERS[..], Meaning::Boost(0.293)),
        (&DAMPENERS[..], Meaning::Boost(-0.293)),
        (&NEGATIONS[..], Meaning::Negation),
    ] {
        for word in words {
            assert_eq!(vader.lexicon.meaning(word), meaning, "{word}");
        }
    }
    assert_eq!(
        vader.lexicon.len(),
        7_506 + BOOSTERS.len() + DAMPENERS.len() + NEGATIONS.len()
    );
    assert_eq!(vader.emojis.len(), 1_212);
    for word in ["but", "least", "never", "so", "this", "without", "at", "or"] {
        assert!(!vader.lexicon.meaning(word).is_valence(), "{word}");
    }
}

#[test]
fn a_but_passes_over_a_valence_equal_to_an_earlier_one_as_the_reference_does() {
    // 2 becomes 1; then 1 is found at the first place, which is halved again.
    let mut valences = [2.0, 1.0, 0.0, 2.0, 3.0];
    but::weigh(&mut valences, 2);
    assert_eq!(valences, [0.5, 1.0, 0.0, 4.5, 3.0]);
}

#[test]
fn time_is_linear_in_the_length_of_the_text() {
    let vader = Vader::new();
    let halves: Vec<String> = ["nice", "good", "great", "fine", "bad"]
        .map(String::from)
        .into();
    for unit in [
        "😀",
        "not good ",
        "no ",
        "kind of bad! ",
        "but nice ",
        "A b? ",
        &halves.join(" but "),
    ] {
        // The same number of bytes, as many short texts and as one long text.
        let time = |times: usize| {
            let text = unit.repeat((1 << 16) / unit.len() / times);
            let start = cpu_time();
            for _ in 0..times {
                vader.compound(&text);
            }
            cpu_time() - start
        };
        let (short, long) = (time(16), time(1));
        // Quadratic time would take 16 times as long.
        assert!(
            long < short * 4 + Duration::from_millis(20),
            "{unit}: {short:?}, {long:?}"
        );
    }
}
