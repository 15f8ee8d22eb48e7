//! The HTTP interface as a Lambda function behind an HTTP API.

use std::sync::Arc;

use axum::Router;
use rowmill_api::{Api, invoke, router};
use rowmill_aws::{S3Objects, SesMailer, sdk_config, secret};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::link::LinkKey;
use rowmill_runs::WorkBucket;

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Router> {
    let sdk = sdk_config().await;
    let objects = Arc::new(S3Objects::new(&sdk));
    Ok(router(Arc::new(Api {
        work: WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects),
        link_key: LinkKey::new(secret(&sdk, &env.text(ROWMILL_LINK_KEY)?).await?)?,
        mailer: Arc::new(SesMailer::new(&sdk, None)),
        identity: env.text(ROWMILL_IDENTITY)?,
        sender: Default::default(),
    })))
}
