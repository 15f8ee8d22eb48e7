//! Stage submit as a Lambda function. The topic invokes it when a run is split.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowmill_aws::{
    BatchConfig, BatchJobs, DynamoLedger, S3Objects, SdkConfig, SnsTopic, function_image,
    sdk_config,
};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::event::Invocation;
use rowmill_domain::job::Capacity;
use rowmill_runs::WorkBucket;
use rowmill_submit::{Submit, SubmitConfig, SubmitError};
use serde_json::Value;

/// The stage, and where it looks up the image of its jobs.
struct Function {
    submit: Submit,
    sdk: SdkConfig,
    /// The name of the enrich function.
    enrich: String,
}

impl Function {
    /// Looks up the image at every event: a deployment that changes only the image keeps this
    /// Lambda instance running.
    async fn invoke(&self, payload: &Value, cx: &Invocation) -> Result<Option<Value>, SubmitError> {
        let mut submit = self.submit.clone();
        submit.config.image = function_image(&self.sdk, &self.enrich).await?;
        submit.invoke(payload, cx).await
    }
}

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, Function::invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Function> {
    let (sdk, stack) = (sdk_config().await, env.text(ROWMILL_STACK)?);
    let capacity: Capacity = env.value(ROWMILL_CAPACITY)?;
    let batch = BatchConfig {
        job_role: env.text(ROWMILL_JOB_ROLE)?,
        execution_role: env.text(ROWMILL_EXECUTION_ROLE)?,
        log_group: env.text(ROWMILL_LOG_GROUP)?,
        architecture: env.value(ROWMILL_ARCHITECTURE)?,
        capacity,
        assign_public_ip: env
            .optional_value(ROWMILL_ASSIGN_PUBLIC_IP)?
            .unwrap_or(false),
        tags: BTreeMap::from([("rowmill:stack".to_owned(), stack.clone())]),
    };
    let ledger = Arc::new(DynamoLedger::new(&sdk, &stack));
    let objects = Arc::new(S3Objects::new(&sdk));
    let submit = Submit {
        runs: ledger.clone(),
        coordination: ledger,
        work: WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects),
        jobs: Arc::new(BatchJobs::new(&sdk, batch)),
        topic: Arc::new(SnsTopic::new(&sdk, env.text(ROWMILL_TOPIC)?)),
        config: SubmitConfig {
            fetch_buckets: env.list(ROWMILL_FETCH_BUCKETS),
            queue: env.text(ROWMILL_QUEUE)?,
            stack,
            image: String::new(),
            capacity,
            topic: Some(env.text(ROWMILL_TOPIC)?),
            region: sdk.region().map(|region| region.to_string()),
        },
    };
    Ok(Function {
        submit,
        enrich: env.text(ROWMILL_IMAGE_FUNCTION)?,
        sdk,
    })
}
