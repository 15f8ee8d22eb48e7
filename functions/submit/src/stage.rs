//! The work on one run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{
    Capacity, Dependency, JobDefinition, JobId, JobName, PlannedJob, SubmitJob, job_graph,
};
use rowmill_domain::limits::SUBMIT_PER_SECOND;
use rowmill_domain::run::{Failure, Work};
use rowmill_domain::{Manifest, RunId, RunState, config};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_ports::{Coordination, ErrorKind, JobFilter, Jobs, PortError, RunPatch, Runs, Topic};
use rowmill_runs::{
    ManifestLoadError, Transition, WorkBucket, load_manifest, pages, publish_failure,
    record_failure, retry_throttled, with_claim,
};

use crate::definition::definition;
use crate::error::SubmitError;
use crate::rate::RateLimiter;
use crate::requirements::unmet;

/// Attempts to submit a job if the answer is lost, the first included. Lambda retries the event as
/// well.
const SUBMIT_ATTEMPTS: u32 = 3;
/// The pause before looking for a job that Batch may have accepted just now.
const LOOK_AFTER: Duration = Duration::from_secs(1);

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
        Ok(())
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
        for job in job_graph(&context.manifest) {
            if ids.contains_key(&job.name) {
                continue;
            }
            let id = self.place(&mut context, &job, &ids).await?;
            ids.insert(job.name, id);
        }
        Ok(())
    }

    fn definitions(&self, pipeline: &Pipeline) -> Vec<JobDefinition> {
        let phases = pipeline.phases().into_iter();
        phases
            .map(|steps| {
                let step = pipeline.steps.get(steps.start);
                let image = step.and_then(|step| step.image.as_deref());
                let image = image.unwrap_or(&self.config.image);
                let (batch, secrets) = (&pipeline.batch, &pipeline.secrets);
                definition(&self.config, self.work.name(), image, batch, secrets)
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
        let run = context.manifest.run.clone();
        let id = self.find_or_submit(context, job, ids).await?;
        match self.runs.record_job(&run, &job.name, &id).await {
            Ok(()) => Ok(id),
            // Another invocation recorded a job first; that one is used.
            Err(error) if error.kind == ErrorKind::Conflict => {
                let jobs = self.runs.jobs(&run).await?;
                let theirs = jobs.into_iter().find(|j| j.name == job.name);
                let theirs = theirs.ok_or(error)?.id;
                if theirs != id {
                    self.jobs.terminate(&id, "duplicate submission").await?;
                }
                Ok(theirs)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Submits a job, unless there is one of that name. If an answer is lost, Batch may have
    /// accepted the job, so this looks for it before it submits again.
    async fn find_or_submit(
        &self,
        context: &mut SubmitContext,
        job: &PlannedJob,
        ids: &HashMap<JobName, JobId>,
    ) -> Result<JobId, NotSubmitted> {
        let (mut look, mut attempts) = (context.resumed, 1);
        loop {
            if look && let Some(id) = self.find(&job.name).await? {
                return Ok(id);
            }
            match self.submit_job(context, job, ids).await {
                Err(NotSubmitted::Error(SubmitError::Port(error)))
                    if error.kind == ErrorKind::Unavailable && attempts < SUBMIT_ATTEMPTS =>
                {
                    tracing::warn!(job = %job.name, %error, "no answer; looking for the job");
                    tokio::time::sleep(LOOK_AFTER).await;
                    (look, attempts) = (true, attempts + 1);
                }
                answer => return answer,
            }
        }
    }

    /// The job of that name in any state. If there are several, the one submitted first, so that
    /// all invocations choose the same.
    async fn find(&self, name: &JobName) -> Result<Option<JobId>, NotSubmitted> {
        let filter = JobFilter::Name {
            queue: self.config.queue.clone(),
            name: name.clone(),
        };
        let list = async |after: Option<String>| {
            retry_throttled(|| self.jobs.list(&filter, after.as_deref())).await
        };
        // Newest first.
        let oldest = pages(list).try_fold(None, async |oldest, page| {
            Ok(page.into_iter().next_back().map(|job| job.id).or(oldest))
        });
        Ok(oldest.await?)
    }

    async fn submit_job(
        &self,
        context: &mut SubmitContext,
        job: &PlannedJob,
        ids: &HashMap<JobName, JobId>,
    ) -> Result<JobId, NotSubmitted> {
        let phase = usize::from(job.phase);
        let before = |arn: String| {
            let depends_on = job.after.as_ref().map(|(name, kind)| Dependency {
                job_id: ids.get(name).cloned(),
                kind: *kind,
            });
            SubmitJob {
                name: job.name.clone(),
                queue: self.config.queue.clone(),
                definition: arn,
                array_size: job.size,
                depends_on: depends_on.into_iter().collect(),
                environment: BTreeMap::from([
                    (
                        config::ROWMILL_RUN.to_owned(),
                        context.manifest.run.to_string(),
                    ),
                    (config::ROWMILL_CHUNK.to_owned(), job.chunk.to_string()),
                    (config::ROWMILL_PHASE.to_owned(), job.phase.to_string()),
                ]),
                retry: None,
                timeout_seconds: None,
                tags: BTreeMap::from([
                    ("rowmill:run".to_owned(), context.manifest.run.to_string()),
                    (
                        "rowmill:pipeline".to_owned(),
                        context.manifest.pipeline.to_string(),
                    ),
                ]),
            }
        };
        let (Some(definition), Some(arn)) =
            (context.definitions.get(phase), context.arns.get(phase))
        else {
            return Err(refused(
                format!("The manifest has a phase {phase} that its pipeline does not have"),
                "Upload the workbook again.",
            ));
        };
        let request = before(arn.clone());
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
        let request = before(arn.clone());
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
