//! Rows and reviews of a run that has ended.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rowmill_aws::DynamoLedger;
use rowmill_domain::archive::{self, ARCHIVE_VERSION, ArchiveInfo};
use rowmill_domain::index::{BLOCK_ROWS, IndexBuilder, ReviewedColumn};
use rowmill_domain::manifest::{ChunkPlan, ColumnProfile, MANIFEST_VERSION, Manifest};
use rowmill_domain::run::UploadSource;
use rowmill_domain::{Columns, Kind, Outcome, Record, RunId, RunItem, RunState, Status, keys};
use rowmill_ports::{Objects, Put, Runs};
use serde_json::{Value, json};

use super::{Deployed, STACK, WORK};

/// Labels come from a program, so that the test needs no model.
const REVIEWED: &str = r#"
[[step]]
kind = "command"
program = ["label"]
outputs = ["label"]
[[review]]
column = "label"
labels = ["billing", "delivery"]
"#;

/// Puts what report and split leave of a run with this many rows, from row 2 on.
async fn ended(d: &Deployed, rows: u32) -> RunId {
    let run: RunId = "20261121-reviews-0a1b2c3d4e5f".parse().unwrap();
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let source = UploadSource {
        bucket: "rowmill-inbox-1".into(),
        key: "reviews/0/book.xlsx".into(),
        version: "v".into(),
        size: 1,
        uploaded: now,
    };
    let chunk = ChunkPlan {
        chunk: 0,
        first_row: 2,
        last_row: rows + 1,
        records: rows,
        children: 1,
    };
    let text = ColumnProfile {
        name: "text".into(),
        kind: Some(Kind::Text),
        format: None,
        filled: rows.into(),
        distinct: 1,
        min: None,
        max: None,
        width: 8,
    };
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        run: run.clone(),
        source: source.clone(),
        created: now,
        pipeline: "reviews".parse().unwrap(),
        pipeline_toml: REVIEWED.into(),
        sheet: "S".into(),
        columns: vec![text],
        chunks: vec![chunk],
        phases: 1,
        rows_in: rows.into(),
        records: rows.into(),
        rejected: Default::default(),
        notes: Vec::new(),
        notify: Vec::new(),
        parameters: Default::default(),
        base: None,
    };
    let columns = Columns::new(["text"]);
    let review = ReviewedColumn {
        column: "label".into(),
        probability: None,
    };
    let mut index = IndexBuilder::new(vec!["text".into(), "label".into()], Some(review));
    let (mut file, mut blocks) = (Vec::new(), vec![0]);
    let numbers: Vec<u32> = (2..rows + 2).collect();
    for block in numbers.chunks(BLOCK_ROWS) {
        let mut gzip = GzEncoder::new(&mut file, Compression::default());
        for row in block {
            let record = Record {
                row: *row,
                values: vec![Some(format!("text {row}").as_str().into())],
            };
            let outcome = Outcome {
                row: *row,
                phase: 0,
                status: Status::Ok,
                outputs: vec![("label".into(), "billing".into())],
                error: None,
                attempts: 1,
                times: Vec::new(),
                steps: 1,
                notes: Vec::new(),
            };
            let (mut chunk_line, mut line) = (Vec::new(), Vec::new());
            record.write_json(&columns, &mut chunk_line).unwrap();
            archive::write_line(&chunk_line, &outcome, &mut line).unwrap();
            gzip.write_all(&line).unwrap();
            index.row(&columns, &record, &outcome);
        }
        gzip.finish().unwrap();
        blocks.push(file.len() as u64);
    }
    index.chunk(blocks);
    let (about, index) = index.finish().unwrap();
    let archive = ArchiveInfo {
        v: ARCHIVE_VERSION,
        started: now,
        finished: now,
        reasons: Vec::new(),
        manifest,
    };
    let result = keys::result(&run, &source.key);
    for (key, body) in [
        (keys::archived_rows(&run, 0), file),
        (keys::index_about(&run), about),
        (keys::index_rows(&run), index),
        (keys::about(&run), serde_json::to_vec(&archive).unwrap()),
        (result.clone(), b"PK".to_vec()),
    ] {
        let put = d.objects.put(WORK, &key, body.into(), Put::default());
        put.await.unwrap();
    }
    let mut item = RunItem::new(run.clone(), source, now);
    (item.state, item.result) = (RunState::Delivered, Some(result));
    let ledger = DynamoLedger::new(&d.config, STACK);
    assert!(ledger.create_run(&item).await.unwrap());
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reviewers_the_second_sees_the_verdict_of_the_first() {
    let d = Deployed::start().await;
    let run = ended(&d, 300).await;
    let ada = Some(("ada@example.com", "reviewer"));
    let bob = Some(("bob@example.com", "reviewer"));
    let path = |rest: &str| format!("/runs/{run}{rest}");

    let first_rows = path("/rows?limit=2&sort=row&facets=true");
    let page = d.ask(ada, "GET", &first_rows, &Value::Null).await.json();
    assert_eq!(page["total"], 300, "{page}");
    assert_eq!(page["rows"][0]["row"], 2);
    assert_eq!(page["rows"][0]["values"]["text"], "text 2");
    assert_eq!(page["facets"]["verdict"], json!({ "open": 300 }));

    // Both saw the row without a verdict, and decide at the same time.
    let (approve, other) = (
        json!({ "version": 0 }),
        json!({ "value": "delivery", "version": 0 }),
    );
    for row in 2..12 {
        let (first, second) = (
            path(&format!("/rows/{row}/approve")),
            path(&format!("/rows/{row}/override")),
        );
        let answers = tokio::join!(
            d.ask(ada, "POST", &first, &approve),
            d.ask(bob, "POST", &second, &other)
        );
        let (won, lost) = match (answers.0.status, answers.1.status) {
            (200, 409) => (answers.0.json(), answers.1.json()),
            (409, 200) => (answers.1.json(), answers.0.json()),
            _ => panic!("{answers:?}"),
        };
        assert_eq!(lost["review"], won, "{lost}");
    }

    // A batch, and a verdict on all open rows, with one undo.
    let verdicts: Vec<Value> = (12..112)
        .map(|row| json!({ "row": row, "verdict": "approve", "version": 0 }))
        .collect();
    let batch = json!({ "verdicts": verdicts });
    let batch = d.ask(ada, "POST", &path("/reviews"), &batch).await.json();
    let results = batch["results"].as_array().unwrap();
    assert!(results.iter().all(|r| r["problem"].is_null()), "{batch}");
    let filter =
        json!({ "filter": { "verdict": "open" }, "verdict": "override", "value": "delivery" });
    let many = d.ask(bob, "POST", &path("/reviews/filter"), &filter).await;
    assert_eq!(many.status, 201, "{many:?}");
    let many = many.json();
    assert_eq!(many["count"], 190, "{many}");
    let shown = d.ask(ada, "GET", &path(""), &Value::Null).await.json();
    assert_eq!(shown["reviews"]["open"], 0, "{shown}");
    let id = many["filter_verdict"].as_str().unwrap();
    let undo = path(&format!("/reviews/filter/{id}"));
    let undone = d.ask(bob, "DELETE", &undo, &Value::Null).await;
    assert_eq!(undone.status, 204, "{undone:?}");
    let shown = d.ask(ada, "GET", &path(""), &Value::Null).await.json();
    assert_eq!(shown["reviews"]["open"], 190, "{shown}");
    let viewer = Some(("vic@example.com", "viewer"));
    let refused = d.ask(viewer, "POST", &path("/rows/2/undo"), &approve).await;
    assert_eq!(refused.status, 403, "{refused:?}");

    // The workbook is a redirect to S3, and an address for the page.
    let workbook = d.ask(ada, "GET", &path("/workbook"), &Value::Null).await;
    assert_eq!(workbook.status, 302, "{workbook:?}");
    let location = workbook.headers["location"].as_str().unwrap();
    let got = rowmill_tests_aws::http::client().get(location).send().await;
    assert_eq!(&got.unwrap().bytes().await.unwrap()[..], b"PK");

    // So is an export, which another invocation builds.
    for (format, begin) in [
        ("csv", "input row,text,label"),
        ("jsonl", "{\""),
        ("xlsx", "PK"),
    ] {
        let asked = path(&format!("/export.{format}?rows=all"));
        let mut export = d.ask(ada, "GET", &asked, &Value::Null).await;
        for _ in 0..100 {
            if export.status != 202 {
                break;
            }
            let later = export.headers["location"].as_str().unwrap().to_owned();
            export = d.ask(ada, "GET", &later, &Value::Null).await;
        }
        assert_eq!(export.status, 302, "{format}: {export:?}");
        let location = export.headers["location"].as_str().unwrap();
        let got = rowmill_tests_aws::http::client().get(location).send().await;
        let got = got.unwrap().bytes().await.unwrap();
        assert!(got.starts_with(begin.as_bytes()), "{format}: {got:?}");
        if format != "xlsx" {
            let lines = got.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines, 300 + usize::from(format == "csv"), "{format}");
        }
    }
    let unknown = path(&format!("/export.csv?export={}", "0".repeat(40)));
    assert_eq!(d.ask(ada, "GET", &unknown, &Value::Null).await.status, 404);
}
