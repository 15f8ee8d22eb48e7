//! An endpoint for AWS Batch: its REST-JSON API on a port of 127.0.0.1, on top of the local Batch, which
//! enforces AWS's limits, runs each child as a process with Batch's environment variables, and fails
//! jobs that depend on a failed job.
//!
//! | call | path |
//! |---|---|
//! | RegisterJobDefinition, DescribeJobDefinitions, DeregisterJobDefinition | `definitions` |
//! | SubmitJob, DescribeJobs, ListJobs, TerminateJob, CancelJob | `jobs` |
//!
//! It accepts and ignores tags, the image (every job runs the program given to
//! [`BatchEndpoint::start`]), roles and the log configuration. It does not check signatures.

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
/// The account in ARNs: the one of ministack.
pub const ACCOUNT: &str = "000000000000";

/// The queue's ARN.
pub fn queue_arn(queue: &str) -> String {
    arn(&format!("job-queue/{queue}"))
}

fn arn(resource: &str) -> String {
    format!("arn:aws:batch:{REGION}:{ACCOUNT}:{resource}")
}

/// The configuration of the endpoint.
#[derive(Debug)]
pub struct Setup {
    /// Its socket. The caller binds it, to know the address before the endpoint starts.
    pub listener: std::net::TcpListener,
    /// The name of the queue. The queue for On-Demand has the name that belongs to it.
    pub queue: String,
    /// Maximum number of concurrent attempts.
    pub slots: usize,
    /// The program of every container. The command of the job definition follows as arguments.
    pub program: Vec<String>,
    /// The environment of every container, such as the endpoints of the emulators. Definition and job
    /// override it.
    pub environment: BTreeMap<String, String>,
    /// The real seconds for one second of AWS Batch.
    pub clock_scale: f64,
}

impl Setup {
    /// A queue whose jobs run `program`, two at a time, in real time.
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

/// A running endpoint. Dropping it stops it and kills running jobs.
pub struct BatchEndpoint {
    address: SocketAddr,
    batch: LocalBatch,
    state: PathBuf,
    service: Arc<Service>,
    /// Batch stops when this is dropped.
    _stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The state of the routes.
struct Service {
    batch: LocalBatch,
    queue: String,
    registry: Mutex<Registry>,
    /// The body of SubmitJob for every job, by id.
    submitted: Mutex<HashMap<String, Value>>,
    /// The number of SubmitJob calls that may still be answered; the others wait.
    submits: Semaphore,
}

impl BatchEndpoint {
    /// Starts the endpoint, with its state and the output of jobs under `state`. The channel receives
    /// every state change of jobs and children as an EventBridge event, once and in order.
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
            .layer(axum::middleware::from_fn(crate::record::record))
            .with_state(service.clone());
        setup.listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(setup.listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (sender, receiver) = mpsc::unbounded_channel();
        let worker = batch.clone();
        let watched = batch.clone();
        let tasks = vec![
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
            tokio::spawn(async move { worker.run(stopped).await.unwrap() }),
            tokio::spawn(async move { events::tell(&watched, &sender).await }),
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

    /// The local Batch, to remove a host or to wait for the end of a job.
    pub fn batch(&self) -> &LocalBatch {
        &self.batch
    }

    /// ARNs of the active job definitions.
    pub fn active_definitions(&self) -> Vec<String> {
        self.service.registry.lock().unwrap().active()
    }

    /// The bodies of all accepted SubmitJob calls, by job id.
    pub fn submitted(&self) -> HashMap<String, Value> {
        self.service.submitted.lock().unwrap().clone()
    }

    /// The bodies of all accepted RegisterJobDefinition calls, in order.
    pub fn registered(&self) -> Vec<Value> {
        self.service.registry.lock().unwrap().bodies()
    }

    /// Answers this many further SubmitJob calls and makes all others wait.
    pub fn answer_submits(&self, most: usize) {
        let submits = &self.service.submits;
        submits.forget_permits(Semaphore::MAX_PERMITS);
        submits.add_permits(most);
    }

    /// Answers all calls again, including those that wait.
    pub fn answer_all_submits(&self) {
        self.answer_submits(Semaphore::MAX_PERMITS);
    }

    /// The output of all jobs, for the message of a failed test.
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
