//! Requests for previews.

use std::sync::Arc;

use bytes::Bytes;
use rowmill_domain::event::Invocation;
use rowmill_domain::preview::{PreviewAnswer, RecordsAsked};
use rowmill_domain::{Columns, Record, Status, keys};
use rowmill_enrich::{HostResources, PreviewError, Previews};
use rowmill_local::{Bucket, DirObjects};
use rowmill_ports::{Objects, Put};
use rowmill_runs::WorkBucket;
use serde_json::{Value, json};
use tempfile::TempDir;

const WORK: &str = "work";

const PIPELINE: &str = r#"
[input]
types = { n = "number" }

[[step]]
kind = "sentiment"
column = "text"

[[step]]
kind = "command"
program = ["sh", "-c", "sed -u 's/{\"row\":\\([0-9]*\\).*/{\"row\":\\1,\"outputs\":{\"later\":\"x\"}}/'"]
outputs = ["later"]
image = "example.com/other:1"

[[check]]
rule = "row.n > 1"

[[column]]
name = "twice"
value = "row.n * 2"
"#;

struct Bench {
    previews: Previews,
    objects: Arc<DirObjects>,
    _directory: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket {
            name: WORK.into(),
            path: directory.path().join(WORK),
            versioned: false,
        };
        let objects = Arc::new(DirObjects::open(vec![bucket]).unwrap());
        Bench {
            previews: Previews {
                work: WorkBucket::new(WORK, objects.clone()),
                host: HostResources {
                    program_directory: directory.path().to_owned(),
                    ..HostResources::default()
                },
            },
            objects,
            _directory: directory,
        }
    }

    async fn ask(&self, request: Value) -> Result<Value, PreviewError> {
        let cx = Invocation {
            owner: "r-1".into(),
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
        };
        let answer = self.previews.invoke(&request, &cx).await?;
        Ok(answer.unwrap())
    }

    /// The error of a refused request.
    async fn refused(&self, request: Value) -> String {
        match self.ask(request).await.unwrap_err() {
            PreviewError::Request(text) => text,
            other => format!("not refused: {other}"),
        }
    }
}

#[tokio::test]
async fn the_steps_of_all_phases_run_on_the_given_rows() {
    let bench = Bench::new();
    let rows = json!([
        { "n": "3", "text": "I love it, wonderful!" },
        { "n": 1, "text": "Terrible, broken and awful.", "more": null },
        { "text": "" },
    ]);
    let answer = bench
        .ask(json!({ "pipeline": PIPELINE, "rows": rows }))
        .await
        .unwrap();
    assert_eq!(answer["columns"], json!(["n", "text", "more"]));
    assert_eq!(
        answer["added"],
        json!(["sa_class", "sa_score", "later", "twice"])
    );
    let first = &answer["rows"][0];
    assert_eq!((&first["row"], &first["status"]), (&json!(1), &json!("ok")));
    assert_eq!(first["values"]["n"], json!(3));
    assert_eq!(first["values"]["sa_class"], "positive");
    assert_eq!(first["values"]["later"], "x");
    assert_eq!(first["values"]["twice"], json!(6));
    assert_eq!(first["error"], Value::Null);
    let second = &answer["rows"][1];
    assert_eq!(second["status"], "failed");
    assert_eq!(second["error"], "check `row.n > 1` failed");
    assert_eq!(second["values"]["sa_class"], "negative");
    let third = &answer["rows"][2];
    assert_eq!(third["status"], "failed");
    let error = third["error"].as_str().unwrap();
    assert!(error.contains("`n`"), "{error}");
}

#[tokio::test]
async fn the_api_asks_with_records_and_gets_outcomes() {
    let bench = Bench::new();
    let columns = Columns::new(["n", "text"]);
    let line = |row, n: f64, text: &str| {
        let mut line = Vec::new();
        let values = vec![Some(n.into()), Some(text.into())];
        let record = Record { row, values };
        record.write_json(&columns, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    };
    let asked = |seconds| RecordsAsked {
        pipeline: PIPELINE.into(),
        columns: vec!["n".into(), "text".into()],
        records: vec![line(7, 3.0, "I love it"), line(9, 1.0, "Terrible")],
        seconds,
    };
    let ask = async |seconds| {
        let answer = bench.ask(json!(asked(seconds))).await.unwrap();
        match serde_json::from_value(answer).unwrap() {
            PreviewAnswer::Outcomes(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    };
    let outcomes = ask(60.0).await;
    let first = outcomes[0].as_ref().unwrap();
    assert_eq!((first.row, first.status), (7, Status::Ok));
    assert_eq!(first.outputs[0].1, "positive".into());
    assert_eq!(outcomes[1].as_ref().unwrap().status, Status::Failed);
    // The time is over before the first record is finished.
    assert_eq!(ask(0.0).await, [None, None]);
    let wrong = json!({ "pipeline": "[[stp]]", "columns": [], "records": [], "seconds": 1.0 });
    let wrong = bench.ask(wrong).await.unwrap();
    let problem = wrong["problem"].as_str().unwrap();
    assert!(problem.contains("the pipeline:1:3"), "{problem}");
    let none = bench.ask(json!({ "pipeline": PIPELINE, "predict": "x" }));
    let none = none.await.unwrap();
    assert_eq!(
        none["problem"],
        "the pipeline has no step of kind `classify`"
    );
}

#[tokio::test]
async fn a_pipeline_name_is_a_file_in_the_work_bucket_or_built_in() {
    let bench = Bench::new();
    let row = json!({ "Review ID": "1", "Review": "Lovely", "Stars": 5, "Date": "2026-11-01" });
    let request = json!({ "pipeline": "reviews", "rows": [row] });
    let built_in = bench.ask(request.clone()).await.unwrap();
    assert_eq!(built_in["rows"][0]["values"]["agrees_with_stars"], "yes");

    let own = Bytes::from_static(b"[[column]]\nname = 'own'\nvalue = '1'\n");
    bench
        .objects
        .put(
            WORK,
            &keys::pipeline(&"reviews".parse().unwrap()),
            own,
            Put::default(),
        )
        .await
        .unwrap();
    let own = bench.ask(request).await.unwrap();
    assert_eq!(own["added"], json!(["own"]));
}

#[tokio::test]
async fn an_invalid_request_says_what_is_wrong() {
    let bench = Bench::new();
    let rows = |n: usize| vec![json!({ "a": 1 }); n];
    let step = |text: &str| format!("[[step]]\n{text}\n");
    for (request, says) in [
        (json!({ "rows": [] }), "missing field `pipeline`"),
        (
            json!({ "pipeline": "", "rows": [] }),
            "the request has 0 rows; a preview takes 1 to 20",
        ),
        (json!({ "pipeline": "", "rows": rows(21) }), "21 rows"),
        (
            json!({ "pipeline": "no-such", "rows": rows(1) }),
            "the bucket work has no pipelines/no-such.toml",
        ),
        (
            json!({ "pipeline": "[[stp]]", "rows": rows(1) }),
            "the pipeline:1:3: ",
        ),
        (
            json!({ "pipeline": step("kind = 'sentiment'\ncolumn = 'b'"), "rows": rows(1) }),
            "the pipeline:3:10: the workbook has no column `b`",
        ),
        (
            json!({ "pipeline": step("kind = 'command'\nprogram = ['no-such-program']\noutputs = ['x']"), "rows": rows(1) }),
            "step 1 (command): program `no-such-program` not found in PATH",
        ),
        (
            json!({ "pipeline": "[input]\ntypes = { a = 'date' }\n", "rows": rows(1) }),
            "row 1, column `a`: `1` is not a date",
        ),
        (
            json!({ "pipeline": "", "rows": [{ "a": [] }] }),
            "row 1, column `a`: a cell cannot hold a list or an object",
        ),
    ] {
        let error = bench.refused(request).await;
        assert!(error.contains(says), "{says:?} not in {error:?}");
    }
    for n in [1, 20] {
        bench
            .ask(json!({ "pipeline": "description = 'none'", "rows": rows(n) }))
            .await
            .unwrap();
    }
}
