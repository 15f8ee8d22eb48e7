//! Text classifiers of one's own: a [`Corpus`] of labelled texts trains a [`Model`], which names
//! the most likely label of any text and the words that say so.
//!
//! The model is a multinomial logistic regression on TF-IDF of word and character n-grams: what
//! scikit-learn's `TfidfVectorizer` and `LogisticRegression` make, on sparse data throughout. The
//! same texts in the same order give the same bytes, however many threads there are, with the same
//! build on the same platform (the platform's `exp` and `ln` take part).

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
