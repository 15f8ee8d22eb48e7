//! The work on one run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{
    Capacity, JobDefinition, JobId, JobName, PlannedJob, SubmitJob, job_graph,
};
use rowmill_domain::limits::SUBMIT_PER_SECOND;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, StopReason, Work};
use rowmill_domain::{Manifest, RunId, RunState};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_ports::{Coordination, ErrorKind, Jobs, PortError, RunPatch, Runs, Topic};
use rowmill_runs::{
    JobRequest, ManifestLoadError, RateLimiter, Submission, SubmissionError, Transition,
    WorkBucket, load_manifest, place_job, publish_failure, record_failure, record_stop,
    retry_throttled, with_claim,
};

use crate::definition::definition;
use crate::error::SubmitError;
use crate::requirements::unmet;

/// How often to look whether the run is stopped while jobs are submitted.
const LOOK_FOR_STOP: Duration = Duration::from_secs(2);

/// The stage, with the services it uses.
#[derive(Clone)]
pub struct Submit {
    /// Runs and the ids of their jobs.
    pub runs: Arc<dyn Runs>,
    /// Claims.
    pub coordination: Arc<dyn Coordination>,
    /// The work bucket, which has the manifest.
    pub work: WorkBucket,
    /// Where jobs are submitted.
    pub jobs: Arc<dyn Jobs>,
    /// Where failures are published.
    pub topic: Arc<dyn Topic>,
    /// The settings of the deployment.
    pub config: SubmitConfig,
}

/// The settings of submit and its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitConfig {
    /// Further buckets that programs may be fetched from, by name or ARN.
    pub fetch_buckets: Vec<String>,
    /// The job queue.
    pub queue: String,
    /// The name of the stack. Names of job definitions start with it.
    pub stack: String,
    /// The image for steps that do not set one.
    pub image: String,
    /// What the queue's jobs run on. On one machine every size runs, as on EC2.
    pub capacity: Capacity,
    /// The topic, for children that stop their run. `None` on one machine.
    pub topic: Option<String>,
    /// The region of the deployment. `None` on one machine.
    pub region: Option<String>,
}

/// Why a run was not submitted.
enum NotSubmitted {
    /// The run cannot be submitted, now or later: it fails.
    Refused(Failure),
    /// A service failed.
    Error(SubmitError),
}

impl From<PortError> for NotSubmitted {
    fn from(error: PortError) -> NotSubmitted {
        NotSubmitted::Error(error.into())
    }
}

impl SubmissionError for NotSubmitted {
    fn port(&self) -> Option<&PortError> {
        match self {
            NotSubmitted::Error(SubmitError::Port(error)) => Some(error),
            NotSubmitted::Error(_) | NotSubmitted::Refused(_) => None,
        }
    }
}

impl From<ManifestLoadError> for NotSubmitted {
    fn from(error: ManifestLoadError) -> NotSubmitted {
        match error {
            ManifestLoadError::Port(error) => error.into(),
            error => refused(error.to_string(), "Upload the workbook again."),
        }
    }
}

/// What submitting the jobs of one run needs.
struct SubmitContext {
    manifest: Manifest,
    definitions: Vec<JobDefinition>,
    /// ARNs of the definitions, by phase.
    arns: Vec<String>,
    /// Whether an earlier invocation may have submitted some of the jobs.
    resumed: bool,
    now: DateTime<Utc>,
    limiter: RateLimiter,
    /// Of the jobs.
    priority: u32,
}

/// One job of a run.
struct OneJob<'a> {
    stage: &'a Submit,
    context: &'a mut SubmitContext,
    job: &'a PlannedJob,
    ids: &'a HashMap<JobName, JobId>,
}

#[async_trait]
impl Submission for OneJob<'_> {
    type Error = NotSubmitted;
    async fn submit(&mut self) -> Result<JobId, NotSubmitted> {
        let (stage, context) = (self.stage, &mut *self.context);
        stage.submit_job(context, self.job, self.ids).await
    }
}

impl Submit {
    /// Submits all jobs of a run that has a manifest. Does nothing if this was done before, if
    /// another invocation is doing it, or if the run has ended.
    ///
    /// If Batch refuses the jobs for good, the run fails: its jobs are terminated, and report gets
    /// the failure.
    ///
    /// # Errors
    /// A service failed. The same message can be handled again at any time.
    pub async fn handle(&self, run: &RunId, cx: &Invocation) -> Result<(), SubmitError> {
        let submit = async |resumed| {
            let item = self
                .runs
                .find_run(run)
                .await?
                .ok_or_else(|| SubmitError::UnknownRun(run.clone()))?;
            match (item.state, item.failure) {
                (RunState::Running, None) if item.stop.is_some() => Ok(()),
                (RunState::Running, None) => match self.submit(run, resumed, cx).await {
                    Err(NotSubmitted::Refused(failure)) => self.fail(run, failure, cx).await,
                    Err(NotSubmitted::Error(error)) => Err(error),
                    Ok(()) => Ok(()),
                },
                (RunState::Running, Some(failure)) => self.fail(run, failure, cx).await,
                (state, _) => {
                    tracing::info!(%run, state = state.name(), "nothing to submit");
                    Ok(())
                }
            }
        };
        with_claim(&*self.coordination, run, Work::Submit, cx, submit).await?;
        // Stopped before, or while its jobs were submitted. Not earlier: report ends the run only when
        // nobody submits jobs any more.
        self.end_waiting(run).await
    }

    /// Stops a run for this reason, if it is not stopped yet, and ends its jobs that have not started.
    ///
    /// # Errors
    /// A service failed. The same message can be handled again.
    pub async fn stop(
        &self,
        run: &RunId,
        reason: Option<StopReason>,
        cx: &Invocation,
    ) -> Result<(), SubmitError> {
        if let Some(reason) = reason {
            record_stop(&*self.runs, run, reason, cx.now).await?;
        }
        self.end_waiting(run).await
    }

    /// Ends the jobs of a stopped run that have not started. Children that have started finish the
    /// records in progress. Does nothing if the run is not stopped. Safe to repeat, and to run while
    /// jobs are being submitted.
    ///
    /// # Errors
    /// A service failed. The same message can be handled again.
    pub async fn end_waiting(&self, run: &RunId) -> Result<(), SubmitError> {
        let item = self.runs.find_run(run).await?;
        let item = item.ok_or_else(|| SubmitError::UnknownRun(run.clone()))?;
        let (RunState::Running, Some(stop)) = (item.state, &item.stop) else {
            return Ok(());
        };
        let reason = stop.missing();
        let jobs = self.runs.jobs(run).await?;
        let submitted = jobs.len();
        // The last phases first: otherwise Batch fails them because of the phases before.
        for job in jobs.into_iter().rev().filter(|job| !job.ended) {
            retry_throttled(|| self.jobs.cancel(&job.id, &reason)).await?;
        }
        if item.jobs.is_none_or(|all| submitted < all as usize) {
            // No event ends a run whose last jobs were never submitted.
            let run = run.clone();
            self.topic.publish(&RunMessage::Check { run }).await?;
        }
        Ok(())
    }

    /// Whether the run is stopped.
    async fn is_stopped(&self, run: &RunId) -> Result<bool, PortError> {
        let item = self.runs.find_run(run).await?;
        Ok(item.is_some_and(|item| item.stop.is_some()))
    }

    async fn submit(
        &self,
        run: &RunId,
        resumed: bool,
        cx: &Invocation,
    ) -> Result<(), NotSubmitted> {
        let manifest = load_manifest(&self.work, run).await?;
        let pipeline = from_manifest(&manifest).map_err(|error| {
            refused(
                error.to_string(),
                "The run was split by another version of Rowmill. Upload the workbook again.",
            )
        })?;
        if let Some(failure) = unmet(&pipeline, &self.config) {
            return Err(NotSubmitted::Refused(failure));
        }
        let mut context = SubmitContext {
            definitions: self.definitions(&pipeline),
            arns: Vec::new(),
            manifest,
            resumed,
            now: cx.now,
            limiter: RateLimiter::new(SUBMIT_PER_SECOND),
            priority: pipeline.batch.priority,
        };
        for definition in &context.definitions {
            context.arns.push(self.register(definition).await?);
        }
        // Before the first job, so that the cleanup of another run leaves them registered.
        self.record_definitions(&context).await?;

        let mut ids: HashMap<JobName, JobId> = HashMap::new();
        for job in self.runs.jobs(run).await? {
            ids.insert(job.name, job.id);
        }
        let mut looked = Instant::now();
        for job in job_graph(&context.manifest) {
            if ids.contains_key(&job.name) {
                continue;
            }
            if looked.elapsed() >= LOOK_FOR_STOP {
                if self.is_stopped(run).await? {
                    break;
                }
                looked = Instant::now();
            }
            let id = self.place(&mut context, &job, &ids).await?;
            ids.insert(job.name, id);
        }
        Ok(())
    }

    fn definitions(&self, pipeline: &Pipeline) -> Vec<JobDefinition> {
        let phases = pipeline.phases().into_iter();
        phases
            .zip(pipeline.phase_resources())
            .map(|(steps, resources)| {
                let step = pipeline.steps.get(steps.start);
                let image = step.and_then(|step| step.image.as_deref());
                let image = image.unwrap_or(&self.config.image);
                let (batch, secrets) = (&pipeline.batch, &pipeline.secrets);
                definition(
                    &self.config,
                    self.work.name(),
                    image,
                    resources,
                    batch,
                    secrets,
                )
            })
            .collect()
    }

    async fn register(&self, definition: &JobDefinition) -> Result<String, NotSubmitted> {
        retry_throttled(|| self.jobs.register(definition))
            .await
            .map_err(refused_or_error)
    }

    /// Records which definitions the run uses.
    async fn record_definitions(&self, context: &SubmitContext) -> Result<(), NotSubmitted> {
        let definitions = RunPatch {
            definitions: Some(context.arns.clone()),
            ..RunPatch::default()
        };
        let (run, now) = (&context.manifest.run, context.now);
        Transition::RecordDefinitions
            .apply(&*self.runs, run, definitions, now)
            .await?;
        Ok(())
    }

    /// Finds or submits a job, and records it.
    async fn place(
        &self,
        context: &mut SubmitContext,
        job: &PlannedJob,
        ids: &HashMap<JobName, JobId>,
    ) -> Result<JobId, NotSubmitted> {
        let (run, resumed) = (context.manifest.run.clone(), context.resumed);
        let (services, queue) = ((&*self.runs, &*self.jobs), &self.config.queue);
        let mut submission = OneJob {
            stage: self,
            context,
            job,
            ids,
        };
        place_job(services, &run, &job.name, queue, resumed, &mut submission).await
    }

    async fn submit_job(
        &self,
        context: &mut SubmitContext,
        job: &PlannedJob,
        ids: &HashMap<JobName, JobId>,
    ) -> Result<JobId, NotSubmitted> {
        let phase = usize::from(job.phase);
        let (run, pipeline) = (
            context.manifest.run.clone(),
            context.manifest.pipeline.clone(),
        );
        let priority = context.priority;
        let before = |definition: &str| {
            let request = JobRequest {
                run: &run,
                pipeline: &pipeline,
                queue: &self.config.queue,
                definition,
                resources: None,
                priority,
            };
            request.of(job, ids)
        };
        let (Some(definition), Some(arn)) =
            (context.definitions.get(phase), context.arns.get(phase))
        else {
            return Err(refused(
                format!("The manifest has a phase {phase} that its pipeline does not have"),
                "Upload the workbook again.",
            ));
        };
        let request = before(arn);
        let refusal = match self.call(&request, &mut context.limiter).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        if !matches!(refusal.kind, ErrorKind::Invalid | ErrorKind::NotFound) {
            return Err(refused_or_error(refusal));
        }
        // The cleanup of another run may have deregistered the definition just before this run
        // recorded that it uses it. Then registering it again returns another ARN.
        let arn = self.register(definition).await?;
        if arn == request.definition {
            return Err(refused_or_error(refusal));
        }
        let request = before(&arn);
        context.arns[phase] = arn;
        self.record_definitions(context).await?;
        self.call(&request, &mut context.limiter)
            .await
            .map_err(refused_or_error)
    }

    async fn call(
        &self,
        request: &SubmitJob,
        limiter: &mut RateLimiter,
    ) -> Result<JobId, PortError> {
        limiter.wait().await;
        retry_throttled(|| self.jobs.submit(request)).await
    }

    /// Fails the run: records why, ends its jobs, and publishes the failure. Safe to repeat.
    async fn fail(
        &self,
        run: &RunId,
        failure: Failure,
        cx: &Invocation,
    ) -> Result<(), SubmitError> {
        let (runs, failed) = (&*self.runs, Transition::FailSubmit);
        if !record_failure(runs, run, failed, &failure, None, cx.now).await? {
            return Ok(());
        }
        for job in self.runs.jobs(run).await? {
            self.jobs.terminate(&job.id, "the run failed").await?;
        }
        Ok(publish_failure(&*self.topic, run, failure).await?)
    }
}

fn refused(what: String, advice: &str) -> NotSubmitted {
    NotSubmitted::Refused(Failure {
        stage: "submit".into(),
        what,
        advice: advice.into(),
    })
}

/// Classifies the error of a request. The request itself is correct by construction.
fn refused_or_error(error: PortError) -> NotSubmitted {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NotFound => refused(
            format!("AWS Batch refused the job: {error}"),
            "Correct [batch] or the `image` of the step in the pipeline, or the setting that the message \
             mentions, and upload the workbook again.",
        ),
        _ => error.into(),
    }
}
