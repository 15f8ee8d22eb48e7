//! What the API needs from AWS, besides its ports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use rowmill_api::{
    Background, ExportAsked, Host, InvalidPipeline, NewObject, Problem, Stuck, UploadForm,
    export_event,
};
use rowmill_aws::{LambdaFunction, PostedObject, S3Objects};
use rowmill_domain::job::{JobDetail, JobId, JobName, JobStatus};
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::preview::{Prediction, PreviewAnswer, RecordsAsked, TextAsked};
use rowmill_domain::{Columns, Manifest, Outcome, PipelineName, Record, RunItem, keys};
use rowmill_pipeline::{Pipeline, StepKind};
use rowmill_ports::{ErrorKind, Jobs, ObjectInfo, PortError, Runs};
use rowmill_runs::{WorkBucket, describe_jobs};
use serde::Serialize;
use tokio::time::timeout;

/// How long a form for an upload is valid: 1 GiB at 10 Mbit/s takes 15 minutes.
const FORM_VALID: TimeDelta = TimeDelta::minutes(30);

/// The most time for the answer to a question about a model. API Gateway waits 30 seconds.
const MODEL_WITHIN: Duration = Duration::from_secs(20);

/// What the preview function needs of the time of a preview to answer.
const ANSWERING: Duration = Duration::from_secs(1);

/// Models whose labels are kept.
const KEPT: usize = 100;

/// The services of AWS.
pub(crate) struct AmazonHost {
    pub(crate) objects: Arc<S3Objects>,
    pub(crate) work: WorkBucket,
    pub(crate) runs: Arc<dyn Runs>,
    pub(crate) jobs: Arc<dyn Jobs>,
    /// The preview function, which has the programs and models of pipelines.
    pub(crate) enrich: LambdaFunction,
    /// The labels of models, by pipeline file.
    pub(crate) labels: Mutex<HashMap<String, Vec<String>>>,
}

impl AmazonHost {
    async fn ask(
        &self,
        asked: &impl Serialize,
        within: Duration,
    ) -> Result<Option<PreviewAnswer>, Problem> {
        let asked = serde_json::to_value(asked)?;
        let Ok(answer) = timeout(within, self.enrich.call(&asked)).await else {
            return Ok(None);
        };
        let answer = answer?;
        match serde_json::from_value(answer)? {
            PreviewAnswer::Problem(wrong) => Err(Problem::invalid(wrong)),
            answer => Ok(Some(answer)),
        }
    }

    fn known_labels(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn label(&self, toml: &str, text: &str) -> Result<Prediction, Problem> {
        let asked = TextAsked {
            pipeline: toml.to_owned(),
            predict: text.to_owned(),
        };
        match self.ask(&asked, MODEL_WITHIN).await? {
            Some(PreviewAnswer::Prediction(prediction)) => Ok(prediction),
            _ => Err(unavailable("the model did not answer in time").into()),
        }
    }
}

/// This function, invoked once more.
pub(crate) struct Itself(pub(crate) LambdaFunction);

#[async_trait]
impl Background for Itself {
    async fn export(&self, asked: &ExportAsked) -> Result<(), PortError> {
        self.0.start(&export_event(asked)).await
    }
}

fn unavailable(why: &str) -> PortError {
    PortError::new("Invoke", "enrich", ErrorKind::Unavailable, why)
}

#[async_trait]
impl Host for AmazonHost {
    async fn refresh(&self) -> Result<Vec<InvalidPipeline>, PortError> {
        // They are in the bucket already, and GET /pipelines parses each of them.
        Ok(Vec::new())
    }

    async fn check(&self, pipeline: &PipelineName, toml: &str) -> Result<(), Problem> {
        let parsed = Pipeline::parse(&keys::pipeline(pipeline), toml);
        let parsed = parsed.map_err(|error| Problem::invalid(error.one_line()))?;
        // Secrets are those of the jobs, which this function may not read.
        let values = parsed.parameter_values(&ParameterValues::new());
        values
            .map(drop)
            .map_err(|wrong| Problem::invalid(wrong.join("\n")))
    }

    async fn upload_form(&self, upload: &NewObject) -> Result<UploadForm, Problem> {
        let object = PostedObject {
            at: self.work.location(&upload.key),
            size: upload.size,
            content_type: upload.content_type.to_owned(),
            metadata: upload.metadata.clone(),
        };
        let post = self.objects.signed_post(&object, Utc::now(), FORM_VALID);
        let post = post.await?;
        Ok(UploadForm {
            url: post.url,
            fields: post.fields,
        })
    }

    async fn announce(&self, _: &ObjectInfo) -> Result<(), PortError> {
        // The bucket does.
        Ok(())
    }

    async fn processed(
        &self,
        run: &RunItem,
        manifest: &Manifest,
    ) -> Result<Option<u64>, PortError> {
        let recorded = self.runs.jobs(&run.id).await?;
        let ids: Vec<JobId> = recorded.into_iter().map(|job| job.id).collect();
        let jobs = describe_jobs(&*self.jobs, &ids).await?;
        // A retry keeps the other records of its base.
        let kept = manifest.records.saturating_sub(manifest.processed());
        Ok(Some(kept + processed(&jobs, manifest)))
    }

    async fn stuck(&self, _: &RunItem) -> Result<Option<Stuck>, PortError> {
        // Cleanup continues a run that stalls, and an alarm says so.
        Ok(None)
    }

    async fn labels(&self, _: &PipelineName, toml: &str, column: &str) -> Vec<String> {
        let Ok(pipeline) = Pipeline::parse("the pipeline", toml) else {
            return Vec::new();
        };
        let predicts = |step: &StepKind| matches!(step, StepKind::Classify(s) if s.label == column);
        if !pipeline.steps.iter().any(|step| predicts(&step.kind)) {
            return Vec::new();
        }
        if let Some(labels) = self.known_labels().get(toml) {
            return labels.clone();
        }
        let labels: Vec<String> = match self.label(toml, "").await {
            Ok(prediction) => prediction.probabilities.into_keys().collect(),
            // Those in the result remain.
            Err(_) => return Vec::new(),
        };
        let mut known = self.known_labels();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(toml.to_owned(), labels.clone());
        labels
    }

    async fn predict(
        &self,
        _: &PipelineName,
        toml: &str,
        text: &str,
    ) -> Result<Prediction, Problem> {
        self.label(toml, text).await
    }

    async fn process(
        &self,
        _: &PipelineName,
        toml: &str,
        columns: &Columns,
        records: &[Record],
        within: Duration,
    ) -> Result<Vec<Option<Outcome>>, Problem> {
        let lines = records.iter().map(|record| {
            let mut line = Vec::new();
            record.write_json(columns, &mut line)?;
            Ok(String::from_utf8_lossy(&line).into_owned())
        });
        let asked = RecordsAsked {
            pipeline: toml.to_owned(),
            columns: columns.names().iter().map(ToString::to_string).collect(),
            records: lines.collect::<serde_json::Result<_>>()?,
            seconds: within.saturating_sub(ANSWERING).as_secs_f64(),
        };
        match self.ask(&asked, within).await? {
            Some(PreviewAnswer::Outcomes(outcomes)) => Ok(outcomes),
            // A new instance of the function takes seconds to start.
            _ => Ok(vec![None; records.len()]),
        }
    }
}

/// The records that jobs have processed: of each job of the first round, as many of its records as it has
/// children that ended.
fn processed(jobs: &[JobDetail], manifest: &Manifest) -> u64 {
    let ended = |job: &JobDetail| {
        let count = |status| job.children.get(&status).copied().unwrap_or_default();
        match job.array_size {
            Some(size) => {
                let done = count(JobStatus::Succeeded) + count(JobStatus::Failed);
                f64::from(done.min(size)) / f64::from(size.max(1))
            }
            None => match job.status {
                JobStatus::Succeeded | JobStatus::Failed => 1.0,
                _ => 0.0,
            },
        }
    };
    let first_round = jobs.iter().filter(|job| !job.name.is_second_round());
    let records = first_round.filter_map(|job| {
        let (_, chunk, _) = JobName::parse(&job.name.0)?;
        let records = manifest.chunks.get(chunk as usize)?.records;
        Some(ended(job) * f64::from(records))
    });
    (records.sum::<f64>() / f64::from(manifest.phases.max(1))) as u64
}
