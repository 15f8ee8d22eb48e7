//! The stage.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rowmill_domain::event::Invocation;
use rowmill_domain::job::{
    Dependency, JobDefinition, JobId, JobName, PlannedJob, SubmitJob, job_graph,
};
use rowmill_domain::limits::SUBMIT_PER_SECOND;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, Work};
use rowmill_domain::{Manifest, RunId, RunState, config, keys};
use rowmill_pipeline::{Pipeline, from_manifest};
use rowmill_ports::{
    Claim, ErrorKind, Holder, JobFilter, Jobs, Ledger, Location, Objects, Optional, PortError,
    RunPatch, Topic,
};

use crate::definition::definition;
use crate::error::SubmitError;
use crate::rate::{RateLimiter, retry_throttled};

/// How long a claim on a run's submit is held: as long as a Lambda function can run.
pub const LEASE: Duration = Duration::from_secs(15 * 60);

/// Tries in all to submit a job whose answer is lost. Lambda's retries of the event come on top.
const SUBMIT_TRIES: u32 = 3;
/// The pause before a job is looked for, which Batch may have taken only just now.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The stage.
#[derive(Clone)]
pub struct Submit {
    /// The work bucket.
    pub objects: Arc<dyn Objects>,
    /// Runs and their jobs.
    pub ledger: Arc<dyn Ledger>,
    /// Where jobs go.
    pub jobs: Arc<dyn Jobs>,
    /// Where failures are told.
    pub topic: Arc<dyn Topic>,
    /// Names.
    pub config: SubmitConfig,
}

/// Names that submit and its jobs need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitConfig {
    /// The work bucket.
    pub work_bucket: String,
    /// Further buckets that jobs may fetch programs from, by name or ARN.
    pub fetch_buckets: Vec<String>,
    /// The job queue.
    pub queue: String,
    /// The stack, which starts the names of job definitions.
    pub stack: String,
    /// The image of phases without one of their own.
    pub image: String,
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
    /// Submits all jobs of a run that has its manifest. Nothing happens where that was done
    /// before, where another invocation is at it, and where the run has ended.
    ///
    /// A run that Batch refuses for good is failed: its jobs are terminated, and report is told.
    ///
    /// # Errors
    /// Trouble of the surroundings only. The same message may be given again at any time.
    pub async fn handle(&self, run: &RunId, cx: &Invocation) -> Result<(), SubmitError> {
        let claim = self
            .ledger
            .claim(run, Work::Submit, &cx.owner, cx.now, LEASE)
            .await?;
        let resumed = match claim {
            Claim::Taken { resumed } => resumed,
            Claim::Done => return Ok(()),
            Claim::Held(Holder { owner, until }) => {
                tracing::info!(%run, %owner, %until, "another invocation is submitting this run");
                return Ok(());
            }
        };
        let item = self
            .ledger
            .run(run)
            .await?
            .ok_or_else(|| SubmitError::UnknownRun(run.clone()))?;
        match (item.state, item.failure) {
            (RunState::Running, None) => match self.submit(run, resumed, cx).await {
                Ok(()) => {}
                Err(NotSubmitted::Error(error)) => return Err(error),
                Err(NotSubmitted::Refused(failure)) => self.fail(run, failure, cx).await?,
            },
            (RunState::Running, Some(failure)) => self.fail(run, failure, cx).await?,
            (state, _) => tracing::info!(%run, state = state.name(), "nothing to submit"),
        }
        match self.ledger.complete(run, Work::Submit, &cx.owner).await {
            // The lease ran out and another invocation has done the same.
            Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
            other => Ok(other?),
        }
    }

    async fn submit(
        &self,
        run: &RunId,
        resumed: bool,
        cx: &Invocation,
    ) -> Result<(), NotSubmitted> {
        let manifest = self.manifest(run).await?;
        let pipeline = from_manifest(&manifest)
            .map_err(|error| refused(error.to_string(), "upload the workbook again"))?;
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
        // Before the first job, so that cleanup of another run knows that these are in use.
        self.note_definitions(&context).await?;

        let mut ids: HashMap<JobName, JobId> = HashMap::new();
        for job in self.ledger.jobs(run).await? {
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

    async fn manifest(&self, run: &RunId) -> Result<Manifest, NotSubmitted> {
        let at = Location::new(&self.config.work_bucket, keys::manifest(run));
        let Some(object) = self.objects.get(&at).await.optional()? else {
            return Err(refused(
                format!("the manifest {at} is gone"),
                "upload the workbook again",
            ));
        };
        Manifest::from_json(&object.body)
            .map_err(|error| refused(format!("{at}: {error}"), "upload the workbook again"))
    }

    fn definitions(&self, pipeline: &Pipeline) -> Vec<JobDefinition> {
        let phases = pipeline.phases().into_iter();
        phases
            .map(|steps| {
                let step = pipeline.steps.get(steps.start);
                let image = step.and_then(|step| step.image.as_deref());
                let image = image.unwrap_or(&self.config.image);
                definition(&self.config, image, &pipeline.batch, &pipeline.secrets)
            })
            .collect()
    }

    async fn register(&self, definition: &JobDefinition) -> Result<String, NotSubmitted> {
        retry_throttled(|| self.jobs.register(definition))
            .await
            .map_err(refused_or_error)
    }

    /// Says in the ledger which definitions the run uses.
    async fn note_definitions(&self, context: &SubmitContext) -> Result<(), NotSubmitted> {
        let patch = RunPatch {
            definitions: Some(context.arns.clone()),
            ..RunPatch::default()
        };
        let (run, running) = (&context.manifest.run, [RunState::Running]);
        self.ledger
            .update_run(run, &running, patch, context.now)
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
        match self.ledger.record_job(&run, &job.name, &id).await {
            Ok(()) => Ok(id),
            // Another invocation, taking this one for dead, was faster: its job is the one.
            Err(error) if error.kind == ErrorKind::Conflict => {
                let jobs = self.ledger.jobs(&run).await?;
                let theirs = jobs.into_iter().find(|j| j.name == job.name);
                let theirs = theirs.ok_or(error)?.id;
                if theirs != id {
                    self.jobs.terminate(&id, "submitted twice").await?;
                }
                Ok(theirs)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Submits a job where there is none of its name. Where an answer is lost Batch may have taken
    /// the job all the same, so it is looked for before it is submitted again.
    async fn find_or_submit(
        &self,
        context: &mut SubmitContext,
        job: &PlannedJob,
        ids: &HashMap<JobName, JobId>,
    ) -> Result<JobId, NotSubmitted> {
        let (mut look, mut tries) = (context.resumed, 1);
        loop {
            if look && let Some(id) = self.find(&job.name).await? {
                return Ok(id);
            }
            match self.submit_job(context, job, ids).await {
                Err(NotSubmitted::Error(SubmitError::Port(error)))
                    if error.kind == ErrorKind::Unavailable && tries < SUBMIT_TRIES =>
                {
                    tracing::warn!(job = %job.name, %error, "no answer; looking for the job");
                    tokio::time::sleep(LOOK_AFTER).await;
                    (look, tries) = (true, tries + 1);
                }
                answer => return answer,
            }
        }
    }

    /// The run's own job of that name, in any state. Where there are several, the first one
    /// submitted, so that all who look agree.
    async fn find(&self, name: &JobName) -> Result<Option<JobId>, NotSubmitted> {
        let filter = JobFilter::Name {
            queue: self.config.queue.clone(),
            name: name.clone(),
        };
        let (mut oldest, mut after) = (None, None);
        loop {
            let (page, next) =
                retry_throttled(|| self.jobs.list(&filter, after.as_deref())).await?;
            oldest = page.into_iter().next_back().map(|job| job.id).or(oldest);
            after = next;
            if after.is_none() {
                return Ok(oldest);
            }
        }
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
                format!(
                    "the manifest of {} has phase {phase}, and its pipeline has not",
                    context.manifest.run
                ),
                "upload the workbook again",
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
        // Cleanup of another run may have deregistered the definition just before this run said
        // that it uses it. Then registering gives another ARN.
        let arn = self.register(definition).await?;
        if arn == request.definition {
            return Err(refused_or_error(refusal));
        }
        let request = before(arn.clone());
        context.arns[phase] = arn;
        self.note_definitions(context).await?;
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

    /// Fails the run: keeps why, ends what is at work, tells report. May be done twice.
    async fn fail(
        &self,
        run: &RunId,
        failure: Failure,
        cx: &Invocation,
    ) -> Result<(), SubmitError> {
        let patch = RunPatch {
            failure: Some(failure.clone()),
            ..RunPatch::default()
        };
        let running = [RunState::Running];
        // Where another invocation, taking this one for dead, has moved the run on, it is no
        // failure of the run.
        if !self.ledger.update_run(run, &running, patch, cx.now).await? {
            return Ok(());
        }
        for job in self.ledger.jobs(run).await? {
            self.jobs.terminate(&job.id, "the run failed").await?;
        }
        self.topic
            .publish(&RunMessage::Failed {
                run: run.clone(),
                failure,
            })
            .await?;
        Ok(())
    }
}

fn refused(what: String, advice: &str) -> NotSubmitted {
    NotSubmitted::Refused(Failure {
        stage: "submit".into(),
        what,
        advice: advice.into(),
    })
}

/// What a service said to a request that is right by construction.
fn refused_or_error(error: PortError) -> NotSubmitted {
    match error.kind {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::NotFound => refused(
            format!("AWS Batch refused the work: {error}"),
            "correct [batch] or the step's image in the pipeline, or what the message names, and \
             upload the workbook again",
        ),
        _ => error.into(),
    }
}
