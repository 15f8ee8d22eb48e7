//! How often the delimiter of generated files is detected. `benches/dialect.py` runs other detectors on
//! the same files.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "test code")]

mod corpus;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rowmill_workbook::guess_delimiter;

use crate::corpus::{KINDS, corpus};

/// Files of each kind.
const PER_KIND: u64 = 30;
/// Not the seed with which the weights were chosen (1).
const SEED: u64 = 20_261_128;

#[test]
fn the_delimiter_of_nearly_every_file_is_detected() {
    let (mut right, mut wrong) = (BTreeMap::<&str, u64>::new(), Vec::new());
    for sample in corpus(SEED, PER_KIND) {
        let path = PathBuf::from(format!("sample.{}", sample.extension));
        let guess = guess_delimiter(&sample.text, true, &path);
        if guess.delimiter == sample.delimiter {
            *right.entry(sample.kind).or_default() += 1;
        } else {
            let head: Vec<_> = sample.text.lines().take(4).collect();
            wrong.push(format!("{}: {} for {head:?}", sample.kind, guess.delimiter));
        }
    }
    let wrong = wrong.join("\n");
    for (kind, _) in KINDS {
        let right = right.get(kind).copied().unwrap_or_default();
        assert!(
            right * 10 >= PER_KIND * 9,
            "{kind}: {right} of {PER_KIND}\n{wrong}"
        );
    }
    let (right, all) = (right.values().sum::<u64>(), PER_KIND * KINDS.len() as u64);
    println!("{right} of {all}");
    assert!(right * 100 >= all * 97, "{right} of {all}\n{wrong}");
}

/// The mail then says which delimiter was used: a wrong one must not go unnoticed.
#[test]
fn most_wrong_delimiters_are_marked_as_guesses() {
    let (mut unmarked, mut marked, mut all) = (0, 0, 0);
    for sample in corpus(SEED, PER_KIND) {
        let path = PathBuf::from(format!("sample.{}", sample.extension));
        let guess = guess_delimiter(&sample.text, true, &path);
        all += 1;
        marked += u64::from(guess.instead.is_some());
        unmarked += u64::from(guess.delimiter != sample.delimiter && guess.instead.is_none());
    }
    println!("{marked} of {all} marked as a guess, {unmarked} wrong without a mark");
    assert!(
        unmarked * 100 <= all,
        "{unmarked} of {all} are wrong without a mark"
    );
    assert!(
        marked * 10 <= all,
        "{marked} of {all} are marked as a guess"
    );
}
