//! The OpenAPI document against a running server.

use std::process::Command;

use rowmill_tests_local::program::{Job, binary, root};
use rowmill_tests_local::python::venv;
use rowmill_tests_local::server::Server;
use rowmill_tests_local::workbook::{Book, Cell};
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

/// Random requests, valid and invalid: no error of the server, and no answer that the document does not
/// describe.
#[test]
#[ignore = "installs schemathesis and takes a minute"]
fn every_answer_is_as_the_document_says() {
    let texts = ["Paid twice", "It is late", "Thank you", "=1+1"];
    let rows = texts.map(|text| vec![Cell::from(text)]);
    let job = Job::new(&Book::new(&["message"], rows), PIPELINE);
    let trained = Command::new(binary())
        .arg("train")
        .arg(root().join("examples/complaints/labelled.csv"))
        .args(["--text", "message", "--label", "topic", "--out"])
        .arg(job.folder().join("topics.model"))
        .status();
    assert!(trained.unwrap().success());
    let server = Server::start(job.folder(), &job.out());
    let upload = server.upload(&job.workbook, "job");
    let run = server.run(&upload, "job");
    server.ended(&run);

    let python = venv("test-schemathesis", "schemathesis.txt");
    let program = python.with_file_name("schemathesis");
    // Half of the requests are about things that exist.
    let config = job.folder().join("schemathesis.toml");
    let pipeline = "pipeline = \"job\"";
    std::fs::write(
        &config,
        format!(
            "[parameters]\n\"path.run\" = \"{run}\"\n\"query.{}\n",
            &pipeline.replacen("pipeline", "pipeline\"", 1)
        ),
    )
    .unwrap();
    let check = |more: &[&str]| {
        let output = Command::new(&program)
            .arg("--config-file")
            .arg(&config)
            .arg("run")
            .arg(root().join("docs/openapi.json"))
            .arg("--url")
            .arg(format!("http://{}", server.host()))
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", server.token))
            .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"])
            .args(["--phases", "examples,coverage,fuzzing", "--workers", "2", "--no-color"])
            .args(["--generation-deterministic", "--max-time", "30"])
            .args(more)
            .current_dir(job.folder())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    // The run stays until the end.
    let said = check(&["--max-examples", "20", "--exclude-operation-id", "remove"]);
    println!(
        "{}",
        said.lines().rev().take(12).collect::<Vec<_>>().join("\n")
    );
    // It is still there, and its server answers.
    assert_eq!(server.get(&format!("/runs/{run}"))["run"], json!(run));
    check(&["--max-examples", "5", "--include-operation-id", "remove"]);
    let gone = server.call("GET", &format!("/runs/{run}"), &Value::Null);
    assert_eq!(gone.status, 404);
}
