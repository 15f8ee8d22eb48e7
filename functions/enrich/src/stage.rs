//! The work of one child.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rowmill_domain::Manifest;
use rowmill_domain::limits::DRAIN_SECONDS;
use rowmill_pipeline::from_manifest;
use rowmill_ports::{Coordination, Outcomes};
use rowmill_runs::{ManifestLoadError, WorkBucket, load_manifest, retry_transient};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::Instrument as _;

use crate::answers::RunAnswers;
use crate::child::{Child, ChildReport};
use crate::error::EnrichError;
use crate::host::HostResources;
use crate::permits::LedgerPermits;
use crate::record::{Task, Worker};
use crate::steps::phase_steps;
use crate::store::{FLUSH_OUTCOMES, Store};

/// How much of [`DRAIN_SECONDS`] is reserved for storing outcomes.
const STORE_SECONDS: u32 = 5;

/// The stage, with the services it uses.
pub struct Enrich {
    /// The work bucket.
    pub work: WorkBucket,
    /// Stores the outcomes.
    pub outcomes: Arc<dyn Outcomes>,
    /// Request permits and answers that children share.
    pub coordination: Arc<dyn Coordination>,
    /// What this host offers to the steps.
    pub host: HostResources,
}

impl Enrich {
    /// Processes the child's slice until every record has an outcome of its phase.
    ///
    /// Once `stop` is true, no new record starts. Records in flight may finish and are stored,
    /// within
    /// [`DRAIN_SECONDS`].
    ///
    /// # Errors
    /// [`EnrichError::Interrupted`] if records are left to do after `stop`; other errors if the
    /// machine, a service or the job's configuration fails.
    pub async fn run(
        &self,
        child: &Child,
        stop: watch::Receiver<bool>,
    ) -> Result<ChildReport, EnrichError> {
        let Child {
            run,
            chunk,
            phase,
            index,
        } = child;
        let span = tracing::info_span!("enrich", %run, chunk, phase, index);
        let interrupted = drained(stop.clone(), DRAIN_SECONDS);
        async {
            tokio::select! {
                done = self.work(child, stop) => done,
                () = interrupted => Err(EnrichError::Interrupted { left: None }),
            }
        }
        .instrument(span)
        .await
    }

    async fn work(
        &self,
        child: &Child,
        stop: watch::Receiver<bool>,
    ) -> Result<ChildReport, EnrichError> {
        let manifest = self.manifest(child).await?;
        let pipeline = from_manifest(&manifest)
            .map_err(|error| EnrichError::Misconfigured(format!("{child}: {error}")))?;
        let phases = pipeline.phases();
        if phases.len() != usize::from(manifest.phases) {
            return Err(EnrichError::Misconfigured(format!(
                "{child}: the manifest has {} phases, but its pipeline has {}: split and enrich \
                 have different versions",
                manifest.phases,
                phases.len()
            )));
        }
        let steps = phases
            .get(usize::from(child.phase))
            .cloned()
            .ok_or_else(|| {
                EnrichError::Misconfigured(format!(
                    "{child}: phase out of range: the run has {} phases",
                    phases.len()
                ))
            })?;

        let columns = manifest.columns();
        let tasks = self.tasks(child, &manifest, &columns).await?;
        let mut report = ChildReport {
            records: tasks.records,
            resumed: tasks.records - tasks.todo.len() as u64,
            ..ChildReport::default()
        };
        if tasks.todo.is_empty() {
            return Ok(report);
        }

        let misconfigured = |wrong: String| EnrichError::Misconfigured(format!("{child}: {wrong}"));
        let mut deps = self
            .host
            .setup(&pipeline, manifest.parameters)
            .map_err(|wrong| misconfigured(wrong.join("; ")))?;
        deps.permits = Some(Arc::new(LedgerPermits(self.coordination.clone())));
        deps.answers = Some(Arc::new(RunAnswers::new(self.coordination.clone(), child)));
        let programs = self.host.programs(&pipeline, steps.clone());
        let programs = programs.await.map_err(|e| e.in_child(child))?;
        let last = child.phase + 1 == manifest.phases;
        let worker = Worker {
            columns: &columns,
            phase: child.phase,
            steps: phase_steps(&pipeline, steps, &deps, &programs).map_err(misconfigured)?,
            checks: if last { &pipeline.checks } else { &[] },
            derived: if last { &pipeline.columns } else { &[] },
        };
        let todo = tasks.todo.len() as u64;
        let done = self
            .enrich(
                child,
                &worker,
                tasks.todo,
                deps.concurrency,
                stop,
                &mut report,
            )
            .await;
        for step in &worker.steps {
            step.runner.close().await;
        }
        done?;
        match todo - report.ok - report.failed {
            0 => Ok(report),
            left => Err(EnrichError::Interrupted { left: Some(left) }),
        }
    }

    async fn manifest(&self, child: &Child) -> Result<Manifest, EnrichError> {
        let manifest = retry_transient(|| load_manifest(&self.work, &child.run)).await;
        manifest.map_err(|error| match error {
            ManifestLoadError::Port(error) => error.into(),
            error => EnrichError::Misconfigured(format!("{child}: {error}")),
        })
    }

    /// Processes the records and stores their outcomes at the same time, so that a slow write does
    /// not delay the requests in flight.
    async fn enrich(
        &self,
        child: &Child,
        worker: &Worker<'_>,
        todo: Vec<Task>,
        concurrency: usize,
        stop: watch::Receiver<bool>,
        report: &mut ChildReport,
    ) -> Result<(), EnrichError> {
        let (send, receive) = mpsc::channel(FLUSH_OUTCOMES);
        let expired = drained(stop.clone(), DRAIN_SECONDS - STORE_SECONDS);
        let work = async move {
            let mut todo = todo.into_iter();
            let mut running = FuturesUnordered::new();
            let mut expired = pin!(expired);
            loop {
                while running.len() < concurrency.max(1) && !*stop.borrow() {
                    match todo.next() {
                        Some(task) => running.push(worker.outcome(task)),
                        None => break,
                    }
                }
                let outcome = tokio::select! {
                    biased;
                    () = &mut expired => break,
                    next = running.next() => next,
                };
                let Some(outcome) = outcome else { break };
                // Closed only if storing failed, whose error then ends both.
                if send.send(outcome).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let store = Store {
            outcomes: &*self.outcomes,
            run: &child.run,
            chunk: child.chunk,
        };
        futures::future::try_join(work, store.run(receive, report)).await?;
        Ok(())
    }
}

/// Resolves `seconds` after `stop` becomes true; never if it can no longer become true.
async fn drained(mut stop: watch::Receiver<bool>, seconds: u32) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(Duration::from_secs(u64::from(seconds))).await;
}
