//! Stage split as a Lambda function. The notification of an upload by S3 invokes it.

use std::sync::Arc;

use rowmill_aws::{DynamoLedger, EventBridgeScheduler, S3Objects, SnsTopic, sdk_config};
use rowmill_domain::Submitter;
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::run::STALLED_AFTER;
use rowmill_planning::{Architecture, Quotas};
use rowmill_runs::WorkBucket;
use rowmill_split::Split;
use rowmill_tiers::CurrentTiers;

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, Split::invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Split> {
    let (sdk, topic) = (sdk_config().await, env.text(ROWMILL_TOPIC)?);
    let (group, role) = (
        env.text(ROWMILL_SCHEDULE_GROUP)?,
        env.text(ROWMILL_SCHEDULE_ROLE)?,
    );
    let objects = Arc::new(S3Objects::new(&sdk));
    let ledger = DynamoLedger::new(&sdk, env.text(ROWMILL_STACK)?);
    let ledger = Arc::new(ledger.encrypted_with(env.optional(ROWMILL_TABLE_KEY)));
    let work = WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects.clone());
    Ok(Split {
        inbox: objects,
        work: work.clone(),
        runs: ledger.clone(),
        submitters: ledger.clone(),
        tiers: CurrentTiers::new(work),
        default_submitter: default_submitter(env)?,
        outcomes: ledger.clone(),
        coordination: ledger,
        topic: Arc::new(SnsTopic::new(&sdk, &topic)),
        scheduler: Arc::new(EventBridgeScheduler::new(&sdk, group, role, topic)),
        stalled_after: STALLED_AFTER,
        quotas: quotas(env)?,
        rows_read: Arc::default(),
    })
}

/// The first of the default recipients. `None`: there are none.
fn default_submitter(env: &Environment) -> anyhow::Result<Option<Submitter>> {
    let recipients = env.list(ROWMILL_TO);
    Ok(recipients.first().map(|to| to.parse()).transpose()?)
}

/// What the deployment gives its runs.
fn quotas(env: &Environment) -> anyhow::Result<Quotas> {
    Ok(Quotas {
        max_vcpus: env.value(ROWMILL_MAX_VCPUS)?,
        architecture: match env.text(ROWMILL_ARCHITECTURE)?.as_str() {
            "arm64" => Architecture::Arm,
            _ => Architecture::X86,
        },
        ..Quotas::default()
    })
}
