//! Runs a function as a process with a Lambda Runtime API inside the test. The test chooses events and
//! request ids, and can kill the process at any time.
//!
//! Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use chrono::Utc;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cgroup::Cgroup;

/// The maximum duration of an invocation, unless a test sets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running function. Dropping it kills the process.
pub struct Function {
    process: Child,
    api: Arc<Api>,
    events: mpsc::UnboundedSender<Event>,
    server: JoinHandle<()>,
}

struct Event {
    request_id: String,
    payload: Value,
}

/// The answer of a function: a value or an error.
pub type Answer = Result<Value, Value>;

struct Api {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    deadline: Duration,
}

impl Function {
    /// Starts the program with this environment, `PATH` and the variables that Lambda sets.
    pub async fn start(program: &Path, environment: &[(String, String)]) -> Function {
        Function::launch(Command::new(program), environment, PATIENCE).await
    }

    /// The same within a control group, and with the maximum duration of an invocation.
    pub async fn start_within(
        group: &Cgroup,
        deadline: Duration,
        program: &Path,
        environment: &[(String, String)],
    ) -> Function {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(group.entering()).arg(program);
        Function::launch(command, environment, deadline).await
    }

    async fn launch(
        mut command: Command,
        environment: &[(String, String)],
        deadline: Duration,
    ) -> Function {
        let (events, waiting) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            waiting: tokio::sync::Mutex::new(waiting),
            answers: Mutex::default(),
            deadline,
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(api.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let process = command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(environment.iter().cloned())
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_NAME", "by-hand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "by-hand")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "by-hand")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Function {
            process,
            api,
            events,
            server,
        }
    }

    /// Sends an event without waiting for the answer.
    pub fn send(&self, request_id: &str, payload: &Value) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let answers = &self.api.answers;
        answers
            .lock()
            .unwrap()
            .insert(request_id.to_owned(), sender);
        let event = Event {
            request_id: request_id.to_owned(),
            payload: payload.clone(),
        };
        // The receiver lives in `api`.
        let _ = self.events.send(event);
        receiver
    }

    /// Sends an event and waits for the answer.
    pub async fn invoke(&self, request_id: &str, payload: &Value) -> Answer {
        let answer = self.send(request_id, payload);
        tokio::time::timeout(self.api.deadline, answer)
            .await
            .expect("the function answers in time")
            .unwrap()
    }

    /// The largest resident memory of the process so far, in MiB.
    pub fn peak(&self) -> u64 {
        let id = self.process.id().expect("the process runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("Linux says it") / 1024
    }

    /// Kills the process with SIGKILL, as if its machine were lost.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let Some(event) = api.waiting.lock().await.recv().await else {
        return (StatusCode::GONE, HeaderMap::new(), String::new());
    };
    let deadline = Utc::now() + api.deadline;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("lambda-runtime-aws-request-id", event.request_id),
        (
            "lambda-runtime-deadline-ms",
            deadline.timestamp_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:000000000000:function:by-hand".to_owned(),
        ),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    (StatusCode::OK, headers, event.payload.to_string())
}

async fn response(
    State(api): State<Arc<Api>>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    api.answer(&id, Ok(serde_json::from_str(&body).unwrap()))
}

async fn error(
    State(api): State<Arc<Api>>,
    UrlPath(id): UrlPath<String>,
    body: String,
) -> StatusCode {
    api.answer(&id, Err(serde_json::from_str(&body).unwrap()))
}

impl Api {
    fn answer(&self, id: &str, answer: Answer) -> StatusCode {
        if let Some(sender) = self.answers.lock().unwrap().remove(id) {
            // The receiver can be gone.
            let _ = sender.send(answer);
        }
        StatusCode::ACCEPTED
    }
}
