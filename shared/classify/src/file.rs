//! The format of model files, version 1. All numbers are little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `RMCLASS` and a line end |
//! | 4 | version, 1 |
//! | 4 | number of labels, 2 to 256 |
//! | 4 | number of features |
//! | 4 | number of training texts, at least 1 |
//! | 4 | scale: the value of a weight of 1; a float from 0 to 1 |
//! | for each label | its length in bytes (1 byte), and the label; sorted |
//! | 4 for each label | its intercept, a float |
//! | 8 for each feature | its key; sorted |
//! | 4 for each feature | the number of texts that contain it |
//! | 2 for each feature and label | the weight |
//! | 32 | BLAKE3 of everything before |

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::corpus::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::features::Features;
use crate::model::Model;

const MAGIC: &[u8; 8] = b"RMCLASS\n";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;

/// Largest model file, in bytes. Training keeps only as many n-grams as fit.
pub const MODEL_BYTES_MAX: usize = 20_000_000;

/// Largest valid intercept. The intercepts of trained models are below 100.
const INTERCEPT_MAX: f32 = 1e6;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file does not exist.
    #[error("the file does not exist; create it with `rowmill train`")]
    Missing,
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Io(std::io::Error),
    /// The file is larger than [`MODEL_BYTES_MAX`].
    #[error("not a model: the file is larger than {} MB", MODEL_BYTES_MAX / 1_000_000)]
    TooLarge,
    /// The file does not start like a model.
    #[error("not a model; create one with `rowmill train`")]
    NotAModel,
    /// The file has another version of the format.
    #[error(
        "the model has version {0}, but this program requires version {VERSION}; train it again"
    )]
    Version(u32),
    /// The checksum does not match, or the file is truncated.
    #[error("the model is damaged or truncated; copy it again, or train it again")]
    Damaged,
    /// The checksum matches, but the content is invalid.
    #[error("the model is invalid ({0}); train it again")]
    Invalid(&'static str),
}

/// The number of features that fit a file with this number of labels.
pub(crate) fn features_max(labels: usize) -> usize {
    let head = MAGIC.len() + 5 * 4 + labels * (1 + LABEL_BYTES_MAX + 4) + CHECKSUM;
    (MODEL_BYTES_MAX - head) / (8 + 4 + 2 * labels)
}

impl Model {
    /// The content of the model file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        // The limits of a corpus bound all numbers.
        for number in [VERSION, self.labels.len() as u32, self.features() as u32] {
            put(&number.to_le_bytes());
        }
        put(&self.features.total.to_le_bytes());
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

    /// Reads a model from a file.
    ///
    /// # Errors
    /// Any [`ModelError`].
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        let file = std::fs::File::open(path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => ModelError::Missing,
            _ => ModelError::Io(e),
        })?;
        let mut bytes = Vec::new();
        // One byte more than allowed, to detect larger files.
        file.take(MODEL_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(ModelError::Io)?;
        Model::from_bytes(&bytes)
    }

    /// Reads a model from the content of a file, which may be untrusted: it is checked before it is
    /// used, and the memory needed is only a few times its size.
    ///
    /// # Errors
    /// Any [`ModelError`] but [`ModelError::Missing`] and [`ModelError::Io`].
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
        if blake3::hash(body) != *sum {
            return Err(ModelError::Damaged);
        }
        reader.model()
    }
}

/// The bytes that are left to read.
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

    /// Reads `count` numbers. Memory is allocated only if their bytes exist.
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
        let invalid = |what| Err(ModelError::Invalid(what));
        let count = u32::from_le_bytes(self.array()?) as usize;
        let features = u32::from_le_bytes(self.array()?) as usize;
        let total = u32::from_le_bytes(self.array()?);
        let scale = f32::from_le_bytes(self.array()?);
        if !(2..=LABELS_MAX).contains(&count) {
            return invalid("number of labels");
        }
        if !(0.0..=1.0).contains(&scale) {
            return invalid("scale");
        }
        let mut labels: Vec<String> = Vec::with_capacity(count);
        for _ in 0..count {
            let [length] = self.array()?;
            let Ok(label) = std::str::from_utf8(self.take(usize::from(length))?) else {
                return invalid("a label is not UTF-8");
            };
            if labels.last().is_some_and(|l| l.as_str() >= label) {
                return invalid("labels are not sorted");
            }
            labels.push(label.to_owned());
        }
        let intercepts = self.numbers(count, f32::from_le_bytes)?;
        if !intercepts.iter().all(|i| i.abs() <= INTERCEPT_MAX) {
            return invalid("intercept");
        }
        let keys = self.numbers(features, u64::from_le_bytes)?;
        if !keys.is_sorted_by(|a, b| a < b) {
            return invalid("features are not sorted");
        }
        let texts = self.numbers(features, u32::from_le_bytes)?;
        if !texts.iter().all(|t| (1..=total).contains(t)) {
            return invalid("number of texts of a feature");
        }
        let weights = features.checked_mul(count).ok_or(ModelError::Damaged)?;
        let weights = self.numbers(weights, i16::from_le_bytes)?;
        if !self.0.is_empty() {
            return invalid("extra bytes");
        }
        let features = Features { keys, texts, total };
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

    /// Appends the checksum to a body.
    fn with_checksum(mut body: Vec<u8>) -> Vec<u8> {
        let sum = blake3::hash(&body);
        body.extend_from_slice(sum.as_bytes());
        body
    }

    #[test]
    fn a_model_can_be_read_from_its_file() {
        let bytes = bytes();
        let model = Model::from_bytes(&bytes).unwrap();
        assert_eq!(model.to_bytes(), bytes);
        assert_eq!(model.predict("snow and frost").label, "cold");
        assert!(features_max(7) > 700_000);
        let max = features_max(LABELS_MAX);
        assert!(max * (12 + 2 * LABELS_MAX) < MODEL_BYTES_MAX);
    }

    #[test]
    fn invalid_files_are_rejected() {
        let bytes = bytes();
        let error = |bytes: &[u8]| Model::from_bytes(bytes).unwrap_err().to_string();
        assert!(error(b"").contains("create one with `rowmill train`"));
        assert!(error(b"PK\x03\x04").contains("not a model"));
        assert!(error(&bytes[..bytes.len() - 1]).contains("truncated"));
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
        fn untrusted_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Model::from_bytes(&bytes).is_err());
            let body = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &bytes].concat();
            if let Ok(model) = Model::from_bytes(&with_checksum(body)) {
                model.predict("any text");
            }
        }

        /// A file with one changed byte and a correct checksum is a usable model or an error.
        #[test]
        fn a_changed_file_is_rejected_or_usable(at in 12usize..2000, value in any::<u8>()) {
            let good = bytes();
            let at = at % (good.len() - CHECKSUM);
            let mut body = good[..good.len() - CHECKSUM].to_vec();
            prop_assume!(body[at] != value);
            body[at] = value;
            let old_checksum = [body.as_slice(), &good[good.len() - CHECKSUM..]].concat();
            prop_assert!(Model::from_bytes(&old_checksum).is_err());
            if let Ok(model) = Model::from_bytes(&with_checksum(body)) {
                let prediction = model.predict("the snow on the beach");
                prop_assert!(prediction.probability.is_finite());
                model.words("the snow on the beach", "cold", 3);
            }
        }
    }
}
