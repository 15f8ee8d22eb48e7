//! `classify`: the most likely label of a text, predicted offline by a model from `rowmill train`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rowmill_classify::Model;
use rowmill_domain::Row;
use rowmill_pipeline::ClassifyStep;

use crate::{Runner, SetupError, StepDeps, StepResult};

pub(crate) struct Classify {
    column: String,
    label: Arc<str>,
    probability: Arc<str>,
    /// The column for the most influential words, and how many of them.
    words: Option<(Arc<str>, usize)>,
    model: Model,
}

impl Classify {
    pub(crate) fn new(step: &ClassifyStep, deps: &StepDeps) -> Result<Classify, SetupError> {
        let model = open_model(step, &deps.directory)?;
        let words =
            |w: &rowmill_pipeline::ClassifyWords| (w.column.as_str().into(), w.most as usize);
        Ok(Classify {
            column: step.column.clone(),
            label: step.label.as_str().into(),
            probability: step.probability.as_str().into(),
            words: step.words.as_ref().map(words),
            model,
        })
    }
}

/// Reads the model of a step. `directory` is the folder of the pipeline.
pub(crate) fn open_model(step: &ClassifyStep, directory: &Path) -> Result<Model, SetupError> {
    let file = directory.join(&step.model);
    Model::open(&file).map_err(|source| SetupError::Model {
        file: file.display().to_string(),
        source,
    })
}

#[async_trait]
impl Runner for Classify {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let text =
            match StepResult::input_text(row, &self.column, &[&self.label, &self.probability]) {
                Ok(text) => text,
                Err(result) => return result,
            };
        let prediction = self.model.predict(&text);
        // Four decimals: a model trained on a few thousand texts is not more precise.
        let probability = (prediction.probability * 1e4).round() / 1e4;
        let mut outputs = vec![
            (self.label.clone(), prediction.label.into()),
            (self.probability.clone(), probability.into()),
        ];
        if let Some((column, most)) = &self.words {
            let words = self.model.words(&text, prediction.label, *most);
            let words: Vec<String> = words.into_iter().map(|w| w.word).collect();
            // The cell is empty if no known word supports the label.
            if !words.is_empty() {
                outputs.push((column.clone(), words.join(", ").into()));
            }
        }
        StepResult::ok(outputs, 1)
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use rowmill_classify::{Corpus, train};
    use rowmill_domain::Record;
    use rowmill_domain::record::Columns;
    use rowmill_pipeline::ClassifyWords;

    use super::*;
    use rowmill_domain::Value;

    fn setup(directory: &Path) -> Result<Classify, SetupError> {
        let step = ClassifyStep {
            column: "Message".into(),
            model: "topics.model".into(),
            label: "label".into(),
            probability: "probability".into(),
            words: Some(ClassifyWords {
                column: "words".into(),
                most: 2,
            }),
        };
        let deps = StepDeps::new(1, directory.to_owned());
        Classify::new(&step, &deps)
    }

    fn trained() -> Classify {
        let mut corpus = Corpus::new();
        for (text, label) in [
            ("the parcel is late", "delivery"),
            ("a late parcel again", "delivery"),
            ("where is the parcel", "delivery"),
            ("the invoice is wrong", "billing"),
            ("charged twice on one invoice", "billing"),
            ("please correct the invoice", "billing"),
        ] {
            corpus.push(text, label).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let model = train(&corpus, 3, |_, _| {}).unwrap().model;
        std::fs::write(directory.path().join("topics.model"), model.to_bytes()).unwrap();
        setup(directory.path()).unwrap()
    }

    async fn run(step: &Classify, value: Option<Value>) -> StepResult {
        let columns = Columns::new(["Message"]);
        let record = Record {
            row: 2,
            values: vec![value],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        step.run(row).await
    }

    #[tokio::test]
    async fn a_text_gets_a_label_a_probability_and_words() {
        let step = trained();
        let result = run(&step, Some("My PARCEL is late!".into())).await;
        let outputs = result.outputs.unwrap();
        assert_eq!(outputs[0], ("label".into(), "delivery".into()));
        let Value::Number(probability) = outputs[1].1 else {
            panic!("{outputs:?}")
        };
        assert!((0.5..1.0).contains(&probability));
        assert_eq!(probability, (probability * 1e4).round() / 1e4);
        assert_eq!(outputs[2], ("words".into(), "parcel, late".into()));

        // A text of unknown words still gets a label, but no words.
        let outputs = run(&step, Some("日本".into())).await.outputs.unwrap();
        assert_eq!(outputs.len(), 2);
    }

    #[tokio::test]
    async fn an_empty_text_gets_no_label_and_a_note() {
        let step = trained();
        for value in [None, Some(Value::from("  "))] {
            let result = run(&step, value).await;
            assert_eq!(result.outputs, Ok(vec![]));
            assert!(result.notes[0].contains("column `Message` is empty"));
        }
    }

    #[test]
    fn a_missing_or_invalid_model_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("topics.model");
        let error = |file: &Path| {
            let error = setup(directory.path()).err().unwrap().to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
            error
        };
        assert!(error(&file).contains("the file does not exist; create it with `rowmill train`"));
        std::fs::write(&file, "message,topic\n").unwrap();
        assert!(error(&file).contains("not a model; create one with `rowmill train`"));
    }
}
