//! Stage cleanup as a Lambda function. The result of report, the scheduled check of a run and the
//! scheduled sweep invoke it.

use std::sync::Arc;

use rowmill_aws::{
    BatchJobs, DynamoLedger, EventBridgeScheduler, S3Objects, SesMailer, SnsTopic, sdk_config,
};
use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::run::{RUNNABLE_AFTER, STALLED_AFTER};
use rowmill_runs::WorkBucket;

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
    let ledger = Arc::new(DynamoLedger::new(&sdk, &stack));
    let objects = Arc::new(S3Objects::new(&sdk));
    Ok(Cleanup {
        runs: ledger.clone(),
        outcomes: ledger.clone(),
        coordination: ledger,
        work: WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects.clone()),
        inbox: WorkBucket::new(env.text(ROWMILL_INBOX_BUCKET)?, objects),
        jobs: Arc::new(BatchJobs::asking(&sdk)),
        topic: Arc::new(SnsTopic::new(&sdk, &topic)),
        mailer: Arc::new(SesMailer::new(&sdk, None)),
        scheduler: Arc::new(EventBridgeScheduler::new(&sdk, group, role, topic)),
        config: CleanupConfig {
            queue: env.text(ROWMILL_QUEUE)?,
            stack,
            stalled_after: STALLED_AFTER,
            runnable_after: RUNNABLE_AFTER,
            identity: Some(env.text(ROWMILL_IDENTITY)?),
        },
    })
}
