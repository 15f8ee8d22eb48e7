//! `rowmill --stack` on the resources of a stack. Its functions are only configured here, and the tests do
//! their work; in `tests/aws/tests/deployment` they run.

use std::process::{Output, Stdio};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime};
use chrono::Utc;
use rowmill_aws::DynamoLedger;
use rowmill_domain::message::{RetryRows, RunMessage};
use rowmill_domain::run::Counts;
use rowmill_domain::{RunId, RunState, keys};
use rowmill_ports::{RunPatch, Runs};
use rowmill_runs::Transition;
use rowmill_tests_aws::emulators::{Emulator, environment};
use rowmill_tests_aws::stack::{bucket, runs_table};
use rowmill_tests_local::program::built;
use rowmill_tests_local::workbook::Book;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::work::receiver::{self, Received};

/// Much longer than a command or a message takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PIPELINE: &str = "[[column]]\nname = \"one\"\nvalue = \"1\"\n";

/// The resources of a stack, and a directory in which commands run.
struct Stack {
    aws: Emulator,
    s3: aws_sdk_s3::Client,
    ledger: DynamoLedger,
    received: Received,
    folder: TempDir,
}

impl Stack {
    /// A stack named `rowmill` with the pipeline `small`, and a workbook.
    async fn start() -> Stack {
        let aws = Emulator::ministack();
        let config = aws.sdk_config();
        let s3 = bucket(&config, "inbox", true).await;
        bucket(&config, "work", false).await;
        runs_table(&config, "rowmill").await;
        let (topic, received) = receiver::topic(&config, &RunMessage::KINDS).await;
        functions(&config, &topic).await;
        let stack = Stack {
            ledger: DynamoLedger::new(&config, "rowmill"),
            folder: TempDir::new().unwrap(),
            aws,
            s3,
            received,
        };
        stack.put("pipelines/small.toml", PIPELINE).await;
        Book::numbered(3).save(&stack.folder.path().join("book.xlsx"));
        stack
    }

    /// Puts an object into the work bucket.
    async fn put(&self, key: &str, body: &str) {
        let put = self.s3.put_object().bucket("work").key(key);
        let body = body.as_bytes().to_vec().into();
        put.body(body).send().await.unwrap();
    }

    fn command(&self, stack: &str, args: &[&str]) -> Command {
        let mut command = Command::new(built("rowmill-aws-under-test"));
        command
            .args(args)
            .args(["--stack", stack, "--json"])
            .envs(environment(&[("", &self.aws)]))
            .env("USER", "ana")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command, which must exit with this code. Returns the object that it printed.
    async fn said(&self, args: &[&str], code: i32) -> Value {
        ended(self.command("rowmill", args).output().await.unwrap(), code)
    }

    /// Uploads the workbook without waiting for the run.
    async fn upload(&self) -> RunId {
        let args = ["upload", "book.xlsx", "--pipeline", "small", "--detach"];
        let printed = self.said(&args, 0).await;
        printed["run_id"].as_str().unwrap().parse().unwrap()
    }

    async fn change(&self, run: &RunId, change: Transition, fields: RunPatch) {
        let changed = change.apply(&self.ledger, run, fields, Utc::now()).await;
        assert!(changed.unwrap(), "{change:?}");
    }

    /// Does what the functions do: the run ends with this result.
    async fn deliver(&self, run: &RunId, result: &str) {
        let counts = Counts {
            records: 3,
            ok: 3,
            ..Counts::default()
        };
        let fields = RunPatch {
            counts: Some(counts),
            ..RunPatch::default()
        };
        self.change(run, Transition::FinishSplit, fields).await;
        let none = RunPatch::default;
        self.change(run, Transition::StartReport, none()).await;
        let key = keys::result(run, "small/book.xlsx");
        self.put(&key, result).await;
        let fields = RunPatch {
            result: Some(key),
            counts: Some(counts),
            ..RunPatch::default()
        };
        self.change(run, Transition::RecordResult, fields).await;
        self.change(run, Transition::Deliver, none()).await;
    }

    /// Waits for a message on the topic.
    async fn message(&self, kind: &str) -> RunMessage {
        let arrived = async {
            loop {
                if let Some(message) = self.received.messages(kind).pop() {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived).await.unwrap()
    }
}

/// Functions with the configuration that the template gives them.
async fn functions(config: &SdkConfig, topic: &str) {
    // An archive without files.
    let mut zip = b"PK\x05\x06".to_vec();
    zip.resize(22, 0);
    let client = aws_sdk_lambda::Client::new(config);
    for function in ["split", "submit", "report", "cleanup"] {
        let code = FunctionCode::builder().zip_file(Blob::new(zip.clone()));
        let variables = Environment::builder()
            .variables("ROWMILL_STACK", "rowmill")
            .variables("ROWMILL_WORK_BUCKET", "work");
        // As in the template, report knows neither.
        let variables = match function {
            "cleanup" => variables
                .variables("ROWMILL_INBOX_BUCKET", "inbox")
                .variables("ROWMILL_TOPIC", topic),
            _ => variables,
        };
        client
            .create_function()
            .function_name(format!("rowmill-{function}"))
            .runtime(Runtime::Providedal2023)
            .handler("bootstrap")
            .role("arn:aws:iam::000000000000:role/rowmill")
            .code(code.build())
            .environment(variables.build())
            .send()
            .await
            .unwrap();
    }
}

fn ended(done: Output, code: i32) -> Value {
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert_eq!(done.status.code(), Some(code), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_is_uploaded_and_its_run_followed_to_the_result() {
    let stack = Stack::start().await;
    let run = stack.upload().await;
    let item = stack.ledger.find_run(&run).await.unwrap().unwrap();
    assert_eq!(item.state, RunState::Splitting);
    assert_eq!(item.source.key, "small/book.xlsx");
    let get = stack.s3.get_object().bucket("inbox").key(&item.source.key);
    let object = get.version_id(&item.source.version).send().await.unwrap();
    let body = object.body.collect().await.unwrap().to_vec();
    let workbook = std::fs::read(stack.folder.path().join("book.xlsx")).unwrap();
    assert_eq!(body, workbook);
    let runs = stack.said(&["runs"], 0).await;
    assert_eq!(runs[0]["run_id"], run.as_str());
    let status = stack.said(&["status", run.as_str()], 0).await;
    assert_eq!(
        (&status["state"], &status["active"]),
        (&"splitting".into(), &true.into())
    );
    let early = stack.said(&["download", run.as_str()], 2).await;
    assert_eq!(early["state"], "refused");

    // Ctrl-Z leaves the run, which another command follows to its end.
    let follow = || stack.command("rowmill", &["attach", run.as_str()]);
    let leaving = follow().spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = Pid::from_raw(leaving.id().unwrap() as i32).unwrap();
    kill_process(pid, Signal::TSTP).unwrap();
    let left = tokio::time::timeout(PATIENCE, leaving.wait_with_output());
    let left = ended(left.await.unwrap().unwrap(), 130);
    assert_eq!(left["state"], "splitting");
    let following = follow().spawn().unwrap();
    stack.deliver(&run, "the result").await;
    let followed = tokio::time::timeout(PATIENCE, following.wait_with_output());
    let followed = ended(followed.await.unwrap().unwrap(), 0);
    assert_eq!(followed["ok"], 3);
    let file = stack.folder.path().join("book-result.xlsx");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the result");

    let again = ["download", run.as_str()];
    let refused = stack.said(&again, 2).await;
    let advice = refused["errors"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("--force"), "{advice}");
    stack.said(&["download", run.as_str(), "--force"], 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_stack_is_cancelled_and_retried() {
    let stack = Stack::start().await;
    let (first, second) = (stack.upload().await, stack.upload().await);
    assert_ne!(first, second, "each upload is a run");
    let cancelled = stack.said(&["cancel", first.as_str()], 0).await;
    assert_eq!(cancelled["delivers"], "rowmill");
    let item = stack.ledger.find_run(&first).await.unwrap().unwrap();
    assert!(item.stop.unwrap().to_string().contains("ana"));
    assert!(matches!(stack.message("stop").await, RunMessage::Stop { run, .. } if run == first));

    let retry = ["retry", second.as_str(), "--failed"];
    let early = stack.said(&retry, 2).await;
    let reason = early["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("has not ended"), "{reason}");
    stack.deliver(&second, "").await;
    let late = stack.said(&["cancel", second.as_str()], 2).await;
    let reason = late["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("has ended"), "{reason}");
    let empty = stack.said(&retry, 2).await;
    let reason = empty["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("no archived rows"), "{reason}");
    stack.put(&keys::about(&second), "{}").await;
    let retried = stack.said(&retry, 0).await;
    assert_eq!(retried["run_id"], format!("{second}-r1"));
    let RunMessage::Retry(request) = stack.message("retry").await else {
        panic!("another message");
    };
    assert_eq!(request.run, second);
    assert!(matches!(request.rows, RetryRows::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_are_refused_before_anything_is_uploaded() {
    let stack = Stack::start().await;
    let unknown = ["upload", "book.xlsx", "--pipeline", "large"];
    let refused = stack.said(&unknown, 2).await;
    let advice = refused["errors"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("reviews, small"), "{advice}");
    let parameter = ["upload", "book.xlsx", "--pipeline", "small", "--set", "a=1"];
    stack.said(&parameter, 2).await;
    let file = ["upload", "absent.xlsx", "--pipeline", "small"];
    stack.said(&file, 2).await;
    let listed = stack.s3.list_objects_v2().bucket("inbox").send().await;
    assert_eq!(listed.unwrap().contents().len(), 0);
    assert_eq!(stack.said(&["runs"], 0).await, serde_json::json!([]));

    let other = stack.command("rowmil", &["runs"]).output().await.unwrap();
    let reason = ended(other, 2)["errors"][0]["reason"].to_string();
    assert!(reason.contains("no stack"), "{reason}");
    let info = stack.said(&["info"], 0).await;
    assert_eq!(info["settings"]["ROWMILL_INBOX_BUCKET"], "inbox");
    assert_eq!(info["environment"]["AWS_SECRET_ACCESS_KEY"], "hidden");
}
