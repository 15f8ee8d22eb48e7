//! Cuts the workbooks of the examples.

use std::ops::ControlFlow;
use std::path::PathBuf;

use rowmill_domain::Kind;
use rowmill_pipeline::Pipeline;
use rowmill_split::{CutError, cut};

fn example(name: &str, file: &str) -> PathBuf {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    examples.join(name).join(file)
}

#[test]
fn the_rows_of_the_reviews_example_become_records() {
    let path = example("reviews", "reviews.xlsx");
    let toml = std::fs::read_to_string(example("reviews", "pipeline.toml")).unwrap();
    let pipeline = Pipeline::parse("pipeline.toml", &toml).unwrap();
    let mut rows_read = 0;
    let progress = |rows| {
        rows_read = rows;
        ControlFlow::Continue(())
    };
    let cut = cut(&path, "reviews.xlsx", &pipeline, None, progress).unwrap();
    assert!(cut.records() >= 300, "{}", cut.records());
    assert_eq!(cut.sheet, "Reviews");
    assert_eq!(cut.rows_in, cut.records() + cut.rejected_total());
    assert_eq!(rows_read, cut.rows_in);
    let column = |name: &str| cut.columns.iter().find(|c| c.name == name).unwrap();
    assert_eq!(column("Review ID").distinct, cut.records(), "it is the key");
    assert_eq!(column("Date").kind, Some(Kind::Date));
    let stars = column("Stars");
    assert_eq!(
        (stars.kind, stars.filled <= cut.records()),
        (Some(Kind::Number), true)
    );
}

#[test]
fn a_stopped_cut_is_an_error() {
    let pipeline = Pipeline::parse("pipeline.toml", "").unwrap();
    let path = example("reviews", "reviews.xlsx");
    let result = cut(&path, "reviews.xlsx", &pipeline, None, |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(result, Err(CutError::Stopped)), "{result:?}");
}
