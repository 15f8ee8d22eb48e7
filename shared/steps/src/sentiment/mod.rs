//! `sentiment`: the sentiment of an English text, computed offline with the VADER lexicon and its
//! rules for negation and emphasis (Hutto and Gilbert, 2014).

mod vader;

use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::Row;
use rowmill_pipeline::SentimentStep;

use self::vader::Vader;
use crate::{Runner, StepResult};

/// A text is positive from this score on, and negative from its negative. Source: VADER's README,
/// "About the scoring".
const THRESHOLD: f64 = 0.05;

pub(crate) struct Sentiment {
    column: String,
    class: Arc<str>,
    score: Arc<str>,
    vader: Vader,
}

impl Sentiment {
    pub(crate) fn new(step: &SentimentStep) -> Sentiment {
        Sentiment {
            column: step.column.clone(),
            class: "sa_class".into(),
            score: "sa_score".into(),
            vader: Vader::new(),
        }
    }
}

#[async_trait]
impl Runner for Sentiment {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let text = match StepResult::input_text(row, &self.column, &[&self.class, &self.score]) {
            Ok(text) => text,
            Err(result) => return result,
        };
        let score = self.vader.compound(&text);
        let class = if score >= THRESHOLD {
            "positive"
        } else if score <= -THRESHOLD {
            "negative"
        } else {
            "neutral"
        };
        StepResult::ok(
            vec![
                (self.class.clone(), class.into()),
                (self.score.clone(), score.into()),
            ],
            1,
        )
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rowmill_domain::record::Columns;
    use rowmill_domain::{Record, Value};

    use super::*;

    fn step() -> Sentiment {
        Sentiment::new(&SentimentStep {
            column: "Notes".into(),
        })
    }

    async fn run(value: Option<Value>) -> StepResult {
        let columns = Columns::new(["Notes"]);
        let record = Record {
            row: 2,
            values: vec![value],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        step().run(row).await
    }

    #[tokio::test]
    async fn a_text_gets_a_label_and_a_score() {
        for (text, class) in [
            ("Absolutely wonderful, I love it!", "positive"),
            ("This was a horrible waste of money.", "negative"),
            ("Not good.", "negative"),
            ("It has four buttons.", "neutral"),
        ] {
            let outputs = run(Some(text.into())).await.outputs.unwrap();
            assert_eq!(outputs[0], ("sa_class".into(), class.into()), "{text}");
            let Value::Number(score) = outputs[1].1 else {
                panic!("{outputs:?}")
            };
            assert!((-1.0..=1.0).contains(&score));
            assert_eq!(score, (score * 1e4).round() / 1e4);
        }
    }

    #[test]
    fn emphasis_and_negation_change_the_score() {
        let step = step();
        let score = |text: &str| step.vader.compound(text);
        assert!(score("This is VERY good!!!") > score("This is very good."));
        assert!(score("This is very good.") > score("This is good."));
        assert!(score("This is good.") > score("This is not good."));
        assert_eq!(score("."), 0.0);
    }

    #[test]
    fn scores_match_vader() {
        let step = step();
        for (text, score) in [
            ("It has four buttons!", 0.0),
            ("It has four buttons!!!", 0.0),
            ("Where is it?", 0.0),
            ("Where is it??", 0.0),
            ("WHERE IS IT?!?!?!", 0.0),
            ("!", 0.0),
            ("?", 0.0),
            ("Is it good", 0.4404),
            ("Is it good?", 0.4404),
            ("Is it good??", 0.5040),
            ("Is it good!?", 0.4926),
            ("Is it bad?", -0.5423),
            (":?)", 0.3182),
            ("VADER is smart, handsome, and funny.", 0.8316),
            ("VADER is smart, handsome, and funny!", 0.8439),
            ("VADER is smart, handsome, and funny!!!", 0.8650),
        ] {
            assert_eq!(step.vader.compound(text), score, "{text}");
        }
    }

    #[tokio::test]
    async fn an_empty_text_gets_no_sentiment_and_a_note() {
        for value in [None, Some(Value::from("  "))] {
            let result = run(value).await;
            assert_eq!(result.outputs, Ok(vec![]));
            assert!(result.notes[0].contains("column `Notes` is empty"));
        }
    }

    proptest! {
        #[test]
        fn every_text_gets_a_score_between_minus_one_and_one(text in "\\PC{0,80}|([a-z!?.' ]|not |but |least |😀|good){0,40}") {
            prop_assert!((-1.0..=1.0).contains(&step().vader.compound(&text)));
        }
    }
}
