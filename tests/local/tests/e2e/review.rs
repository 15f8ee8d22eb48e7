//! Reviews over the API: verdicts, filters, exports, and the way back into a model.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rowmill_tests_local::program::{Job, Read, binary, root};
use rowmill_tests_local::server::{Answer, Server};
use rowmill_tests_local::workbook::{self, Book, Cell};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
[input]
required = ["message"]
[[step]]
kind = "classify"
column = "message"
model = "topics.model"
[[review]]
column = "label"
"#;

/// The labeled complaints: text and label.
fn complaints() -> Vec<(String, String)> {
    let csv = root().join("examples/complaints/labelled.csv");
    let csv = std::fs::read_to_string(csv).unwrap();
    let line = |line: &str| {
        let (text, label) = line.rsplit_once(',').unwrap();
        let text = text
            .strip_prefix('"')
            .map_or(text, |t| t.strip_suffix('"').unwrap());
        (text.replace("\"\"", "\""), label.to_owned())
    };
    csv.lines().skip(1).map(line).collect()
}

fn train(texts: &[(String, String)], out: &Path) {
    let data = out.with_extension("csv");
    let mut csv = "message,topic\n".to_owned();
    for (text, label) in texts {
        csv += &format!("\"{}\",{label}\n", text.replace('"', "\"\""));
    }
    std::fs::write(&data, csv).unwrap();
    train_on(&data, "topic", out);
}

fn train_on(data: &Path, label: &str, out: &Path) {
    let mut command = Command::new(binary());
    command
        .arg("train")
        .arg(data)
        .args(["--text", "message", "--label", label]);
    let replaces = out.exists();
    let output = command.arg("--out").arg(out).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // How good the model was that it replaces, on the same texts.
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.contains("before: accuracy 0."), replaces, "{said}");
}

/// A server with a finished run over these texts, whose model was trained on others.
fn finished(known: &[(String, String)], texts: &[(String, String)]) -> (Job, Server, String) {
    let rows = texts.iter().map(|(text, _)| vec![Cell::from(&**text)]);
    let job = Job::new(&Book::new(&["message"], rows), PIPELINE);
    train(known, &job.folder().join("topics.model"));
    let server = Server::start(job.folder(), &job.out());
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    let ended = server.ended(&run);
    assert_eq!(ended["state"], "delivered", "{ended}");
    (job, server, run)
}

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    server.call("POST", path, body)
}

/// `POST` with an idempotency key.
fn post_once(server: &Server, path: &str, body: &Value, key: &str) -> Answer {
    let (host, bearer) = (server.host(), format!("Bearer {}", server.token));
    let headers = [
        ("Host", &*host),
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

#[test]
fn verdicts_are_kept_with_their_history_and_never_lost() {
    let all = complaints();
    let (_job, server, run) = finished(&all[..60], &all[60..80]);
    let base = format!("/runs/{run}");
    let shown = server.get(&base);
    assert_eq!(
        shown["review"],
        json!({ "column": "label", "labels": ["billing", "delivery", "praise", "product"] })
    );
    assert_eq!(
        shown["reviews"],
        json!({ "total": 20, "approved": 0, "overridden": 0, "open": 20 })
    );

    // Least certain first, in pages, each row once.
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{base}/rows?limit=7{after}"));
        assert_eq!(page["total"], 20);
        rows.extend(page["rows"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(rows.len(), 20);
    let certainty = |row: &Value| row["probability"].as_f64().unwrap();
    assert!(rows.is_sorted_by_key(certainty), "{rows:?}");
    let mut numbers: Vec<u64> = rows
        .iter()
        .map(|row| row["row"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(2..22), "{numbers:?}");
    assert_eq!(rows[0]["prediction"], rows[0]["values"]["label"]);
    let message = rows[0]["values"]["message"].as_str().unwrap();
    let by_row = server.get(&format!("{base}/rows?sort=row&limit=3"));
    assert_eq!(by_row["rows"][2]["row"], 4);
    assert_eq!(by_row["rows"][2]["values"]["message"], *all[62].0);

    // Approve, override, undo.
    let at = |row: u32, verb: &str| format!("{base}/rows/{row}/{verb}");
    let review = post(&server, &at(5, "approve"), &json!({ "version": 0 }));
    assert_eq!(review.status, 200, "{}", review.text());
    let review = review.json();
    assert_eq!(review["verdict"], "approved");
    assert_eq!(
        review["final"],
        by_row_value(&server, &base, 5)["prediction"]
    );
    assert_eq!(
        (&review["reviewer"], &review["version"]),
        (&json!("operator"), &json!(1))
    );
    // The second of two reviewers, who saw no verdict, gets the first one's.
    let second = post(
        &server,
        &at(5, "override"),
        &json!({ "value": "praise", "version": 0 }),
    );
    assert_eq!(second.status, 409);
    assert_eq!(second.json()["review"], review);
    let third = post(
        &server,
        &at(5, "override"),
        &json!({ "value": "praise", "version": 1 }),
    );
    assert_eq!(third.json()["verdict"], "overridden");
    assert_eq!(third.json()["final"], "praise");
    let undone = post(&server, &at(5, "undo"), &json!({ "version": 2 })).json();
    assert_eq!(
        (&undone["verdict"], &undone["version"]),
        (&json!("approved"), &json!(3))
    );
    let undone = post(&server, &at(5, "undo"), &json!({ "version": 3 })).json();
    assert_eq!(undone, Value::Null);
    // An open row has no version to send.
    let again = post(&server, &at(5, "approve"), &json!({ "version": 0 }));
    assert_eq!(again.json()["version"], 5, "{}", again.text());

    // The same request twice, because its answer was lost.
    let once = post_once(
        &server,
        &at(6, "approve"),
        &json!({ "version": 0 }),
        "key-1",
    );
    let twice = post_once(
        &server,
        &at(6, "approve"),
        &json!({ "version": 0 }),
        "key-1",
    );
    assert_eq!((once.status, twice.status), (200, 200), "{}", twice.text());
    assert_eq!(once.json(), twice.json());

    for (path, body, status) in [
        (
            at(7, "override"),
            json!({ "value": "weather", "version": 0 }),
            400,
        ),
        (at(7, "override"), json!({ "version": 0 }), 400),
        (
            at(7, "override"),
            json!({ "value": "praise", "column": "message" }),
            400,
        ),
        (at(7, "undo"), json!({ "version": 0 }), 409),
        (at(99, "approve"), json!({ "version": 0 }), 404),
        (
            format!("{base}/rows/x/approve"),
            json!({ "version": 0 }),
            404,
        ),
        (
            "/runs/20261121-job-0123456789ab/rows/5/approve".to_owned(),
            json!({}),
            404,
        ),
        (format!("{base}/reviews"), json!({ "verdicts": [] }), 400),
        (
            format!("{base}/reviews/filter"),
            json!({ "verdict": "override" }),
            400,
        ),
        (
            format!("{base}/reviews/filter"),
            json!({ "verdict": "undo" }),
            400,
        ),
    ] {
        let answer = post(&server, &path, &body);
        assert_eq!(answer.status, status, "{path} {body} {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }

    // A batch: each verdict has its own result, and its repetition changes nothing.
    let batch = json!({ "verdicts": [
        { "row": 8, "verdict": "approve", "version": 0 },
        { "row": 8, "verdict": "override", "value": "billing", "version": 1 },
        { "row": 5, "verdict": "approve", "version": 0 },
        { "row": 9, "verdict": "override", "value": "weather", "version": 0 },
    ]});
    let first = post_once(&server, &format!("{base}/reviews"), &batch, "key-2").json();
    let results = &first["results"];
    assert_eq!(results[1]["review"]["final"], "billing", "{first}");
    assert_eq!(results[2]["problem"]["status"], 409);
    assert_eq!(
        results[2]["review"]["version"], 5,
        "the verdict that was first"
    );
    assert_eq!(results[3]["problem"]["status"], 400);
    let second = post_once(&server, &format!("{base}/reviews"), &batch, "key-2").json();
    assert_eq!(second["results"][1]["review"], results[1]["review"]);

    // Filters and counts.
    let page = server.get(&format!("{base}/rows?verdict=open&facets=true"));
    assert_eq!(page["total"], 17, "{page}");
    assert_eq!(
        page["facets"]["verdict"],
        json!({ "approved": 2, "open": 17, "overridden": 1 })
    );
    let labels = page["facets"]["label"].as_object().unwrap();
    assert_eq!(
        labels.values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
        17
    );
    let word = message.split(' ').max_by_key(|word| word.len()).unwrap();
    let word = word.trim_end_matches(['.', ',', '!', '?']).to_uppercase();
    let found = server.get(&format!("{base}/rows?text={word}&facets=true"));
    let rows = found["rows"].as_array().unwrap();
    assert!(
        rows.iter().any(|row| row["values"]["message"] == message),
        "{found}"
    );
    assert_eq!(found["total"], rows.len());

    // One verdict on a filter, and one undo. Verdicts on single rows that came later stay.
    let filter = format!("{base}/reviews/filter");
    let open = json!({ "filter": { "verdict": "open" }, "verdict": "approve" });
    let answer = post_once(&server, &filter, &open, "key-3");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["count"], 17);
    let repeated = post_once(&server, &filter, &open, "key-3");
    assert_eq!(repeated.json(), answer.json(), "the same request again");
    assert_eq!(server.get(&base)["reviews"]["open"], 0);
    let late = post(
        &server,
        &at(10, "override"),
        &json!({ "value": "praise", "version": 0 }),
    );
    assert_eq!(late.status, 409, "the filter was first");
    let late = post(
        &server,
        &at(10, "override"),
        &json!({ "value": "praise", "version": 1 }),
    );
    assert_eq!(late.status, 200);
    let id = answer.json()["filter_verdict"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let undone = server.call("DELETE", &format!("{filter}/{id}"), &Value::Null);
        assert_eq!(undone.status, 204);
    }
    let reviews = server.get(&base)["reviews"].clone();
    assert_eq!(
        reviews,
        json!({ "total": 20, "approved": 2, "overridden": 2, "open": 16 })
    );
    let none = server.call("DELETE", &format!("{filter}/no-such"), &Value::Null);
    assert_eq!(none.status, 404);

    // Everything is there after a restart, and in the exports.
    let (job, out) = (_job.folder().to_owned(), _job.out());
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&job, &out);
    assert_eq!(server.get(&base)["reviews"], reviews);
    let export = server.call("GET", &format!("{base}/export.jsonl"), &Value::Null);
    let lines: Vec<Value> = export
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verdicts: Vec<_> = lines
        .iter()
        .map(|l| (l["row"].as_u64().unwrap(), l["verdict"].as_str().unwrap()))
        .collect();
    let expected = [
        (5, "approved"),
        (6, "approved"),
        (8, "overridden"),
        (10, "overridden"),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(lines[2]["final"], "billing");
    let everything = server.call("GET", &format!("{base}/export.csv?rows=all"), &Value::Null);
    assert_eq!(everything.text().lines().count(), 21);
    let header = everything.text().lines().next().unwrap().to_owned();
    assert_eq!(
        header,
        "input row,message,label,probability,status,error,prediction,final,verdict,reviewer,reviewed"
    );
}

fn by_row_value(server: &Server, base: &str, row: u32) -> Value {
    let page = server.get(&format!("{base}/rows?sort=row&limit=100"));
    let rows = page["rows"].as_array().unwrap().clone();
    rows.into_iter().find(|r| r["row"] == row).unwrap()
}

#[test]
fn unfinished_rows_and_runs_without_review_refuse_verdicts() {
    let rows = ["I love it", "I hate it"].map(|text| vec![Cell::from(text)]);
    let pipeline = r#"
[[step]]
kind = "sentiment"
column = "text"
[[check]]
rule = "sa_score > 0.0"
"#;
    let reviewed = format!("{pipeline}[[review]]\ncolumn = \"sa_class\"\n");
    let job = Job::new(&Book::new(&["text"], rows), &reviewed);
    std::fs::write(job.folder().join("plain.toml"), pipeline).unwrap();
    let server = Server::start(job.folder(), &job.out());
    let run = server.run(&server.upload(&job.workbook, "job"), "job");
    let ended = server.ended(&run);
    assert_eq!(
        ended["review"]["labels"],
        json!(["negative", "neutral", "positive"])
    );
    let path = |run: &str, row: u32| format!("/runs/{run}/rows/{row}/approve");
    assert_eq!(post(&server, &path(&run, 2), &json!({})).status, 200);
    let failed = post(&server, &path(&run, 3), &json!({}));
    assert_eq!(failed.status, 409, "{}", failed.text());

    let run = server.run(&server.upload(&job.workbook, "plain"), "plain");
    let running = server.call("GET", &format!("/runs/{run}/rows"), &Value::Null);
    assert!([200, 409].contains(&running.status));
    assert_eq!(server.ended(&run)["review"], Value::Null);
    let page = server.get(&format!("/runs/{run}/rows"));
    assert_eq!(page["rows"][0]["row"], 2);
    assert_eq!(page["rows"][1]["status"], "failed");
    let refused = post(&server, &path(&run, 2), &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());

    // A column that nothing adds, and a second section.
    for (more, why) in [
        ("[[review]]\ncolumn = \"text\"\n", "adds `text`"),
        (
            "[[review]]\ncolumn = \"sa_class\"\n[[review]]\ncolumn = \"sa_score\"\n",
            "second `[[review]]`",
        ),
    ] {
        let file = job.folder().join("wrong.toml");
        std::fs::write(&file, format!("{pipeline}{more}")).unwrap();
        let output = Command::new(binary())
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(why), "{error}");
    }
}

/// Macro F1 of a model on texts.
fn macro_f1(model: &Path, texts: &[(String, String)]) -> f64 {
    let mut command = Command::new(binary());
    command.arg("predict").arg(model).args(["--words", "0"]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = texts.iter().map(|(text, _)| format!("{text}\n")).collect();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let predicted: Vec<&str> = output
        .lines()
        .map(|l| l.split('\t').next().unwrap())
        .collect();
    assert_eq!(predicted.len(), texts.len());
    let labels = ["billing", "delivery", "praise", "product"];
    let f1 = labels.map(|label| {
        let pairs = || predicted.iter().zip(texts);
        let both = pairs()
            .filter(|(p, (_, l))| **p == label && l == label)
            .count();
        let either = pairs().filter(|(p, _)| **p == label).count()
            + texts.iter().filter(|(_, l)| l == label).count();
        2.0 * both as f64 / either.max(1) as f64
    });
    f1.iter().sum::<f64>() / labels.len() as f64
}

#[test]
fn corrected_predictions_make_a_better_model() {
    let all = complaints();
    let (known, rest) = all.split_at(60);
    let (corrected, held_back) = rest.split_at(100);
    assert_eq!(held_back.len(), 48);
    let (job, server, run) = finished(known, corrected);
    let model = job.folder().join("topics.model");
    let before = macro_f1(&model, held_back);

    let page = server.get(&format!("/runs/{run}/rows?sort=row&limit=100"));
    let rows = page["rows"].as_array().unwrap();
    let verdicts: Vec<Value> = rows
        .iter()
        .zip(corrected)
        .map(|(row, (_, label))| match row["prediction"] == **label {
            true => json!({ "row": row["row"], "verdict": "approve", "version": 0 }),
            false => {
                json!({ "row": row["row"], "verdict": "override", "value": label, "version": 0 })
            }
        })
        .collect();
    let path = format!("/runs/{run}/reviews");
    let results = post(&server, &path, &json!({ "verdicts": verdicts })).json();
    for result in results["results"].as_array().unwrap() {
        assert_eq!(result["problem"], Value::Null);
    }
    let shown = server.get(&format!("/runs/{run}"));
    let right: u64 = shown["accuracy"]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["right"].as_u64().unwrap())
        .sum();
    assert_eq!(shown["reviews"]["approved"], right);

    // The export is data for `rowmill train` as it is; with the first texts it is all there is.
    let export = server.call("GET", &format!("/runs/{run}/export.csv"), &Value::Null);
    let csv = job.folder().join("reviewed.csv");
    std::fs::write(&csv, &export.body).unwrap();
    train_on(&csv, "final", &job.folder().join("corrected.model"));
    let lines: Vec<Value> = server
        .call("GET", &format!("/runs/{run}/export.jsonl"), &Value::Null)
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut texts = known.to_vec();
    texts.extend(lines.iter().map(|line| {
        let text = line["values"]["message"].as_str().unwrap();
        (text.to_owned(), line["final"].as_str().unwrap().to_owned())
    }));
    assert_eq!(texts, all[..160], "what was labeled, through the API");
    train(&texts, &model);
    let after = macro_f1(&model, held_back);
    println!("macro F1 on 48 held-back texts: {before:.3} before, {after:.3} after");
    assert!(after >= before + 0.05, "{before} {after}");

    // A text by itself.
    let asked = json!({ "pipeline": "job", "text": "The courier never came" });
    let predicted = post(&server, "/predict", &asked).json();
    assert_eq!(predicted["label"], "delivery", "{predicted}");
    let sum: f64 = predicted["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6, "{predicted}");
    assert!(!predicted["words"].as_array().unwrap().is_empty());
}

#[test]
fn feedback_on_single_texts_is_exported_with_the_reviews() {
    let all = complaints();
    let (job, server, run) = finished(&all[..60], &all[60..70]);
    let say = |text: &str, prediction: &Value, verdict: &str, value: Value| {
        let said = json!({
            "pipeline": "job",
            "text": text,
            "prediction": prediction,
            "verdict": verdict,
            "value": value,
        });
        post(&server, "/feedback", &said)
    };
    let predict = |text: &str| {
        let asked = json!({ "pipeline": "job", "text": text });
        post(&server, "/predict", &asked).json()["label"].clone()
    };
    let texts = ["The courier never came", "=1+1, \"paid\" twice"];
    let [first, second] = texts.map(predict);
    assert_eq!(say(texts[0], &first, "approve", Value::Null).status, 201);
    assert_eq!(
        say(texts[1], &second, "override", json!("praise")).status,
        201
    );
    // Said again, it replaces what was said before.
    for _ in 0..2 {
        let again = say(texts[1], &second, "override", json!("product"));
        assert_eq!(again.json()["verdict"], "overridden", "{}", again.text());
    }
    for (text, prediction, verdict, value, status) in [
        (texts[0], &first, "override", json!("weather"), 400),
        (texts[0], &first, "override", Value::Null, 400),
        (texts[0], &first, "approve", json!("praise"), 400),
        (texts[0], &first, "undo", Value::Null, 400),
        (texts[0], &json!("weather"), "approve", Value::Null, 409),
    ] {
        let refused = say(text, prediction, verdict, value);
        assert_eq!(refused.status, status, "{}", refused.text());
    }
    let listed = server.get("/feedback?pipeline=job");
    let mut finals: Vec<&str> = (listed["feedback"].as_array().unwrap().iter())
        .map(|said| said["final"].as_str().unwrap())
        .collect();
    finals.sort_unstable();
    let mut expected = [first.as_str().unwrap(), "product"];
    expected.sort_unstable();
    assert_eq!(finals, expected);

    let base = format!("/runs/{run}");
    let approved = post(&server, &format!("{base}/rows/5/approve"), &json!({}));
    assert_eq!(approved.status, 200);
    let export = |what: &str| server.call("GET", &format!("{base}/export.{what}"), &Value::Null);
    assert_eq!(export("jsonl").text().lines().count(), 1);
    let lines: Vec<Value> = (export("jsonl?feedback=true").text().lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0]["row"], 5);
    let said = |text: &str| {
        let mut lines = lines.iter();
        lines
            .find(|line| line["values"]["message"] == text)
            .unwrap()
    };
    assert_eq!(said(texts[1])["row"], Value::Null);
    assert_eq!(said(texts[1])["final"], "product");
    assert_eq!(said(texts[1])["prediction"], second);
    assert_eq!(said(texts[0])["verdict"], "approved");
    assert_eq!(export("csv?feedback=true").text().lines().count(), 4);

    // The same as a workbook.
    let answer = export("xlsx?rows=all&feedback=true");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let name = answer.header("content-disposition");
    assert!(name.contains("filename=\"input-reviewed.xlsx\""), "{name}");
    let copy = job.folder().join("reviewed.xlsx");
    std::fs::write(&copy, &answer.body).unwrap();
    let read = Read(workbook::read(&copy, false));
    assert_eq!(
        read.header(),
        [
            "message",
            "label",
            "probability",
            "prediction",
            "final",
            "verdict",
            "reviewer",
            "reviewed",
            "status",
            "error",
            "attempts",
            "input row"
        ]
    );
    let finals = read.texts("final");
    assert_eq!(
        finals.iter().filter(|value| !value.is_empty()).count(),
        3,
        "{finals:?}"
    );
    assert_eq!(read.texts("message").len(), 12);
    assert!(read.texts("message").contains(&texts[1].to_owned()));
    // And it is data for `rowmill train` as it is.
    let csv = job.folder().join("reviewed.csv");
    std::fs::write(&csv, export("csv?feedback=true&rows=verified").body).unwrap();
    let lines = std::fs::read_to_string(csv).unwrap();
    assert!(lines.contains("\"=1+1, \"\"paid\"\" twice\""), "{lines}");
}
