//! AWS Batch as programs reach it: its REST-JSON calls on a port of 127.0.0.1, over the local
//! Batch, which keeps AWS's limits, runs each child as a process with Batch's environment
//! variables, and fails what depends on a failed job.
//!
//! | call | path |
//! |---|---|
//! | RegisterJobDefinition, DescribeJobDefinitions, DeregisterJobDefinition | `definitions` |
//! | SubmitJob, DescribeJobs, ListJobs, TerminateJob, CancelJob | `jobs` |
//!
//! What it takes and does not look at: tags, the image (every job runs the program given to
//! [`BatchEndpoint::start`]), roles, log configuration. Signatures are not checked.

mod definitions;
mod error;
mod events;
mod jobs;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use rowmill_local::Cloud;
use rowmill_local::batch::{BatchConfig, LocalBatch};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use definitions::Registry;

pub use crate::emulators::REGION;
/// The account in ARNs; ministack's.
pub const ACCOUNT: &str = "000000000000";

/// The queue's ARN.
pub fn queue_arn(queue: &str) -> String {
    arn(&format!("job-queue/{queue}"))
}

fn arn(resource: &str) -> String {
    format!("arn:aws:batch:{REGION}:{ACCOUNT}:{resource}")
}

/// How the endpoint is set up.
#[derive(Debug)]
pub struct Setup {
    /// Where it is reached; bound by whoever has to know the address before the endpoint starts.
    pub listener: std::net::TcpListener,
    /// The one queue's name.
    pub queue: String,
    /// Attempts under way at once.
    pub slots: usize,
    /// What every container runs; the job definition's command follows.
    pub program: Vec<String>,
    /// Environment of every container, below that of definition and job: where the emulators are.
    pub environment: BTreeMap<String, String>,
    /// How many real seconds AWS's second lasts.
    pub clock_scale: f64,
}

impl Setup {
    /// A queue whose jobs run `program`, two at once, in AWS's own seconds.
    pub fn new(queue: &str, program: &Path) -> Setup {
        Setup {
            listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            queue: queue.to_owned(),
            slots: 2,
            program: vec![program.display().to_string()],
            environment: BTreeMap::new(),
            clock_scale: 1.0,
        }
    }
}

/// The endpoint, at work until it is dropped; jobs under way are killed then.
pub struct BatchEndpoint {
    address: SocketAddr,
    batch: LocalBatch,
    state: PathBuf,
    service: Arc<Service>,
    /// Batch ends when this goes.
    _stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What the routes work on.
struct Service {
    batch: LocalBatch,
    queue: String,
    registry: Mutex<Registry>,
    /// SubmitJob's body of every job, by id.
    submitted: Mutex<HashMap<String, Value>>,
    /// How many more SubmitJob calls are answered; the others wait.
    submits: Semaphore,
}

impl BatchEndpoint {
    /// Starts it on a free port, with its state and the jobs' output under `state`. Every change
    /// of a job's state is sent through the channel as EventBridge would send it: children's too,
    /// in their order, once.
    pub async fn start(
        state: &Path,
        setup: Setup,
    ) -> (BatchEndpoint, mpsc::UnboundedReceiver<Value>) {
        let config = BatchConfig {
            queue: setup.queue.clone(),
            slots: setup.slots,
            program: setup.program,
            environment: setup.environment,
            logs: state.join("logs"),
            chaos: None,
            clock_scale: setup.clock_scale,
        };
        let batch = LocalBatch::open(Cloud::open(state).unwrap(), config).unwrap();
        let service = Arc::new(Service {
            batch: batch.clone(),
            queue: setup.queue,
            registry: Mutex::default(),
            submitted: Mutex::default(),
            submits: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let router = Router::new()
            .route("/v1/registerjobdefinition", post(definitions::register))
            .route("/v1/describejobdefinitions", post(definitions::describe))
            .route("/v1/deregisterjobdefinition", post(definitions::deregister))
            .route("/v1/submitjob", post(jobs::submit))
            .route("/v1/describejobs", post(jobs::describe))
            .route("/v1/listjobs", post(jobs::list))
            .route("/v1/terminatejob", post(jobs::terminate))
            .route("/v1/canceljob", post(jobs::cancel))
            .fallback(error::unknown)
            .with_state(service.clone());
        setup.listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(setup.listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (sender, receiver) = mpsc::unbounded_channel();
        let worker = batch.clone();
        let told = batch.clone();
        let tasks = vec![
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
            tokio::spawn(async move { worker.run(stopped).await.unwrap() }),
            tokio::spawn(async move { events::tell(&told, &sender).await }),
        ];
        let endpoint = BatchEndpoint {
            address,
            batch,
            state: state.to_owned(),
            service,
            _stop: stop,
            tasks,
        };
        (endpoint, receiver)
    }

    /// `http://127.0.0.1:<port>`, for `AWS_ENDPOINT_URL_BATCH`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it runs on: to take a host away, to wait for a job's end.
    pub fn batch(&self) -> &LocalBatch {
        &self.batch
    }

    /// ARNs of the active job definitions.
    pub fn active_definitions(&self) -> Vec<String> {
        self.service.registry.lock().unwrap().active()
    }

    /// The bodies of all SubmitJob calls that were taken, by job id.
    pub fn submitted(&self) -> HashMap<String, Value> {
        self.service.submitted.lock().unwrap().clone()
    }

    /// The bodies of all RegisterJobDefinition calls that were taken, in their order.
    pub fn registered(&self) -> Vec<Value> {
        self.service.registry.lock().unwrap().bodies()
    }

    /// Answers this many SubmitJob calls from now on, and lets all others wait.
    pub fn answer_submits(&self, most: usize) {
        let submits = &self.service.submits;
        submits.forget_permits(Semaphore::MAX_PERMITS);
        submits.add_permits(most);
    }

    /// Answers all calls again, also those that wait.
    pub fn answer_all_submits(&self) {
        self.answer_submits(Semaphore::MAX_PERMITS);
    }

    /// Everything that jobs wrote to their output, for a failed test's message.
    pub fn output(&self) -> String {
        let logs = self.state.join("logs");
        let mut all = String::new();
        for file in rowmill_tests_local::program::files(&logs) {
            let text = std::fs::read_to_string(logs.join(&file)).unwrap_or_default();
            all.push_str(&format!("-- job {file}\n{text}\n"));
        }
        all
    }
}

impl Drop for BatchEndpoint {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
