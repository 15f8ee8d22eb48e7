//! Uploads and metadata that split refuses: the run fails with a reason, and report receives it.

use rowmill_domain::RunState;
use rowmill_domain::event::ObjectCreated;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Failure;
use rowmill_ports::Runs;

use crate::bench::{Bench, INBOX, at};

/// Uploads, splits, and returns the failure that report receives.
async fn refusal(bench: &Bench, key: &str, body: &str, metadata: &[(&str, &str)]) -> Failure {
    let event = bench.upload(key, body, metadata).await;
    let run = rowmill_split::run_id(&event);
    let before = bench.published().len();
    bench.split.handle(&event, &at(key, 0)).await.unwrap();
    let item = bench.item(&run).await;
    assert_eq!(item.state, RunState::Splitting);
    let failure = item.failure.unwrap();
    let message = RunMessage::Failed {
        run: run.clone(),
        failure: failure.clone(),
    };
    assert_eq!(bench.published()[before..], [message]);
    assert_eq!(bench.keys_of(&run).await, [] as [&str; 0]);
    // Published once: repeating the event has no effect.
    bench.split.handle(&event, &at("again", 5)).await.unwrap();
    assert_eq!(bench.published().len(), before + 1);
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
async fn an_unknown_folder_fails_with_a_list_of_the_pipelines() {
    let bench = Bench::new();
    let none = refusal(&bench, "review/first.csv", "id\n1\n", &[]).await;
    assert_says(
        &none,
        &["first.csv", "`review`", "did you mean `reviews`?"],
        &["pipelines: reviews.", "pipelines/<name>.toml"],
    );
    bench.pipeline("tax-due", "").await;
    let near = refusal(&bench, "review/a.csv", "id\n1\n", &[]).await;
    assert_says(
        &near,
        &["`review`", "did you mean `reviews`?"],
        &["reviews, tax-due"],
    );
    let far = refusal(&bench, "zzz/a.csv", "id\n1\n", &[]).await;
    assert!(!far.what.contains("did you mean"), "{far:?}");
    let odd = refusal(&bench, "My Reviews/a.csv", "id\n1\n", &[]).await;
    assert_says(&odd, &["`My Reviews`", "lower-case"], &["reviews"]);
    let top = refusal(&bench, "a.csv", "id\n1\n", &[]).await;
    assert_says(
        &top,
        &["a.csv: the file is not in a folder"],
        &["reviews, tax-due"],
    );
}

#[tokio::test]
async fn the_built_in_pipeline_is_used_until_a_file_replaces_it() {
    let bench = Bench::new();
    let columns = "Review ID,Date,Product,Stars,Review\n1,2026-11-01,Lamp,5,Lovely\n";
    let built_in = bench.split("reviews/Reviews.csv", columns, &[]).await;
    assert!(built_in.pipeline_toml.contains("kind = \"sentiment\""));
    bench.pipeline("reviews", "description = 'own'").await;
    let own = bench.split("reviews/again/Reviews.csv", columns, &[]).await;
    assert_eq!(own.pipeline_toml, "description = 'own'");
}

#[tokio::test]
async fn an_invalid_input_fails_with_the_location_of_the_error() {
    let bench = Bench::new();
    bench
        .pipeline("p", "[input]\nrequired = [\"Customer ID\"]\n")
        .await;
    let missing = refusal(&bench, "p/a.csv", "Customer Id,n\n1,2\n", &[]).await;
    assert_says(
        &missing,
        &["a.csv", "Customer ID", "pipelines/p.toml"],
        &["row 1"],
    );
    let empty = refusal(&bench, "p/b.csv", "Customer ID\n", &[]).await;
    assert_says(&empty, &["b.csv"], &[]);
    let all = refusal(&bench, "p/c.csv", "Customer ID,n\n,2\n,3\n", &[]).await;
    assert_says(
        &all,
        &["c.csv", "2 for `required value missing`", "row 2"],
        &["the file again"],
    );
    let limit = refusal(&bench, "p/d.csv", "Customer ID\n1\n", &[("limit", "ten")]).await;
    assert_says(&limit, &["d.csv", "`ten`"], &["valid number"]);
    let bytes = refusal(&bench, "p/e.xlsx", "PK\u{3}\u{4}rubbish", &[]).await;
    assert_says(&bytes, &["e.xlsx: "], &["save it again"]);
    assert!(!bytes.what.contains("rowmill-inbox"), "{bytes:?}");

    bench.pipeline("q", "[input]\nrequird = [\"a\"]\n").await;
    let pipeline = refusal(&bench, "q/a.csv", "a\n1\n", &[]).await;
    assert_says(
        &pipeline,
        &["requird", "pipelines/q.toml:2:"],
        &["pipelines/q.toml"],
    );
}

#[tokio::test]
async fn a_large_workbook_is_read_if_its_pipeline_allows_it() {
    let bench = Bench::new();
    bench.pipeline("usual", "").await;
    let raised = "[input.limits]\nfile_bytes = 3_000_000_000\n";
    bench.pipeline("raised", raised).await;
    for (pipeline, size, allowed) in [
        ("usual", 2_000_000_000, Some("1073741824")),
        ("raised", 2_000_000_000, None),
        ("raised", 4_000_000_000, Some("3000000000")),
    ] {
        let mut event = bench
            .upload(&format!("{pipeline}/{size}.csv"), "id\n1\n", &[])
            .await;
        event.size = size;
        let run = rowmill_split::run_id(&event);
        bench.split.handle(&event, &at("split", 0)).await.unwrap();
        let failure = bench.item(&run).await.failure;
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
async fn a_folder_marker_is_ignored() {
    let bench = Bench::new();
    let event = ObjectCreated {
        bucket: INBOX.into(),
        key: "p/".into(),
        version: "1".into(),
        versioned: true,
        size: 0,
        time: at("", 0).now,
    };
    bench.split.handle(&event, &at("split", 0)).await.unwrap();
    assert_eq!(bench.ledger.list_runs(None, 10).await.unwrap(), []);
    assert_eq!(bench.published(), []);
}

#[tokio::test]
async fn metadata_sets_the_row_limit_and_the_recipients() {
    let bench = Bench::new();
    bench.pipeline("p", "").await;
    let metadata = [("limit", "2"), ("notify", "a@example.com, b@example.com")];
    let manifest = bench.split("p/a.csv", "id\n1\n2\n3\n4\n", &metadata).await;
    assert_eq!((manifest.records, manifest.rows_in), (2, 4));
    assert_eq!(manifest.notify, ["a@example.com", "b@example.com"]);
    assert_eq!(manifest.chunks.len(), 1);
    assert_eq!(
        (manifest.chunks[0].first_row, manifest.chunks[0].last_row),
        (2, 3)
    );
}

#[tokio::test]
async fn parameters_of_an_upload_are_checked_before_submit_and_stored() {
    let bench = Bench::new();
    let pipeline = "[parameters]\nmode = \"strict\"\nmonth = { matches = \"[0-9]{4}-[0-9]{2}\" }\n\
                    rate = { default = \"1.5\", type = \"number\" }\n";
    bench.pipeline("p", pipeline).await;
    let body = "id\n1\n";
    let missing = refusal(&bench, "p/a.csv", body, &[]).await;
    assert_says(
        &missing,
        &["a.csv: ", "`month` has no value"],
        &["Upload the file again", "--metadata parameter-NAME=VALUE"],
    );
    let metadata = [
        ("parameter-month", "May"),
        ("parameter-rat", "2"),
        ("parameter-mode", "lax"),
        ("s3cmd-attrs", "uid:1000"),
    ];
    let wrong = refusal(&bench, "p/b.csv", body, &metadata).await;
    assert_says(
        &wrong,
        &[
            "invalid value `May` for the parameter `month`",
            "unknown parameter `rat`; did you mean `rate`?",
            "the pipeline fixes the parameter `mode`",
        ],
        &[],
    );
    assert!(!wrong.what.contains("s3cmd"), "{wrong:?}");

    let month = [("parameter-month", "2026-05")];
    let manifest = bench.split("p/c.csv", body, &month).await;
    let kept = [("month", "2026-05"), ("rate", "1.5")];
    let kept = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(manifest.parameters, kept.into());
}

#[tokio::test]
async fn a_run_above_a_limit_of_its_pipeline_is_refused_with_both_figures() {
    let bench = Bench::new();
    let rows: String = (0..30).map(|id| format!("{id}\n")).collect();
    let book = format!("id\n{rows}");
    bench.pipeline("few", "[batch]\nmax_records = 29\n").await;
    let many = refusal(&bench, "few/a.csv", &book, &[]).await;
    assert_says(
        &many,
        &["a.csv", "30 records", "allows 29", "Nothing was processed"],
        &["raise max_records", "upload it again"],
    );

    let batch = "[batch]\nseconds_per_record = 3600\nconcurrency = 1\n";
    bench
        .pipeline("dear", &format!("{batch}max_cost = 0.1\n"))
        .await;
    let dear = refusal(&bench, "dear/a.csv", &book, &[]).await;
    assert_says(
        &dear,
        &["a.csv", "30 records", "cost 0.2", "allows 0.10 USD"],
        &["raise max_cost", "rowmill plan"],
    );

    bench
        .pipeline("fits", &format!("{batch}max_cost = 1\nmax_records = 30\n"))
        .await;
    let fits = bench.split("fits/a.csv", &book, &[]).await;
    assert_eq!(fits.records, 30);
}
