//! Inputs and orders that are refused: the run fails in words, and report is told.

use crate::place::{Place, at};
use rowmill_domain::job::JobStatus;
use rowmill_domain::message::Message;
use rowmill_domain::run::Failure;
use rowmill_domain::{Manifest, RunState, keys};
use rowmill_ports::Location;
use rowmill_ports::Objects;

/// Uploads, splits, and gives the failure that report is told.
async fn refusal(place: &Place, key: &str, body: &str, metadata: &[(&str, &str)]) -> Failure {
    let event = place.upload(key, body, metadata).await;
    let run = rowmill_split::run_id(&event);
    let told = place.published().len();
    place.split.handle(&event, &at(key, 0)).await.unwrap();
    let item = place.item(&run).await;
    assert_eq!(item.state, RunState::Splitting);
    let failure = item.failure.unwrap();
    let message = Message::Failed {
        run: run.clone(),
        failure: failure.clone(),
    };
    assert_eq!(place.published()[told..], [message]);
    assert_eq!(place.objects_under(&keys::run_prefix(&run)).await, []);
    // Told once: the event again does nothing.
    place.split.handle(&event, &at("again", 5)).await.unwrap();
    assert_eq!(place.published().len(), told + 1);
    failure
}

fn assert_says(failure: &Failure, what: &[&str], advice: &[&str]) {
    for text in what {
        assert!(failure.what.contains(text), "{text:?} not in {failure:?}");
    }
    for text in advice {
        assert!(failure.advice.contains(text), "{text:?} not in {failure:?}");
    }
}

#[tokio::test]
async fn a_folder_that_names_no_pipeline_is_answered_with_those_there_are() {
    let place = Place::new();
    let none = refusal(&place, "review/first.csv", "id\n1\n", &[]).await;
    assert_says(
        &none,
        &["first.csv", "`review`", "did you mean `reviews`?"],
        &["pipelines: reviews;", "pipelines/<name>.toml"],
    );
    place.pipeline("tax-due", "").await;
    let near = refusal(&place, "review/a.csv", "id\n1\n", &[]).await;
    assert_says(
        &near,
        &["`review`", "did you mean `reviews`?"],
        &["reviews, tax-due"],
    );
    let far = refusal(&place, "zzz/a.csv", "id\n1\n", &[]).await;
    assert!(!far.what.contains("did you mean"), "{far:?}");
    let odd = refusal(&place, "My Reviews/a.csv", "id\n1\n", &[]).await;
    assert_says(&odd, &["`My Reviews`", "lower-case"], &["reviews"]);
    let top = refusal(&place, "a.csv", "id\n1\n", &[]).await;
    assert_says(&top, &["a.csv: lies in no folder"], &["reviews, tax-due"]);
}

#[tokio::test]
async fn the_built_in_pipeline_serves_until_a_file_of_its_name_is_there() {
    let place = Place::new();
    let columns = "Review ID,Date,Product,Stars,Review\n1,2026-11-01,Lamp,5,Lovely\n";
    let manifest = async |key: &str| {
        let event = place.upload(key, columns, &[]).await;
        let run = rowmill_split::run_id(&event);
        place.split.handle(&event, &at(key, 0)).await.unwrap();
        let at = Location::new(crate::place::WORK, keys::manifest(&run));
        let object = place.objects.get(&at).await.unwrap();
        Manifest::from_json(&object.body).unwrap()
    };
    let built_in = manifest("reviews/Reviews.csv").await;
    assert!(built_in.pipeline_toml.contains("kind = \"sentiment\""));
    place.pipeline("reviews", "description = 'own'").await;
    let own = manifest("reviews/again/Reviews.csv").await;
    assert_eq!(own.pipeline_toml, "description = 'own'");
}

#[tokio::test]
async fn what_is_wrong_with_an_input_is_told_with_its_place() {
    let place = Place::new();
    place
        .pipeline("p", "[input]\nrequired = [\"Customer ID\"]\n")
        .await;
    let missing = refusal(&place, "p/a.csv", "Customer Id,n\n1,2\n", &[]).await;
    assert_says(
        &missing,
        &["a.csv", "Customer ID", "pipelines/p.toml"],
        &["row 1"],
    );
    let empty = refusal(&place, "p/b.csv", "Customer ID\n", &[]).await;
    assert_says(&empty, &["b.csv"], &[]);
    let all = refusal(&place, "p/c.csv", "Customer ID,n\n,2\n,3\n", &[]).await;
    assert_says(
        &all,
        &["c.csv", "2 required value missing", "row 2"],
        &["upload it again"],
    );
    let limit = refusal(&place, "p/d.csv", "Customer ID\n1\n", &[("limit", "ten")]).await;
    assert_says(&limit, &["d.csv", "`ten`"], &["number of rows"]);
    let bytes = refusal(&place, "p/e.xlsx", "PK\u{3}\u{4}rubbish", &[]).await;
    assert_says(&bytes, &["e.xlsx: "], &["try again"]);
    assert!(!bytes.what.contains("rowmill-inbox"), "{bytes:?}");

    place.pipeline("q", "[input]\nrequird = [\"a\"]\n").await;
    let pipeline = refusal(&place, "q/a.csv", "a\n1\n", &[]).await;
    assert_says(
        &pipeline,
        &["requird", "pipelines/q.toml, line 2"],
        &["pipelines/q.toml"],
    );
}

#[tokio::test]
async fn a_large_workbook_is_read_where_its_pipeline_allows_it() {
    let place = Place::new();
    place.pipeline("usual", "").await;
    let raised = "[input.limits]\nfile_bytes = 3_000_000_000\n";
    place.pipeline("raised", raised).await;
    for (pipeline, size, allowed) in [
        ("usual", 2_000_000_000, Some("1073741824")),
        ("raised", 2_000_000_000, None),
        ("raised", 4_000_000_000, Some("3000000000")),
    ] {
        let mut event = place
            .upload(&format!("{pipeline}/{size}.csv"), "id\n1\n", &[])
            .await;
        event.size = size;
        let run = rowmill_split::run_id(&event);
        place.split.handle(&event, &at("split", 0)).await.unwrap();
        let failure = place.item(&run).await.failure;
        match (failure, allowed) {
            (None, None) => {}
            (Some(failure), Some(allowed)) => assert_says(
                &failure,
                &[&format!(
                    "{size}.csv: {size} exceeds the limit `file_bytes` of {allowed}"
                )],
                &["raise `file_bytes` under [input.limits]"],
            ),
            (failure, _) => assert_eq!(failure, None, "{pipeline}, {size}"),
        }
    }
}

#[tokio::test]
async fn a_folder_marker_is_no_upload() {
    let place = Place::new();
    let event = rowmill_domain::event::ObjectCreated {
        bucket: crate::place::INBOX.into(),
        key: "p/".into(),
        version: "1".into(),
        versioned: true,
        size: 0,
        time: at("", 0).now,
    };
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    use rowmill_ports::Ledger;
    assert_eq!(place.ledger.runs(None, 10).await.unwrap(), []);
    assert_eq!(place.published(), []);
}

#[tokio::test]
async fn metadata_limits_the_rows_and_names_recipients() {
    let place = Place::new();
    place.pipeline("p", "").await;
    let metadata = [("limit", "2"), ("notify", "a@example.com, b@example.com")];
    let event = place.upload("p/a.csv", "id\n1\n2\n3\n4\n", &metadata).await;
    let run = rowmill_split::run_id(&event);
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    let object = place
        .objects
        .get(&Location::new(crate::place::WORK, keys::manifest(&run)))
        .await
        .unwrap();
    let manifest = Manifest::from_json(&object.body).unwrap();
    assert_eq!((manifest.records, manifest.rows_in), (2, 4));
    assert_eq!(manifest.notify, ["a@example.com", "b@example.com"]);
    assert_eq!(manifest.chunks.len(), 1);
    assert_eq!(
        (manifest.chunks[0].first_row, manifest.chunks[0].last_row),
        (2, 3)
    );
}

#[tokio::test]
async fn parameters_of_an_upload_are_checked_before_anything_is_submitted_and_kept() {
    let place = Place::new();
    let pipeline = "[parameters]\nmode = \"strict\"\nmonth = { matches = \"[0-9]{4}-[0-9]{2}\" }\n\
                    rate = { default = \"1.5\", type = \"number\" }\n";
    place.pipeline("p", pipeline).await;
    let body = "id\n1\n";
    let missing = refusal(&place, "p/a.csv", body, &[]).await;
    assert_says(
        &missing,
        &["a.csv: ", "`month` has no value"],
        &["upload it again", "--metadata parameter-NAME=VALUE"],
    );
    let metadata = [
        ("parameter-month", "May"),
        ("parameter-rat", "2"),
        ("parameter-mode", "lax"),
        ("s3cmd-attrs", "uid:1000"),
    ];
    let wrong = refusal(&place, "p/b.csv", body, &metadata).await;
    assert_says(
        &wrong,
        &[
            "`month` cannot be `May`",
            "no parameter `rat`; did you mean `rate`?",
            "`mode` is fixed by the pipeline",
        ],
        &[],
    );
    assert!(!wrong.what.contains("s3cmd"), "{wrong:?}");

    let event = place
        .upload("p/c.csv", body, &[("parameter-month", "2026-05")])
        .await;
    let run = rowmill_split::run_id(&event);
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    let manifest = Location::new(crate::place::WORK, keys::manifest(&run));
    let manifest = place.objects.get(&manifest).await.unwrap();
    let manifest = Manifest::from_json(&manifest.body).unwrap();
    let kept = [("month", "2026-05"), ("rate", "1.5")];
    let kept = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(manifest.parameters, kept.into());
}

#[tokio::test]
async fn a_run_that_batch_refuses_fails_and_leaves_no_job_at_work() {
    let mut place = Place::new();
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", "id\n1\n", &[]).await;
    let run = rowmill_split::run_id(&event);
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    place.submit.config.queue = "no such queue".into();
    place.submit.handle(&run, &at("submit", 0)).await.unwrap();
    let failure = place.item(&run).await.failure.unwrap();
    assert_says(
        &failure,
        &["AWS Batch refused", "no such queue"],
        &["upload"],
    );
    let expected = Message::Failed { run, failure };
    assert_eq!(place.published().last(), Some(&expected));
    assert!(
        place
            .jobs()
            .await
            .iter()
            .all(|job| job.status == JobStatus::Failed)
    );
}
