//! Stage cleanup as a Lambda function. The result of report, the scheduled check of a run and the
//! scheduled sweep invoke it.

use std::sync::Arc;

use rowmill_aws::{BatchJobs, DynamoLedger, EventBridgeScheduler, S3Objects, SnsTopic, sdk_config};
use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::run::{RUNNABLE_AFTER, STALLED_AFTER};

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, Cleanup::invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Cleanup> {
    let (sdk, stack) = (sdk_config().await, env.text(ROWMILL_STACK)?);
    let topic = env.text(ROWMILL_TOPIC)?;
    let (group, role) = (
        env.text(ROWMILL_SCHEDULE_GROUP)?,
        env.text(ROWMILL_SCHEDULE_ROLE)?,
    );
    Ok(Cleanup {
        objects: Arc::new(S3Objects::new(&sdk)),
        ledger: Arc::new(DynamoLedger::new(&sdk, &stack)),
        jobs: Arc::new(BatchJobs::asking(&sdk)),
        topic: Arc::new(SnsTopic::new(&sdk, &topic)),
        scheduler: Arc::new(EventBridgeScheduler::new(&sdk, group, role, topic)),
        config: CleanupConfig {
            work_bucket: env.text(ROWMILL_WORK_BUCKET)?,
            queue: env.text(ROWMILL_QUEUE)?,
            stack,
            stalled_after: STALLED_AFTER,
            runnable_after: RUNNABLE_AFTER,
        },
    })
}
