//! Labeled texts as n-gram counts.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::grams;

/// Maximum number of labels in a corpus. With more, the maximum size of a model would leave too few features.
pub const LABELS_MAX: usize = 256;

/// Longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 255;

/// Maximum number of bytes of all texts in a corpus: about 600,000 texts of 100 characters. Training needs about
/// 50 bytes of memory per byte of text (measured: 1.4 GB for 264,000 texts with 31 MB).
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// Why a model cannot be trained on a corpus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorpusError {
    /// There are fewer than two labels.
    #[error("a classifier needs at least 2 labels, but there are {0}")]
    FewLabels(usize),
    /// There are more than [`LABELS_MAX`] labels.
    #[error("there are more than {LABELS_MAX} labels; is this the right column?")]
    ManyLabels,
    /// A label is longer than [`LABEL_BYTES_MAX`]. Contains its beginning.
    #[error("the label {0:?}... is longer than {LABEL_BYTES_MAX} bytes; is this the right column?")]
    LongLabel(String),
    /// A label has only one text, so that it cannot be validated on a text outside its training.
    #[error("the label `{0}` has only one text; add more texts, or remove the label")]
    SingleText(String),
    /// The texts are larger than [`TEXT_BYTES_MAX`].
    #[error("the texts are larger than {} MiB in total; train on a sample of them", TEXT_BYTES_MAX >> 20)]
    TooLarge,
}

/// Labeled texts.
#[derive(Debug)]
pub struct Corpus {
    /// Labels by name, numbered in the order of their first appearance.
    names: BTreeMap<String, u32>,
    labels: Vec<u32>,
    texts: Vec<Box<str>>,
    bytes: usize,
    numbers: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    /// The key of each n-gram, by its number.
    keys: Vec<u64>,
    /// The start of each text's counts, and the end of the last one's.
    starts: Vec<usize>,
    /// Number and count of each n-gram, per text in the order of the keys.
    counts: Vec<(u32, u32)>,
    scratch: Vec<u64>,
}

impl Default for Corpus {
    fn default() -> Corpus {
        Corpus::new()
    }
}

impl Corpus {
    /// An empty corpus.
    pub fn new() -> Corpus {
        Corpus {
            names: BTreeMap::new(),
            labels: Vec::new(),
            texts: Vec::new(),
            bytes: 0,
            numbers: HashMap::default(),
            keys: Vec::new(),
            starts: vec![0],
            counts: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a text.
    ///
    /// # Errors
    /// [`CorpusError::ManyLabels`], [`CorpusError::LongLabel`] or [`CorpusError::TooLarge`].
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
            return Err(CorpusError::TooLarge);
        }
        let (numbers, keys, counts) = (&mut self.numbers, &mut self.keys, &mut self.counts);
        grams::counted(text, &mut self.scratch, |key, count| {
            let number = *numbers.entry(key).or_insert_with(|| {
                keys.push(key);
                // There are fewer than five n-grams per byte of text.
                (keys.len() - 1) as u32
            });
            counts.push((number, count));
        });
        self.labels.push(number);
        self.texts.push(text.into());
        self.starts.push(self.counts.len());
        Ok(())
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels, sorted by bytes, each with the number of its texts.
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

    /// For each text, the index of its label in [`Corpus::labels`].
    pub(crate) fn targets(&self) -> Vec<usize> {
        let mut index = vec![0; self.names.len()];
        for (at, number) in self.names.values().enumerate() {
            index[*number as usize] = at;
        }
        self.labels.iter().map(|l| index[*l as usize]).collect()
    }

    pub(crate) fn text(&self, text: usize) -> &str {
        &self.texts[text]
    }

    /// Number and count of the n-grams of a text, in the order of their keys.
    pub(crate) fn counts(&self, text: usize) -> &[(u32, u32)] {
        &self.counts[self.starts[text]..self.starts[text + 1]]
    }

    /// The key of each n-gram, by its number.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Checks that a model can be trained on the corpus and validated.
    pub(crate) fn check(&self) -> Result<(), CorpusError> {
        let labels = self.labels();
        if labels.len() < 2 {
            return Err(CorpusError::FewLabels(labels.len()));
        }
        match labels.iter().find(|(_, texts)| *texts < 2) {
            Some((name, _)) => Err(CorpusError::SingleText((*name).to_owned())),
            None => Ok(()),
        }
    }
}

/// A hasher for keys, which are hashes already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        // The map uses the top bits. The first bit of a key is the same for a whole family.
        self.0 = key.rotate_left(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_their_texts_counted() {
        let mut corpus = Corpus::new();
        for (text, label) in [("x", "b"), ("y", "c"), ("z", "a"), ("y", "b")] {
            corpus.push(text, label).unwrap();
        }
        assert_eq!(corpus.labels(), [("a", 1), ("b", 2), ("c", 1)]);
        assert_eq!(corpus.targets(), [1, 2, 0, 1]);
        assert_eq!(corpus.check(), Err(CorpusError::SingleText("a".to_owned())));
        assert_eq!(corpus.counts(1), corpus.counts(3));
        assert_eq!(Corpus::new().check(), Err(CorpusError::FewLabels(0)));
    }

    #[test]
    fn limits_are_enforced() {
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
        assert_eq!(corpus.push(&long, "a"), Err(CorpusError::TooLarge));
    }
}
