//! What the API asks the preview function of enrich, which has the programs and the models of pipelines,
//! and its answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// Asks to process records as a run would. The pipeline has no parameters without a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsAsked {
    /// The text of the pipeline file.
    pub pipeline: String,
    /// The input columns.
    pub columns: Vec<String>,
    /// The records, each as its line in a chunk ([`Record::write_json`](crate::Record::write_json)).
    pub records: Vec<String>,
    /// Records that are not finished after this time are left out.
    pub seconds: f64,
}

/// Asks for the label of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextAsked {
    /// The text of the pipeline file.
    pub pipeline: String,
    /// The text to label.
    pub predict: String,
}

/// The answer of the preview function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviewAnswer {
    /// The outcomes in the order of the records; `None` for one that was not finished in time.
    Outcomes(Vec<Option<Outcome>>),
    /// The label of the text.
    Prediction(Prediction),
    /// What is wrong with the pipeline, or with what the host offers to it.
    Problem(String),
}

/// The label of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The most likely label.
    pub label: String,
    /// The probability of each label.
    pub probabilities: BTreeMap<String, f64>,
    /// The words that contribute most to the label.
    pub words: Vec<PredictionWord>,
}

/// A word that contributes to a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionWord {
    /// The word.
    pub word: String,
    /// How much it contributes.
    pub weight: f64,
}
