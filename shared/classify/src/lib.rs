//! Trains and runs text classifiers.
//!
//! A [`Corpus`] of labeled texts trains a [`Model`], which predicts the most likely label of a text
//! and the words that support it.
//!
//! ```
//! use rowmill_classify::{Corpus, train};
//!
//! let mut corpus = Corpus::new();
//! for (text, label) in [
//!     ("the parcel is late", "delivery"),
//!     ("where is my parcel", "delivery"),
//!     ("the invoice is wrong", "billing"),
//!     ("please correct the invoice", "billing"),
//! ] {
//!     corpus.push(text, label)?;
//! }
//! let trained = train(&corpus, 2, |_done, _total| {})?;
//! assert_eq!(trained.model.predict("A late parcel").label, "delivery");
//! # Ok::<(), rowmill_classify::CorpusError>(())
//! ```
//!
//! The model is a multinomial logistic regression on TF-IDF values of word and character n-grams,
//! like scikit-learn's `TfidfVectorizer` with `LogisticRegression`, but on sparse data throughout.
//! The same texts in the same order give the same model, byte by byte and with any number of
//! threads, for the same build on the same platform (`exp` and `ln` depend on the platform).
//!
//! | module | content |
//! |---|---|
//! | `corpus` | labeled texts as n-gram counts |
//! | `grams` | the n-grams of a text |
//! | `features` | which n-grams are features, and their TF-IDF values |
//! | `solve` | fits the weights |
//! | `train` | trains a model, and cross-validates it |
//! | `validate` | the figures of the cross-validation |
//! | `model` | predicts labels and words |
//! | `file` | the format of model files |
//!
//! The terms are defined in `docs/glossary.md`.

mod corpus;
mod features;
mod file;
mod grams;
mod model;
mod solve;
mod train;
mod validate;

pub use corpus::{Corpus, CorpusError, LABEL_BYTES_MAX, LABELS_MAX, TEXT_BYTES_MAX};
pub use file::{MODEL_BYTES_MAX, ModelError};
pub use model::{Model, Prediction, Word};
pub use train::{Trained, train};
pub use validate::{Validation, fold_of};
