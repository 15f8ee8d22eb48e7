//! The submitter of a run.

use rowmill_domain::run::RunState;
use rowmill_domain::{RunId, RunItem, Submitter};
use rowmill_ports::{Runs, Submitters};

use crate::bench::{Bench, at};

const BODY: &str = "Review ID,Date,Product,Stars,Review\n1,2026-11-01,Lamp,5,Lovely\n";

fn submitter(text: &str) -> Submitter {
    text.parse().unwrap()
}

/// The run of an upload, and the runs of its submitter.
async fn split(bench: &Bench, key: &str, metadata: &[(&str, &str)]) -> (RunItem, Vec<RunId>) {
    let event = bench.upload(key, BODY, metadata).await;
    bench.split.handle(&event, &at(key, 0)).await.unwrap();
    let item = bench.item(&rowmill_split::run_id(&event)).await;
    let runs = bench
        .ledger
        .runs_of(item.submitter.as_ref().unwrap(), None, 9);
    let runs = runs.await.unwrap();
    (item, runs)
}

#[tokio::test]
async fn the_submitter_of_a_run_is_in_the_metadata_and_otherwise_the_default_recipient() {
    let bench = Bench::new();
    for (key, named, expected) in [
        (
            "reviews/a/Reviews.csv",
            Some("Ada@Example.com"),
            "ada@example.com",
        ),
        ("reviews/b/Reviews.csv", None, "you@localhost"),
        ("reviews/c/Reviews.csv", Some("ada"), "you@localhost"),
    ] {
        let metadata: Vec<_> = named
            .map(|named| ("submitter", named))
            .into_iter()
            .collect();
        let (item, runs) = split(&bench, key, &metadata).await;
        assert_eq!(item.submitter, Some(submitter(expected)), "{key}");
        assert!(runs.contains(&item.id), "{key}");
        assert_eq!(item.state, RunState::Running, "{key}");
    }
}

#[tokio::test]
async fn a_run_that_the_api_created_gets_its_submitter_from_split() {
    let bench = Bench::new();
    let event = bench
        .upload(
            "reviews/a/Reviews.csv",
            BODY,
            &[("submitter", "ada@example.com")],
        )
        .await;
    let (item, _) = split(&bench, "reviews/Reviews.csv", &[]).await;
    let run = rowmill_split::run_id(&event);
    let mut created = RunItem::new(run.clone(), item.source, event.time);
    created.owner = Some("ada@example.com".into());
    assert!(bench.ledger.create_run(&created).await.unwrap());
    bench.split.handle(&event, &at("a", 0)).await.unwrap();
    let item = bench.item(&run).await;
    assert_eq!(item.submitter, Some(submitter("ada@example.com")));
    assert_eq!(item.state, RunState::Running);
}

#[tokio::test]
async fn a_refused_upload_belongs_to_its_submitter_too() {
    let bench = Bench::new();
    let metadata = [("submitter", "ada@example.com"), ("limit", "none")];
    let (item, runs) = split(&bench, "reviews/a/Reviews.csv", &metadata).await;
    assert!(item.failure.is_some());
    assert_eq!(runs, [item.id]);
}
