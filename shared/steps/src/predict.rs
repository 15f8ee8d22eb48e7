//! The label of one text, outside a run.

use std::path::Path;

use rowmill_domain::preview::{Prediction, PredictionWord};
use rowmill_pipeline::{ClassifyStep, Pipeline, StepKind};

use crate::SetupError;
use crate::classify::open_model;

/// The most words of a prediction.
const WORDS: usize = 10;

/// Why a text cannot be labeled.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// No step predicts a label.
    #[error("the pipeline has no step of kind `classify`")]
    NoModel,
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] SetupError),
}

/// Labels a text with the model of the first `classify` step. `directory` is the folder of the pipeline's
/// programs and models.
///
/// # Errors
/// There is no such step, or its model cannot be read.
pub fn predict(
    pipeline: &Pipeline,
    directory: &Path,
    text: &str,
) -> Result<Prediction, PredictError> {
    let step = classify_steps(pipeline).next();
    let model = open_model(step.ok_or(PredictError::NoModel)?, directory)?;
    let predicted = model.predict(text);
    let words = model.words(text, predicted.label, WORDS).into_iter();
    let labels = model.labels().iter().cloned();
    let probabilities = predicted.probabilities.iter().copied();
    Ok(Prediction {
        label: predicted.label.to_owned(),
        probabilities: labels.zip(probabilities).collect(),
        words: words
            .map(|word| PredictionWord {
                word: word.word,
                weight: word.weight,
            })
            .collect(),
    })
}

/// The labels of the model that predicts a column. `None`: no model does.
///
/// # Errors
/// The model cannot be read.
pub fn labels(
    pipeline: &Pipeline,
    directory: &Path,
    column: &str,
) -> Result<Option<Vec<String>>, PredictError> {
    let step = classify_steps(pipeline).find(|step| step.label == column);
    let model = step.map(|step| open_model(step, directory)).transpose()?;
    Ok(model.map(|model| model.labels().to_vec()))
}

fn classify_steps(pipeline: &Pipeline) -> impl Iterator<Item = &ClassifyStep> {
    pipeline.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Classify(step) => Some(step),
        _ => None,
    })
}
