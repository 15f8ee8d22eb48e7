//! What the API needs from this machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures::TryStreamExt;
use rowmill_api::{Host, InvalidPipeline, METADATA, NewObject, Problem, Stuck, UploadForm};
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::preview::Prediction;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Columns, Manifest, Outcome, PipelineName, Record, RunItem, keys};
use rowmill_enrich::{HostResources, preview as run_steps};
use rowmill_local::{LocalError, RunScope};
use rowmill_pipeline::Pipeline;
use rowmill_ports::{ObjectInfo, Objects, PortError};
use rowmill_runs::WorkBucket;
use rowmill_steps::PredictError;

use super::pipelines::{FoundPipelines, PipelineFolder};
use crate::check;
use crate::error::CliError;
use crate::pipeline_file::PipelineFile;
use crate::run::progress::RunProgress;
use crate::run::upload;
use crate::stack::{LocalStack, WORK};

/// An upload that never became a run is removed after this time.
const UPLOAD_KEPT: TimeDelta = TimeDelta::days(1);

/// This machine.
pub(super) struct LocalHost {
    stack: Arc<LocalStack>,
    folder: PipelineFolder,
    secrets: Secrets,
    found: Mutex<Arc<FoundPipelines>>,
}

impl LocalHost {
    pub(super) fn new(
        stack: Arc<LocalStack>,
        folder: PipelineFolder,
        secrets: Secrets,
    ) -> LocalHost {
        LocalHost {
            stack,
            folder,
            secrets,
            found: Mutex::default(),
        }
    }

    /// Offers the pipelines, continues the runs of an earlier command, and removes old uploads.
    pub(super) async fn start(&self) -> Result<(), PortError> {
        for invalid in self.refresh().await? {
            crate::output::say!(
                "pipeline {} is not offered: {}",
                invalid.name,
                invalid.error
            );
        }
        let local = |e: LocalError| e.into_port("queue", "cloud.db");
        self.stack.redrive_all().map_err(local)?;
        self.stack.sweep().map_err(local)?;
        let work = WorkBucket::new(WORK, self.stack.objects.clone());
        let old: Vec<String> = work
            .list_all(keys::UPLOADS)
            .try_filter_map(async |object| {
                let is_old = Utc::now() - object.modified > UPLOAD_KEPT;
                Ok(is_old.then_some(object.key))
            })
            .try_collect()
            .await?;
        work.objects().delete(WORK, &old).await
    }

    fn found(&self) -> Arc<FoundPipelines> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// The pipeline with its folder, for the programs and models that it names.
    fn file(&self, name: &PipelineName, toml: &str) -> Result<PipelineFile, Problem> {
        let pipeline = Pipeline::parse(&keys::pipeline(name), toml);
        let pipeline = pipeline.map_err(|error| Problem::invalid(error.one_line()))?;
        let found = self.found();
        let file = found.files.get(name).filter(|file| file.toml == toml);
        Ok(PipelineFile {
            name: name.clone(),
            toml: toml.to_owned(),
            pipeline,
            shown: file.map_or_else(|| keys::pipeline(name), |file| file.shown.clone()),
            directory: file.map_or_else(|| ".".into(), |file| file.directory.clone()),
        })
    }
}

/// A refusal of the command line as a problem of the request; other errors are in the log.
fn problem(error: CliError) -> Problem {
    Problem::invalid(error.in_words())
}

#[async_trait]
impl Host for LocalHost {
    async fn refresh(&self) -> Result<Vec<InvalidPipeline>, PortError> {
        let found = self.folder.read();
        let before = self.found();
        for (name, file) in &found.files {
            let same = before.files.get(name).is_some_and(|before| {
                before.toml == file.toml && before.directory == file.directory
            });
            if !same {
                upload::pipeline(&*self.stack.objects, file).await?;
            }
        }
        upload::tiers(&*self.stack.objects, self.folder.path()).await?;
        // A pipeline that was removed or is not valid any more must not start a run.
        let gone: Vec<String> = self
            .offered()
            .await?
            .into_iter()
            .filter(|name| !found.files.contains_key(name))
            .map(|name| keys::pipeline(&name))
            .collect();
        self.stack.objects.delete(WORK, &gone).await?;
        let invalid = found.invalid.clone();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        Ok(invalid)
    }

    async fn check(&self, pipeline: &PipelineName, toml: &str) -> Result<(), Problem> {
        let file = self.file(pipeline, toml)?;
        let values = file.parameters(&ParameterValues::new()).map_err(problem)?;
        let needs = check::set_up(&file, values, &self.secrets).map_err(problem)?;
        match needs.is_empty() {
            true => Ok(()),
            false => Err(Problem::invalid(needs.join("\n"))),
        }
    }

    async fn upload_form(&self, upload: &NewObject) -> Result<UploadForm, Problem> {
        let metadata = upload.metadata.iter();
        let metadata = metadata.map(|(name, value)| (format!("{METADATA}{name}"), value.clone()));
        Ok(UploadForm {
            url: format!("/uploads/{}", upload.upload),
            fields: [("key".to_owned(), upload.key.clone())]
                .into_iter()
                .chain(metadata)
                .collect(),
        })
    }

    async fn announce(&self, object: &ObjectInfo) -> Result<(), PortError> {
        let sent = self.stack.announce(object);
        sent.map_err(|e| e.into_port("SendMessage", object.key.as_str()))
    }

    async fn processed(
        &self,
        run: &RunItem,
        manifest: &Manifest,
    ) -> Result<Option<u64>, PortError> {
        let phases = manifest.phases.max(1);
        let progress = self.stack.progress(run, phases).await?;
        Ok(match progress {
            RunProgress::Enrich { done, phases, .. } => Some(done / u64::from(phases.max(1))),
            _ => None,
        })
    }

    async fn stuck(&self, run: &RunItem) -> Result<Option<Stuck>, PortError> {
        let letters = self.stack.dead_letters(&RunScope::of(run));
        let letters = letters.map_err(|e| e.into_port("ReceiveMessage", run.id.as_str()))?;
        Ok(letters.into_iter().next().map(|letter| Stuck {
            stage: letter.target.name().to_owned(),
            error: letter.error,
        }))
    }

    async fn labels(&self, pipeline: &PipelineName, toml: &str, column: &str) -> Vec<String> {
        let Ok(parsed) = Pipeline::parse(&keys::pipeline(pipeline), toml) else {
            return Vec::new();
        };
        let found = self.found();
        let Some(file) = found.files.get(pipeline) else {
            return Vec::new();
        };
        let labels = rowmill_steps::labels(&parsed, &file.directory, column);
        labels.ok().flatten().unwrap_or_default()
    }

    async fn predict(
        &self,
        pipeline: &PipelineName,
        toml: &str,
        text: &str,
    ) -> Result<Prediction, Problem> {
        let file = self.file(pipeline, toml)?;
        let predicted = rowmill_steps::predict(&file.pipeline, &file.directory, text);
        predicted.map_err(|error| match error {
            PredictError::NoModel => Problem::invalid(format!("`{pipeline}`: {error}.")),
            PredictError::Model(error) => Problem::conflict(error.to_string()),
        })
    }

    async fn process(
        &self,
        pipeline: &PipelineName,
        toml: &str,
        columns: &Columns,
        records: &[Record],
        within: Duration,
    ) -> Result<Vec<Option<Outcome>>, Problem> {
        let file = self.file(pipeline, toml)?;
        let host = HostResources {
            program_directory: file.directory.clone(),
            secrets: self.secrets.clone(),
            amazon: None,
            ..HostResources::default()
        };
        let outcomes = run_steps(
            &file.pipeline,
            columns,
            records.to_vec(),
            &ParameterValues::new(),
            &host,
            tokio::time::sleep(within),
        )
        .await;
        outcomes.map_err(|wrong| Problem::invalid(wrong.join("\n")))
    }
}

impl LocalHost {
    /// The pipelines in the work bucket.
    async fn offered(&self) -> Result<Vec<PipelineName>, PortError> {
        let work = WorkBucket::new(WORK, self.stack.objects.clone());
        work.list_all(keys::PIPELINES)
            .try_filter_map(async |object| Ok(keys::pipeline_of(&object.key)))
            .try_collect()
            .await
    }
}
