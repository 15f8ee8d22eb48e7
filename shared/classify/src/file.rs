//! A model's file, version 1. All numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `RMCLASS` and a line end |
//! | 4 | version, 1 |
//! | 4 | labels, 2 to 256 |
//! | 4 | features |
//! | 4 | texts that it was trained on, at least 1 |
//! | 4 | scale: what a weight of 1 stands for; a float from 0 to 1 |
//! | each label | its length in bytes (1 byte), and the label; sorted |
//! | 4 each label | its intercept, a float |
//! | 8 each feature | its key; sorted |
//! | 4 each feature | how many of the texts have it |
//! | 2 each feature and label | the weight |
//! | 32 | BLAKE3 of all before |

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::corpus::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::features::Features;
use crate::model::Model;

const MAGIC: &[u8; 8] = b"RMCLASS\n";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;

/// Largest model file. Training keeps fewer n-grams where more would not fit.
pub const MODEL_BYTES_MAX: usize = 20_000_000;

/// Greatest intercept that is believed. Trained ones stay below 100.
const INTERCEPT_MAX: f32 = 1e6;

/// A file that is no model, or none that this version can use.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It does not exist.
    #[error("there is no such file; `rowmill train` makes one")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(std::io::Error),
    /// See [`MODEL_BYTES_MAX`].
    #[error("it is no model: larger than {} MB", MODEL_BYTES_MAX / 1_000_000)]
    TooLarge,
    /// It does not begin as one.
    #[error("it is no model; `rowmill train` makes one")]
    NotAModel,
    /// Of another version of the format.
    #[error(
        "it is a model of version {0}, and this program reads version {VERSION}; train it again"
    )]
    Version(u32),
    /// Its checksum is another, or it is cut off.
    #[error("it was damaged or cut off since it was written; train it again, or copy it again")]
    Damaged,
    /// Its checksum holds, but not what it says.
    #[error("it contradicts itself: {0}; train it again")]
    Contradiction(&'static str),
}

/// How many features fit a file of so many labels.
pub(crate) fn features_max(labels: usize) -> usize {
    let head = MAGIC.len() + 5 * 4 + labels * (1 + LABEL_BYTES_MAX + 4) + CHECKSUM;
    (MODEL_BYTES_MAX - head) / (8 + 4 + 2 * labels)
}

impl Model {
    /// The model's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        // All bounded by the limits of a corpus.
        for number in [VERSION, self.labels.len() as u32, self.features() as u32] {
            put(&number.to_le_bytes());
        }
        put(&self.features.of.to_le_bytes());
        put(&self.scale.to_le_bytes());
        for label in &self.labels {
            put(&[label.len() as u8]);
            put(label.as_bytes());
        }
        self.intercepts.iter().for_each(|i| put(&i.to_le_bytes()));
        self.features
            .keys
            .iter()
            .for_each(|k| put(&k.to_le_bytes()));
        self.features
            .texts
            .iter()
            .for_each(|t| put(&t.to_le_bytes()));
        self.weights.iter().for_each(|w| put(&w.to_le_bytes()));
        let sum = blake3::hash(&out);
        out.extend_from_slice(sum.as_bytes());
        out
    }

    /// Reads a model's file from disk.
    ///
    /// # Errors
    /// Every [`ModelError`].
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        let file = std::fs::File::open(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => ModelError::Missing,
            _ => ModelError::Io(e),
        })?;
        let mut bytes = Vec::new();
        // One more than allowed, so that a longer file shows.
        file.take(MODEL_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(ModelError::Io)?;
        Model::from_bytes(&bytes)
    }

    /// Reads a model's file. The bytes may be anybody's: they are checked before they are used,
    /// and no more memory is taken than a few times their size.
    ///
    /// # Errors
    /// Every [`ModelError`] but [`ModelError::Missing`] and [`ModelError::Io`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        if bytes.len() > MODEL_BYTES_MAX {
            return Err(ModelError::TooLarge);
        }
        let (body, sum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .filter(|(body, _)| body.starts_with(MAGIC))
            .ok_or(ModelError::NotAModel)?;
        let mut reader = Reader(&body[MAGIC.len()..]);
        let version = u32::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(ModelError::Version(version));
        }
        // Compared in constant time, which costs nothing here.
        if blake3::hash(body) != *sum {
            return Err(ModelError::Damaged);
        }
        reader.model()
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ModelError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ModelError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// So many numbers. Their bytes are there before memory is taken for them.
    fn numbers<const N: usize, T>(
        &mut self,
        count: usize,
        read: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, ModelError> {
        let length = count.checked_mul(N).ok_or(ModelError::Damaged)?;
        let (chunks, _) = self.take(length)?.as_chunks::<N>();
        Ok(chunks.iter().map(|c| read(*c)).collect())
    }

    fn model(mut self) -> Result<Model, ModelError> {
        let wrong = |what| Err(ModelError::Contradiction(what));
        let count = u32::from_le_bytes(self.array()?) as usize;
        let features = u32::from_le_bytes(self.array()?) as usize;
        let of = u32::from_le_bytes(self.array()?);
        let scale = f32::from_le_bytes(self.array()?);
        if !(2..=LABELS_MAX).contains(&count) {
            return wrong("its number of labels");
        }
        if !(0.0..=1.0).contains(&scale) {
            return wrong("its scale");
        }
        let mut labels: Vec<String> = Vec::with_capacity(count);
        for _ in 0..count {
            let [length] = self.array()?;
            let Ok(label) = std::str::from_utf8(self.take(usize::from(length))?) else {
                return wrong("a label is no text");
            };
            if labels.last().is_some_and(|l| l.as_str() >= label) {
                return wrong("its labels are not sorted");
            }
            labels.push(label.to_owned());
        }
        let intercepts = self.numbers(count, f32::from_le_bytes)?;
        if !intercepts.iter().all(|i| i.abs() <= INTERCEPT_MAX) {
            return wrong("an intercept");
        }
        let keys = self.numbers(features, u64::from_le_bytes)?;
        if !keys.is_sorted_by(|a, b| a < b) {
            return wrong("its features are not sorted");
        }
        let texts = self.numbers(features, u32::from_le_bytes)?;
        if !texts.iter().all(|t| (1..=of).contains(t)) {
            return wrong("a feature's number of texts");
        }
        let weights = features.checked_mul(count).ok_or(ModelError::Damaged)?;
        let weights = self.numbers(weights, i16::from_le_bytes)?;
        if !self.0.is_empty() {
            return wrong("bytes are left over");
        }
        let features = Features { keys, texts, of };
        Ok(Model::new(labels, features, intercepts, scale, weights))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train;
    use crate::train::tests::{PAIRS, corpus};

    fn bytes() -> Vec<u8> {
        let trained = train(&corpus(PAIRS), 2, |_, _| {}).unwrap();
        trained.model.to_bytes()
    }

    /// Gives a body the checksum that it needs to be looked at.
    fn sealed(mut body: Vec<u8>) -> Vec<u8> {
        let sum = blake3::hash(&body);
        body.extend_from_slice(sum.as_bytes());
        body
    }

    #[test]
    fn a_file_gives_the_model_back() {
        let bytes = bytes();
        let model = Model::from_bytes(&bytes).unwrap();
        assert_eq!(model.to_bytes(), bytes);
        assert_eq!(model.predict("snow and frost").label, "cold");
        assert!(features_max(7) > 700_000);
        let most = features_max(LABELS_MAX);
        assert!(most * (12 + 2 * LABELS_MAX) < MODEL_BYTES_MAX);
    }

    #[test]
    fn what_is_no_model_is_told() {
        let bytes = bytes();
        let error = |bytes: &[u8]| Model::from_bytes(bytes).unwrap_err().to_string();
        assert!(error(b"").contains("`rowmill train` makes one"));
        assert!(error(b"PK\x03\x04").contains("it is no model"));
        assert!(error(&bytes[..bytes.len() - 1]).contains("cut off"));
        assert!(error(&vec![0; MODEL_BYTES_MAX + 1]).contains("larger than 20 MB"));
        let mut other = bytes.clone();
        other[8] = 2;
        assert!(error(&other).contains("version 2"));
        let open = |path| Model::open(Path::new(path)).unwrap_err();
        assert!(matches!(open("no/such/file"), ModelError::Missing));
        assert!(matches!(open("."), ModelError::Io(_)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Model::from_bytes(&bytes).is_err());
            let body = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &bytes].concat();
            if let Ok(model) = Model::from_bytes(&sealed(body)) {
                model.predict("any text");
            }
        }

        /// One byte of a good file changed, and the checksum made right again: a model that is as
        /// sound as any, or an error.
        #[test]
        fn a_changed_file_is_refused_or_sound(at in 12usize..2000, value in any::<u8>()) {
            let good = bytes();
            let at = at % (good.len() - CHECKSUM);
            let mut body = good[..good.len() - CHECKSUM].to_vec();
            prop_assume!(body[at] != value);
            body[at] = value;
            let unsealed = [body.as_slice(), &good[good.len() - CHECKSUM..]].concat();
            prop_assert!(Model::from_bytes(&unsealed).is_err());
            if let Ok(model) = Model::from_bytes(&sealed(body)) {
                let prediction = model.predict("the snow on the beach");
                prop_assert!(prediction.probability.is_finite());
                model.words("the snow on the beach", "cold", 3);
            }
        }
    }
}
