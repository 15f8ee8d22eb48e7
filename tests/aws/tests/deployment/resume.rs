//! Functions of a deployment are killed while they work. Their own retry resumes immediately, another
//! event only after the lease has ended. The test delivers all events.

use std::time::Duration;

use chrono::Utc;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunState};
use rowmill_events::{reported_event, sns_messages_event};
use rowmill_ports::Runs;
use rowmill_tests_aws::deployment::{Deliver, Deployment};
use rowmill_tests_aws::runtime::Function;
use rowmill_tests_local::workbook::Book;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Two phases, so two jobs.
const PIPELINE: &str = r#"
[input]
types = { ID = "text" }
[[step]]
kind = "command"
program = ["sh", "-c", '''while read -r line; do
row=${line#*:}; row=${row%%,*}
echo "{\"row\":$row,\"outputs\":{\"first\":\"yes\"}}"
done''']
outputs = ["first"]
[[step]]
kind = "command"
image = "000000000000.dkr.ecr.eu-central-1.amazonaws.com/other:1"
program = ["sh", "-c", '''while read -r line; do
row=${line#*:}; row=${row%%,*}
echo "{\"row\":$row,\"outputs\":{\"second\":\"yes\"}}"
done''']
outputs = ["second"]
"#;

/// A service that accepts a call and never answers.
struct Silent(TcpListener);

impl Silent {
    async fn start() -> Silent {
        Silent(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn variable(&self, service: &str) -> (String, String) {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        (format!("AWS_ENDPOINT_URL_{service}"), url)
    }

    /// Waits for the first call. The call ends when the returned stream is dropped.
    async fn called(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }

    /// Answers the first call: what it asks for does not exist.
    async fn answer_not_found(&self) {
        let (mut call, mut request) = (self.called().await, Vec::new());
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(call.read_buf(&mut request).await.unwrap(), 0);
        }
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        call.write_all(answer).await.unwrap();
    }
}

/// A function of the deployment, as a child process of the test.
async fn function(
    deployment: &Deployment,
    stage: &str,
    further: Option<(String, String)>,
) -> Function {
    let mut environment = deployment.environment(stage).await;
    environment.extend(further);
    Function::start(&deployment.program(stage), &environment).await
}

async fn state(deployment: &Deployment, run: &RunId) -> RunState {
    deployment
        .ledger
        .find_run(run)
        .await
        .unwrap()
        .unwrap()
        .state
}

/// The next event of Batch for the end of a job.
async fn job_ended(deployment: &Deployment) -> Value {
    let mut events = deployment.events.as_ref().unwrap().lock().await;
    loop {
        let event = events.recv().await.unwrap();
        let status = event["detail"]["status"].as_str().unwrap();
        if ["SUCCEEDED", "FAILED"].contains(&status) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "builds the functions and deploys: takes a minute"]
async fn a_killed_function_is_resumed_by_its_retry_or_after_its_lease() {
    let deployment = Deployment::start(Deliver::ByHand, &[], &[]).await;
    let d = &deployment;
    d.put_pipeline("steps", PIPELINE).await;
    let folder = TempDir::new().unwrap();
    let book = folder.path().join("book.xlsx");
    Book::numbered(2).save(&book);
    let upload = d.upload("steps/book.xlsx", &book).await;
    let run = &upload.run;

    split(d, run, &upload.event).await;
    let first_ended = submit(d, run).await;
    report(d, run, &first_ended).await;

    let event = reported_event(&json!({}), &json!({ "run": run }), "by-hand", Utc::now());
    let cleanup = function(d, "cleanup", None).await;
    cleanup.invoke("cleanup", &event).await.unwrap();
    let remains = d.remains(run).await;
    assert!(remains.is_empty(), "{remains:?}");
    assert_eq!(d.batch.active_definitions(), Vec::<String>::new());
}

/// Split is killed while it reads the workbook.
async fn split(d: &Deployment, run: &RunId, event: &Value) {
    let silent = Silent::start().await;
    let dying = function(d, "split", Some(silent.variable("S3"))).await;
    let _answer = dying.send("split", event);
    // The first call is for the submitter, who is in the metadata of the upload.
    silent.answer_not_found().await;
    let _call = silent.called().await;
    d.until(run, |item| item.state == RunState::Splitting).await;
    dying.kill().await;

    let split = function(d, "split", None).await;
    split.invoke("another", event).await.unwrap();
    assert_eq!(
        state(d, run).await,
        RunState::Splitting,
        "the claim is held"
    );
    split.invoke("split", event).await.unwrap();
    assert_eq!(state(d, run).await, RunState::Running);
    // A running run has this data, so its absence after the run is meaningful.
    let has = d.remains(run).await.join("\n");
    for what in [
        "manifest.json",
        "chunks/00000.json",
        "rowmill-run-",
        "schedule ",
    ] {
        assert!(has.contains(what), "{what} is not in {has}");
    }
}

/// Submit is killed between its two jobs. Report receives the end of the first job in the meantime and
/// waits. Returns that event.
async fn submit(d: &Deployment, run: &RunId) -> Value {
    let event = sns_messages_event(&RunMessage::Split { run: run.clone() }, "m", Utc::now());
    d.batch.answer_submits(1);
    let dying = function(d, "submit", None).await;
    let _answer = dying.send("submit", &event);
    let first_ended = job_ended(d).await;
    assert_eq!(first_ended["detail"]["status"], "SUCCEEDED", "{}", d.logs());

    let report = function(d, "report", None).await;
    let said = report.invoke("early", &first_ended).await.unwrap();
    assert_eq!(
        said,
        Value::Null,
        "the run's second job is not even submitted"
    );
    assert_eq!(state(d, run).await, RunState::Running);
    assert!(d.mails().is_empty());

    dying.kill().await;
    // Until the endpoint notices that the caller disconnected.
    tokio::time::sleep(Duration::from_millis(500)).await;
    d.batch.answer_all_submits();
    let submit = function(d, "submit", None).await;
    submit.invoke("another", &event).await.unwrap();
    assert_eq!(d.batch.submitted().len(), 1, "the claim is held");
    submit.invoke("submit", &event).await.unwrap();
    let jobs = d.batch.submitted();
    assert_eq!(
        jobs.len(),
        2,
        "the first job was found and not submitted again: {jobs:?}"
    );
    submit.invoke("submit", &event).await.unwrap();
    assert_eq!(d.batch.submitted().len(), 2, "nothing is submitted again");
    first_ended
}

/// Report is killed while it sends the email. After its lease has ended, the next event resumes.
async fn report(d: &Deployment, run: &RunId, first_ended: &Value) {
    let last_ended = job_ended(d).await;
    assert_eq!(last_ended["detail"]["status"], "SUCCEEDED", "{}", d.logs());
    let silent = Silent::start().await;
    let dying = function(d, "report", Some(silent.variable("SESV2"))).await;
    let _answer = dying.send("report", &last_ended);
    let _call = silent.called().await;
    dying.kill().await;
    assert_eq!(state(d, run).await, RunState::Reporting);

    let report = function(d, "report", None).await;
    let said = report.invoke("another", first_ended).await.unwrap();
    assert_eq!(said, Value::Null, "the claim is held");
    assert!(d.mails().is_empty());
    d.end_lease(run, Work::Report).await;
    let said = report.invoke("another", first_ended).await.unwrap();
    assert_eq!(said, json!({ "run": run }));
    assert_eq!(state(d, run).await, RunState::Delivered);
    assert_eq!(d.mails_of(run).len(), 1);
}
