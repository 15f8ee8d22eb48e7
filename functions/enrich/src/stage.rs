//! The work of one child.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rowmill_domain::limits::DRAIN_SECONDS;
use rowmill_domain::{Manifest, Status};
use rowmill_pipeline::from_manifest;
use rowmill_ports::{Coordination, Outcomes, Runs, Topic};
use rowmill_runs::{ManifestLoadError, WorkBucket, load_manifest, retry_transient};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::Instrument as _;

use crate::answers::RunAnswers;
use crate::child::{Child, ChildReport};
use crate::control::Control;
use crate::error::EnrichError;
use crate::host::HostResources;
use crate::permits::LedgerPermits;
use crate::record::{Task, Worker};
use crate::slice::Slice;
use crate::steps::phase_steps;
use crate::store::{FLUSH_OUTCOMES, Room, Store};

/// How much of [`DRAIN_SECONDS`] is reserved for storing outcomes.
const STORE_SECONDS: u32 = 5;

/// Records that are read before they can start.
const READ_AHEAD: usize = 16;

/// The stage, with the services it uses.
pub struct Enrich {
    /// The work bucket.
    pub work: WorkBucket,
    /// The run, which says whether it is stopped.
    pub runs: Arc<dyn Runs>,
    /// Where a child stops its run.
    pub topic: Arc<dyn Topic>,
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
    /// within [`DRAIN_SECONDS`].
    ///
    /// If the run is stopped, no new record starts either. The child then succeeds, with records left.
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
            second_round,
            index,
        } = child;
        let span = tracing::info_span!("enrich", %run, chunk, phase, second_round, index);
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
        let mut slice = self.slice(child, &manifest, &columns).await?;
        let mut report = ChildReport {
            records: slice.records(),
            ..ChildReport::default()
        };
        let Some(first) = slice.next().await? else {
            report.resumed = slice.resumed;
            return Ok(report);
        };
        let control = Control::new(self, &manifest, &pipeline.batch, child.phase);
        if control.look().await? {
            report.resumed = slice.resumed;
            report.left = report.records - report.resumed;
            return Ok(report);
        }
        control.report().await;

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
        let tasks = Tasks {
            first,
            rest: &mut slice,
            concurrency: deps.concurrency.max(1),
        };
        let done = self
            .enrich(child, &worker, tasks, stop, &control, &mut report)
            .await;
        control.report().await;
        report.resumed = slice.resumed;
        for step in &worker.steps {
            step.runner.close().await;
        }
        done?;
        report.left = report.records - report.resumed - report.ok - report.failed;
        match report.left {
            0 => Ok(report),
            _ if control.is_stopped() => Ok(report),
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
        tasks: Tasks<'_, '_>,
        stop: watch::Receiver<bool>,
        control: &Control<'_>,
        report: &mut ChildReport,
    ) -> Result<(), EnrichError> {
        let concurrency = tasks.concurrency;
        let (feed, mut tasks_read) = mpsc::channel(READ_AHEAD);
        let read = async move {
            let mut next = Some(tasks.first);
            while let Some(task) = next {
                // Closed if no new record starts.
                if feed.send(task).await.is_err() {
                    break;
                }
                next = tasks.rest.next().await?;
            }
            Ok(())
        };
        let (send, receive) = mpsc::channel(FLUSH_OUTCOMES);
        let room = Room::new();
        let stopped = drained(stop.clone(), 0);
        let expired = drained(stop, DRAIN_SECONDS - STORE_SECONDS);
        let work = async {
            let (mut running, mut may_start) = (FuturesUnordered::new(), true);
            let stopped = async {
                tokio::select! {
                    () = stopped => {}
                    () = control.watch() => {}
                }
            };
            let (mut stopped, mut expired) = (pin!(stopped), pin!(expired));
            while may_start || !running.is_empty() {
                let (new, outcome) = tokio::select! {
                    biased;
                    () = &mut expired => break,
                    () = &mut stopped, if may_start => {
                        may_start = false;
                        continue;
                    }
                    task = tasks_read.recv(), if may_start && running.len() < concurrency => {
                        match task {
                            Some(task) => running.push(async {
                                // It is counted in the phase in which it failed.
                                let before = task.before.as_ref();
                                let new = before.is_none_or(|o| o.status == Status::Ok);
                                (new, worker.outcome(task).await)
                            }),
                            None => may_start = false,
                        }
                        continue;
                    }
                    Some(outcome) = running.next(), if !running.is_empty() => outcome,
                };
                if new {
                    control.count(outcome.status);
                }
                room.take(&outcome).await;
                // Closed only if storing failed, whose error then ends both.
                if send.send(outcome).await.is_err() {
                    break;
                }
            }
            drop((tasks_read, send));
            Ok(())
        };
        let store = Store {
            outcomes: &*self.outcomes,
            run: &child.run,
            chunk: child.chunk,
            room: &room,
        };
        futures::future::try_join3(read, work, store.run(receive, report)).await?;
        Ok(())
    }
}

/// The records that are left to do.
struct Tasks<'a, 'b> {
    first: Task,
    rest: &'a mut Slice<'b>,
    /// How many are processed at once.
    concurrency: usize,
}

/// Resolves `seconds` after `stop` becomes true; never if it can no longer become true.
async fn drained(mut stop: watch::Receiver<bool>, seconds: u32) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(Duration::from_secs(u64::from(seconds))).await;
}
