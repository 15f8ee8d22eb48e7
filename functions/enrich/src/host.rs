//! What a host offers to the steps: a container, a Lambda function or one machine.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::Pipeline;
use rowmill_steps::{StepDeps, Translator};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::fetch::{FetchError, ProgramFetcher};

/// What a host offers to the steps of any pipeline.
#[derive(Clone, Default)]
pub struct HostResources {
    /// The working directory of `command` steps: the pipeline's folder, or the container's working
    /// directory.
    pub program_directory: PathBuf,
    /// The secrets in the environment.
    pub secrets: Secrets,
    /// Amazon Translate, for `translate` steps that use it. `None` without AWS.
    pub amazon: Option<Arc<dyn Translator>>,
    /// Fetches the programs that pipelines name by URL.
    pub fetcher: ProgramFetcher,
}

impl HostResources {
    /// What the steps of this pipeline need, given the values of its parameters; or what is wrong
    /// with the secrets that it declares.
    pub(crate) fn setup(
        &self,
        pipeline: &Pipeline,
        parameters: ParameterValues,
    ) -> Result<StepDeps, Vec<String>> {
        let (secrets, wrong) = pipeline.secret_values(&self.secrets);
        if !wrong.is_empty() {
            return Err(wrong.iter().map(ToString::to_string).collect());
        }
        let concurrency = pipeline.batch.concurrency as usize;
        let mut deps = StepDeps::new(concurrency, &self.program_directory);
        deps.secrets = Arc::new(secrets);
        deps.parameters = Arc::new(parameters);
        deps.amazon = self.amazon.clone();
        let limit = Duration::from_secs(pipeline.batch.timeout_seconds.into());
        deps.deadline = Some(Instant::now() + limit);
        Ok(deps)
    }

    /// For each of these steps, the folder of its program if that is fetched.
    pub(crate) async fn programs(
        &self,
        pipeline: &Pipeline,
        steps: Range<usize>,
    ) -> Result<Vec<Option<TempDir>>, FetchError> {
        self.fetcher
            .fetch_all(pipeline, steps, &self.program_directory)
            .await
    }
}
