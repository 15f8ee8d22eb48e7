//! The step `sentiment` returns the scores of vaderSentiment 3.3.2, the authors' own package.

use std::path::Path;

use rowmill_domain::job::Resources;
use rowmill_domain::record::Columns;
use rowmill_domain::{Record, Row, Value};
use rowmill_pipeline::{SentimentStep, Step, StepKind};
use rowmill_steps::{Runner, StepDeps, runner};
use rowmill_tests_local::program::{files, root};
use rowmill_tests_local::python;
use tempfile::TempDir;

fn step() -> Box<dyn Runner> {
    let step = Step {
        kind: StepKind::Sentiment(SentimentStep {
            column: "Text".into(),
        }),
        image: None,
        resources: Resources::SMALLEST,
    };
    runner(&step, &StepDeps::new(1, ".")).unwrap()
}

/// The step's score; `None` for a text of white space only.
async fn score(step: &dyn Runner, text: &str) -> Option<f64> {
    let record = Record {
        row: 2,
        values: vec![Some(text.into())],
    };
    let row = Row {
        columns: &Columns::new(["Text"]),
        record: &record,
        outputs: &[],
    };
    match &step.run(row).await.outputs.unwrap()[..] {
        [] => None,
        [(_, _), (_, Value::Number(score))] => Some(*score),
        other => panic!("{text:?}: {other:?}"),
    }
}

/// The script fails unless every rule of the package fires in at least 50 of its sentences.
#[tokio::test]
async fn scores_of_generated_sentences_equal_those_of_the_published_package() {
    let step = step();
    let lines = python::run("vader_sentences.py", &[]);
    let (mut sentences, mut different) = (0, Vec::new());
    for line in lines.lines() {
        let (expected, text): (f64, String) = serde_json::from_str(line).unwrap();
        let found = score(&*step, &text).await;
        let same = match found {
            Some(found) => found == expected,
            None => text.trim().is_empty() && expected == 0.0,
        };
        if !same {
            different.push(format!("{text:?}: {expected}, not {found:?}"));
        }
        sentences += 1;
    }
    different.truncate(20);
    assert!(different.is_empty(), "{different:#?}");
    assert!(sentences >= 40_000, "{sentences}");
}

#[test]
fn the_lexicon_and_the_emojis_equal_those_of_the_published_package() {
    let made = TempDir::new().unwrap();
    python::run("vader_data.py", &[made.path()]);
    assert_eq!(files(made.path()), ["emoji.tsv", "lexicon.tsv"]);
    let kept = root().join("shared/steps/src/sentiment/vader");
    let read = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    for file in ["emoji.tsv", "lexicon.tsv"] {
        assert!(
            read(made.path(), file) == read(&kept, file),
            "{file}: run tests/python/vader_data.py"
        );
    }
}
