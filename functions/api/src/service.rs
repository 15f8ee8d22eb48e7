//! What the routes of the API use.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rowmill_domain::preview::Prediction;
use rowmill_domain::{Columns, Manifest, Outcome, PipelineName, Record, RunId, RunItem, keys};
use rowmill_pipeline::{Pipeline, StepKind, built_in};
use rowmill_ports::{ObjectInfo, Outcomes, PortError, Reviews, Runs, Submitters, Topic};
use rowmill_runs::WorkBucket;
use rowmill_tiers::CurrentTiers;
use serde::Serialize;

use crate::built::Background;
use crate::indexed::Indexes;
use crate::problem::Problem;

/// What the routes of the API use.
pub struct Service {
    /// The work bucket.
    pub work: WorkBucket,
    /// The bucket for workbooks that start a run.
    pub inbox: WorkBucket,
    /// The runs.
    pub runs: Arc<dyn Runs>,
    /// The tallies of runs in progress.
    pub outcomes: Arc<dyn Outcomes>,
    /// What only the host can do.
    pub host: Arc<dyn Host>,
    /// What runs outside of a request. `None`: files go through this server, as on one machine. On AWS they
    /// go between S3 and the browser, because Lambda takes and returns at most 6 MB.
    pub background: Option<Arc<dyn Background>>,
    /// Where stages publish messages to each other.
    pub topic: Arc<dyn Topic>,
    /// The reviews.
    pub reviews: Arc<dyn Reviews>,
    /// The submitters of runs.
    pub submitters: Arc<dyn Submitters>,
    /// The tiers of submitters.
    pub tiers: CurrentTiers,
    /// The indexes of runs that were read.
    pub indexes: Indexes,
    /// How many records the runs in progress had at earlier times.
    pub rates: Rates,
}

/// What the host of the API does itself, because no stage does: on one machine `rowmill serve`, on AWS
/// the function of the API.
#[async_trait]
pub trait Host: Send + Sync {
    /// Puts pipeline files that changed into the work bucket. Returns one message for each file that is
    /// not valid.
    async fn refresh(&self) -> Result<Vec<InvalidPipeline>, PortError>;
    /// Checks what this host can check of a pipeline before it runs: its model, its secrets.
    async fn check(&self, pipeline: &PipelineName, toml: &str) -> Result<(), Problem>;
    /// A form with which a browser puts a workbook into the work bucket.
    async fn upload_form(&self, upload: &NewObject) -> Result<UploadForm, Problem>;
    /// Sends the event of a workbook that was put into the inbox, if its bucket does not.
    async fn announce(&self, object: &ObjectInfo) -> Result<(), PortError>;
    /// The records that a running run has processed so far. `None`: it is not known.
    async fn processed(&self, run: &RunItem, manifest: &Manifest)
    -> Result<Option<u64>, PortError>;
    /// Why a run cannot continue without help, if it cannot.
    async fn stuck(&self, run: &RunItem) -> Result<Option<Stuck>, PortError>;
    /// The labels of the model that predicts a column of a pipeline. Empty: no model does, or it cannot
    /// be read.
    async fn labels(&self, pipeline: &PipelineName, toml: &str, column: &str) -> Vec<String>;
    /// Labels a text with the model of a pipeline.
    async fn predict(
        &self,
        pipeline: &PipelineName,
        toml: &str,
        text: &str,
    ) -> Result<Prediction, Problem>;
    /// Processes the first records of a workbook, without storing anything. The outcomes are in the order
    /// of the records; `None` for one that was not finished in time.
    async fn process(
        &self,
        pipeline: &PipelineName,
        toml: &str,
        columns: &Columns,
        records: &[Record],
        within: Duration,
    ) -> Result<Vec<Option<Outcome>>, Problem>;
}

/// A workbook that a browser may put into the work bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// The upload.
    pub upload: String,
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The media type.
    pub content_type: &'static str,
    /// The user metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Where a browser sends a workbook: a form with all fields, and then the field `file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UploadForm {
    /// The address.
    pub url: String,
    /// The fields before `file`.
    pub fields: BTreeMap<String, String>,
}

/// A pipeline file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPipeline {
    /// The name of the pipeline.
    pub name: String,
    /// What is wrong, with line and column.
    pub error: String,
}

/// Why a run cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The stage that failed on every attempt.
    pub stage: String,
    /// Its last error.
    pub error: String,
}

impl Service {
    /// The text of a pipeline: the file in the work bucket, or a built-in one.
    pub(crate) async fn pipeline_text(&self, name: &PipelineName) -> Result<String, Problem> {
        if let Some(body) = self.work.find(&keys::pipeline(name)).await? {
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
        let built_in = built_in(name.as_str()).map(str::to_owned);
        built_in.ok_or_else(|| {
            Problem::invalid(format!(
                "There is no pipeline `{name}`. GET /pipelines lists them."
            ))
        })
    }

    /// A pipeline with its text.
    pub(crate) async fn pipeline(
        &self,
        name: &PipelineName,
    ) -> Result<(String, Pipeline), Problem> {
        let text = self.pipeline_text(name).await?;
        let parsed = Pipeline::parse(&keys::pipeline(name), &text);
        let pipeline = parsed.map_err(|error| {
            Problem::invalid(format!("The pipeline is not valid: {}", error.one_line()))
        })?;
        Ok((text, pipeline))
    }
}

/// The column that the model of a pipeline reads, and the one that it fills.
pub(crate) fn text_and_label(pipeline: &Pipeline) -> Option<(String, String)> {
    pipeline.steps.iter().find_map(|step| match &step.kind {
        StepKind::Classify(step) => Some((step.column.clone(), step.label.clone())),
        _ => None,
    })
}

/// The records that runs in progress had processed at the times when somebody asked.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<RunId, Vec<(Instant, u64)>>>);

/// A rate is measured over this time at most.
const RATE_OVER: Duration = Duration::from_secs(30);
/// A rate is measured over this time at least.
const RATE_LEAST: Duration = Duration::from_secs(1);
/// The most runs whose rates are measured.
const RATED_RUNS: usize = 1000;

impl Rates {
    /// Adds how many records are processed now. Returns the records per second since the earliest of the
    /// last 30 seconds; `None` until a second has passed.
    pub(crate) fn add(&self, run: &RunId, now: Instant, processed: u64) -> Option<f64> {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= RATED_RUNS && !rates.contains_key(run) {
            rates.clear();
        }
        let samples = rates.entry(run.clone()).or_default();
        samples.retain(|(at, _)| now.duration_since(*at) <= RATE_OVER);
        let first = samples.first().copied();
        // At most one sample for each second, so that the list stays short.
        if samples
            .last()
            .is_none_or(|(at, _)| now.duration_since(*at) >= RATE_LEAST)
        {
            samples.push((now, processed));
        }
        let (at, before) = first?;
        let passed = now.duration_since(at);
        (passed >= RATE_LEAST)
            .then(|| processed.saturating_sub(before) as f64 / passed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_over_the_last_seconds() {
        let rates = Rates::default();
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(rates.add(&run, now, 100), None);
        assert_eq!(rates.add(&run, at(10), 600), Some(50.0));
        // The first sample is too old now.
        assert_eq!(rates.add(&run, at(35), 1100), Some(20.0));
    }
}
