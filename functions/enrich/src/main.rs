//! Stage enrich. In a container of AWS Batch this is a child of a job. On Lambda, from the same
//! image, it is the function that previews a pipeline.

use std::process::ExitCode;
use std::sync::Arc;

use rowmill_aws::{AmazonTranslate, DynamoLedger, S3Objects, SdkConfig, SnsTopic, sdk_config};
use rowmill_domain::config::*;
use rowmill_domain::environment::Environment;
use rowmill_domain::secret::Secrets;
use rowmill_enrich::{Child, Enrich, HostResources, Previews, ProgramFetcher};
use rowmill_runs::WorkBucket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[expect(clippy::disallowed_methods, reason = "a main")]
fn main() -> anyhow::Result<ExitCode> {
    let environment = Environment::new(|name| std::env::var(name).ok());
    if environment.optional(AWS_LAMBDA_RUNTIME_API).is_some() {
        rowmill_lambda::run(environment, previews, Previews::invoke)?;
        return Ok(ExitCode::SUCCESS);
    }
    rowmill_lambda::log(&environment);
    let runtime = tokio::runtime::Runtime::new()?;
    let code = runtime.block_on(child(&environment));
    // A blocking call that is still running must not delay the exit.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}

/// Processes the slice that the environment names. Returns the exit code.
async fn child(environment: &Environment) -> u8 {
    let worked = async {
        let child = Child::from_environment(environment)?;
        let enrich = enrich(environment).await?;
        // From now on SIGTERM, which Batch sends before it stops a child, lets records in flight
        // finish.
        let (stopper, stop) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            terminate.recv().await;
            stopper.send_replace(true);
        });
        anyhow::Ok((child.clone(), enrich.run(&child, stop).await))
    };
    match worked.await {
        Ok((child, Ok(report))) => {
            tracing::info!(run = %child.run, chunk = child.chunk, ?report, "slice done");
            child_exit::DONE
        }
        Ok((child, Err(error))) => {
            tracing::error!(run = %child.run, chunk = child.chunk, %error, "child failed");
            error.exit_code()
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "child cannot start");
            child_exit::MISCONFIGURED
        }
    }
}

async fn enrich(env: &Environment) -> anyhow::Result<Enrich> {
    let sdk = sdk_config().await;
    let work = work_bucket(env, &sdk)?;
    let ledger = Arc::new(DynamoLedger::new(&sdk, env.text(ROWMILL_STACK)?));
    Ok(Enrich {
        work: work.clone(),
        runs: ledger.clone(),
        topic: Arc::new(SnsTopic::new(&sdk, env.text(ROWMILL_TOPIC)?)),
        outcomes: ledger.clone(),
        coordination: ledger,
        host: host(env, work, AmazonTranslate::new(&sdk)),
    })
}

async fn previews(env: &Environment) -> anyhow::Result<Previews> {
    let sdk = sdk_config().await;
    let work = work_bucket(env, &sdk)?;
    Ok(Previews {
        work: work.clone(),
        host: host(env, work, AmazonTranslate::new(&sdk)),
    })
}

fn work_bucket(env: &Environment, sdk: &SdkConfig) -> anyhow::Result<WorkBucket> {
    let objects = Arc::new(S3Objects::new(sdk));
    Ok(WorkBucket::new(env.text(ROWMILL_WORK_BUCKET)?, objects))
}

fn host(env: &Environment, work: WorkBucket, amazon: AmazonTranslate) -> HostResources {
    HostResources {
        // The container's working directory.
        program_directory: ".".into(),
        secrets: Secrets::from_environment(std::env::vars_os()),
        amazon: Some(Arc::new(amazon)),
        fetcher: ProgramFetcher {
            work: Some(work),
            buckets: env.list(ROWMILL_FETCH_BUCKETS),
            scratch: None,
        },
    }
}
