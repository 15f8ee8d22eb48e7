//! Labelled texts, as n-gram counts.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::grams;

/// Most labels of a corpus. More would leave each too few features within a model's size.
pub const LABELS_MAX: usize = 256;

/// Longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 255;

/// Most bytes of all texts of a corpus together: some 600,000 texts of 100 characters. Training
/// takes about 50 bytes of memory for each byte (measured: 1.4 GB for 264,000 texts of 31 MB).
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// Texts and labels that no model can be trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorpusError {
    /// All texts bear one label, or there are none.
    #[error("there are {0} labels; a classifier needs at least 2")]
    FewLabels(usize),
    /// See [`LABELS_MAX`].
    #[error("there are more than {LABELS_MAX} labels: is that the right column?")]
    ManyLabels,
    /// See [`LABEL_BYTES_MAX`].
    #[error("the label {0:?}... is longer than {LABEL_BYTES_MAX} bytes: is that the right column?")]
    LongLabel(String),
    /// A label without a second text can be tried on no text that it was not trained on.
    #[error("the label `{0}` has one text; give it more, or leave it out")]
    OneText(String),
    /// See [`TEXT_BYTES_MAX`].
    #[error("the texts are longer than {} MiB together; train on a sample of them", TEXT_BYTES_MAX >> 20)]
    TooLong,
}

/// Labelled texts.
#[derive(Debug, Default)]
pub struct Corpus {
    /// Labels by name; the number is that of the first appearance.
    names: BTreeMap<String, u32>,
    labels: Vec<u32>,
    texts: Vec<Box<str>>,
    bytes: usize,
    numbers: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
    /// Of each n-gram, by its number.
    keys: Vec<u64>,
    /// Where each text's counts begin, and an end.
    starts: Vec<usize>,
    /// (number of the n-gram, how often) in the order of the keys.
    counts: Vec<(u32, u32)>,
    scratch: Vec<u64>,
}

impl Corpus {
    /// Without texts.
    pub fn new() -> Corpus {
        Corpus {
            starts: vec![0],
            ..Corpus::default()
        }
    }

    /// Adds a text.
    ///
    /// # Errors
    /// [`CorpusError::ManyLabels`], [`CorpusError::LongLabel`] and [`CorpusError::TooLong`].
    pub fn push(&mut self, text: &str, label: &str) -> Result<(), CorpusError> {
        let number = match self.names.get(label) {
            Some(number) => *number,
            None if label.len() > LABEL_BYTES_MAX => {
                return Err(CorpusError::LongLabel(label.chars().take(40).collect()));
            }
            None if self.names.len() == LABELS_MAX => return Err(CorpusError::ManyLabels),
            None => {
                let number = self.names.len() as u32;
                self.names.insert(label.to_owned(), number);
                number
            }
        };
        self.bytes += text.len();
        if self.bytes > TEXT_BYTES_MAX {
            return Err(CorpusError::TooLong);
        }
        let (numbers, keys, counts) = (&mut self.numbers, &mut self.keys, &mut self.counts);
        grams::counted(text, &mut self.scratch, |key, count| {
            let number = *numbers.entry(key).or_insert_with(|| {
                keys.push(key);
                // Fewer than the bytes of the texts times 5.
                (keys.len() - 1) as u32
            });
            counts.push((number, count));
        });
        self.labels.push(number);
        self.texts.push(text.into());
        self.starts.push(self.counts.len());
        Ok(())
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels in their order (by bytes), each with how many texts bear it.
    pub fn labels(&self) -> Vec<(&str, usize)> {
        let mut texts = vec![0; self.names.len()];
        for label in &self.labels {
            texts[*label as usize] += 1;
        }
        let names = self.names.iter();
        names
            .map(|(name, number)| (name.as_str(), texts[*number as usize]))
            .collect()
    }

    /// Per text the place of its label in [`Corpus::labels`].
    pub(crate) fn targets(&self) -> Vec<usize> {
        let mut place = vec![0; self.names.len()];
        for (at, number) in self.names.values().enumerate() {
            place[*number as usize] = at;
        }
        self.labels.iter().map(|l| place[*l as usize]).collect()
    }

    pub(crate) fn text(&self, text: usize) -> &str {
        &self.texts[text]
    }

    /// The n-grams of a text: number and count, in the order of their keys.
    pub(crate) fn counts(&self, text: usize) -> &[(u32, u32)] {
        &self.counts[self.starts[text]..self.starts[text + 1]]
    }

    /// The key of each n-gram, by its number.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Whether a model can be trained on it and tried.
    pub(crate) fn check(&self) -> Result<(), CorpusError> {
        let labels = self.labels();
        if labels.len() < 2 {
            return Err(CorpusError::FewLabels(labels.len()));
        }
        match labels.iter().find(|(_, texts)| *texts < 2) {
            Some((name, _)) => Err(CorpusError::OneText((*name).to_owned())),
            None => Ok(()),
        }
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        // The map takes the top bits to tell entries apart; the first tells the family only.
        self.0 = key.rotate_left(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_their_order_and_count_their_texts() {
        let mut corpus = Corpus::new();
        for (text, label) in [("x", "b"), ("y", "c"), ("z", "a"), ("y", "b")] {
            corpus.push(text, label).unwrap();
        }
        assert_eq!(corpus.labels(), [("a", 1), ("b", 2), ("c", 1)]);
        assert_eq!(corpus.targets(), [1, 2, 0, 1]);
        assert_eq!(corpus.check(), Err(CorpusError::OneText("a".to_owned())));
        assert_eq!(corpus.counts(1), corpus.counts(3));
        assert_eq!(Corpus::new().check(), Err(CorpusError::FewLabels(0)));
    }

    #[test]
    fn what_is_too_much_is_told() {
        let mut corpus = Corpus::new();
        for i in 0..LABELS_MAX {
            corpus.push("a", &i.to_string()).unwrap();
        }
        assert_eq!(corpus.push("a", "one more"), Err(CorpusError::ManyLabels));
        let mut corpus = Corpus::new();
        let long = "l".repeat(LABEL_BYTES_MAX + 1);
        assert!(matches!(
            corpus.push("a", &long),
            Err(CorpusError::LongLabel(_))
        ));
        let long = "l".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(corpus.push(&long, "a"), Err(CorpusError::TooLong));
    }
}
