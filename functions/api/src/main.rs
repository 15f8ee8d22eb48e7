//! The HTTP interface as a Lambda function behind an HTTP API.

mod amazon;

use std::sync::Arc;

use rowmill_api::{Api, ClaimsAccess, Deployed, Indexes, Rates, Service, SignIn, deployed_router};
use rowmill_aws::{
    BatchJobs, DynamoLedger, LambdaFunction, S3Objects, SesMailer, SnsTopic, sdk_config, secret,
};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::link::LinkKey;
use rowmill_runs::WorkBucket;
use rowmill_tiers::CurrentTiers;

use amazon::{AmazonHost, Itself};

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<()> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    rowmill_lambda::run(environment, set_up, Deployed::invoke)
}

async fn set_up(env: &Environment) -> anyhow::Result<Deployed> {
    let sdk = sdk_config().await;
    let objects = Arc::new(S3Objects::new(&sdk));
    let work = WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects.clone());
    let ledger = Arc::new(DynamoLedger::new(&sdk, env.text(ROWMILL_STACK)?));
    let api = Api {
        work: work.clone(),
        link_key: LinkKey::new(secret(&sdk, &env.text(ROWMILL_LINK_KEY)?).await?)?,
        mailer: Arc::new(SesMailer::new(&sdk, None)),
        identity: env.text(ROWMILL_IDENTITY)?,
        sender: Default::default(),
    };
    let issuer = env.optional(ROWMILL_ISSUER);
    let mut sites = env.list(ROWMILL_SIGN_IN_SITES);
    sites.push(objects.origin(work.name()).await?);
    let access = ClaimsAccess {
        role: env.text(ROWMILL_ROLE_CLAIM)?,
        name: env.text(ROWMILL_NAME_CLAIM)?,
        sign_in: issuer
            .zip(env.optional(ROWMILL_CLIENT))
            .map(|(issuer, client)| SignIn { issuer, client }),
        sites,
    };
    let host = AmazonHost {
        objects: objects.clone(),
        work: work.clone(),
        runs: ledger.clone(),
        jobs: Arc::new(BatchJobs::asking(&sdk)),
        enrich: LambdaFunction::new(&sdk, env.text(ROWMILL_IMAGE_FUNCTION)?),
        labels: Default::default(),
    };
    let service = Arc::new(Service {
        work: work.clone(),
        inbox: WorkBucket::new(env.text(ROWMILL_INBOX_BUCKET)?, objects),
        runs: ledger.clone(),
        outcomes: ledger.clone(),
        host: Arc::new(host),
        background: Some(Arc::new(Itself(LambdaFunction::new(
            &sdk,
            env.text(AWS_LAMBDA_FUNCTION_NAME)?,
        )))),
        topic: Arc::new(SnsTopic::new(&sdk, env.text(ROWMILL_TOPIC)?)),
        reviews: ledger.clone(),
        submitters: ledger,
        tiers: CurrentTiers::new(work.clone()),
        indexes: Indexes::default(),
        rates: Rates::default(),
    });
    Ok(Deployed {
        router: deployed_router(Arc::new(api), service.clone(), &access),
        service,
    })
}
