//! Stage report as a Lambda function. EventBridge invokes it when a job ends, and the topic for
//! failures, checks and bounced mail. Its result goes to cleanup.

use std::sync::Arc;

use rowmill_aws::{BatchJobs, DynamoLedger, S3Objects, SesMailer, sdk_config, secret};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::job::Capacity;
use rowmill_domain::limits::ATTACH_DEFAULT;
use rowmill_domain::link::LinkKey;
use rowmill_report::{Given, Links, Report, ReportConfig};
use rowmill_runs::WorkBucket;

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, Report::invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Report> {
    let sdk = sdk_config().await;
    let links = match env.optional(ROWMILL_LINK_URL) {
        Some(base) => {
            let key = LinkKey::new(secret(&sdk, &env.text(ROWMILL_LINK_KEY)?).await?)?;
            Some(Links { base, key })
        }
        None => None,
    };
    let configuration_set = env.optional(ROWMILL_CONFIGURATION_SET);
    let ledger = Arc::new(DynamoLedger::new(&sdk, env.text(ROWMILL_STACK)?));
    let objects = Arc::new(S3Objects::new(&sdk));
    Ok(Report {
        runs: ledger.clone(),
        outcomes: ledger.clone(),
        coordination: ledger,
        work: WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects),
        jobs: Arc::new(BatchJobs::submitting(
            &sdk,
            env.optional_value(ROWMILL_CAPACITY)?
                .unwrap_or(Capacity::Fargate),
        )),
        mailer: Arc::new(SesMailer::new(&sdk, configuration_set)),
        config: ReportConfig {
            queue: env.text(ROWMILL_QUEUE)?,
            from: env.text(ROWMILL_FROM)?,
            default_to: env.list(ROWMILL_TO),
            allowed_domains: env.list(ROWMILL_ALLOWED_DOMAINS),
            attach_limit: env
                .optional_value(ROWMILL_ATTACH_LIMIT)?
                .unwrap_or(ATTACH_DEFAULT),
            links,
            given: Given::Upload,
        },
        rows_written: Arc::default(),
    })
}
