//! What is there for the steps, wherever they run.

use std::path::PathBuf;
use std::sync::Arc;

use rowmill_domain::Pipeline;
use rowmill_domain::pipeline::ParameterValues;
use rowmill_domain::secret::Secrets;
use rowmill_steps::{Setup, Translator};

use crate::Programs;

/// What is there for the steps of any pipeline.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Where the programs of `command` steps start: the pipeline's directory, or the container's
    /// working directory.
    pub program_directory: PathBuf,
    /// The secrets of the environment.
    pub secrets: Secrets,
    /// Amazon Translate, for `translate` steps that ask for it; `None` where there is no AWS.
    pub amazon: Option<Arc<dyn Translator>>,
    /// Where programs that are not there yet come from.
    pub programs: Programs,
}

impl Surroundings {
    /// What the steps of this pipeline are set up with, where its parameters have these values; or
    /// the secrets that cannot be used.
    pub(crate) fn setup(
        &self,
        pipeline: &Pipeline,
        parameters: ParameterValues,
    ) -> Result<Setup, Vec<String>> {
        let (secrets, wrong) = self.secrets.declared(pipeline);
        if !wrong.is_empty() {
            return Err(wrong.iter().map(ToString::to_string).collect());
        }
        let concurrency = pipeline.batch.concurrency as usize;
        let mut setup = Setup::new(concurrency, &self.program_directory);
        setup.secrets = Arc::new(secrets);
        setup.parameters = Arc::new(parameters);
        setup.amazon = self.amazon.clone();
        Ok(setup)
    }
}
