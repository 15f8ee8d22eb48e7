//! `rowmill enrich`: one child of a Batch job, as the local Batch starts it. It does what the entry
//! point of the container does on AWS.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use miette::miette;
use rowmill_domain::config::{self, child_exit};
use rowmill_domain::environment::Environment;
use rowmill_domain::keys;
use rowmill_domain::secret::Secrets;
use rowmill_enrich::{Child, Enrich, HostResources, ProgramFetcher};
use rowmill_local::{Cloud, LocalTopic, SqliteLedger};
use rowmill_runs::WorkBucket;

use crate::error::CliError;
use crate::exit::Exit;
use crate::run::upload::DIRECTORY;
use crate::signals;
use crate::stack::{TEMPORARY, WORK, buckets};

/// Processes the slice that the environment names.
pub(crate) async fn enrich(environment: &Environment, secrets: Secrets) -> Result<Exit, CliError> {
    let refused = |e| {
        CliError::refused(miette!(
            "{e}: `rowmill enrich` is started by the local Batch; use `rowmill run`"
        ))
    };
    let state = PathBuf::from(environment.text(config::ROWMILL_STATE).map_err(refused)?);
    let child = Child::from_environment(environment).map_err(refused)?;
    end_with_host();
    let stop = signals::stop(Exit::Child(child_exit::INTERRUPTED))?;
    let unavailable = |what: &str, e: &dyn std::fmt::Display| CliError {
        exit: Exit::Child(child_exit::UNAVAILABLE),
        ..CliError::failed(what, e)
    };
    let objects = buckets(&state).map_err(|e| unavailable("cannot open the buckets", &e))?;
    let work = WorkBucket::new(WORK, Arc::new(objects));
    let ledger =
        SqliteLedger::open(&state).map_err(|e| unavailable("cannot open the ledger", &e))?;
    let ledger = Arc::new(ledger);
    let cloud = Cloud::open(&state).map_err(|e| unavailable("cannot open the queue", &e))?;

    let program_directory = work
        .head(&keys::pipeline(&child.run.pipeline()))
        .await
        .map_err(|e| unavailable("cannot find the pipeline's folder", &e))?
        .metadata
        .remove(DIRECTORY)
        .map(PathBuf::from)
        .unwrap_or_default();

    let enrich = Enrich {
        work: work.clone(),
        runs: ledger.clone(),
        topic: Arc::new(LocalTopic::new(cloud, None)),
        outcomes: ledger.clone(),
        coordination: ledger,
        host: HostResources {
            program_directory,
            secrets,
            amazon: None,
            fetcher: ProgramFetcher {
                work: Some(work),
                buckets: Vec::new(),
                // Emptied when a stack is opened.
                scratch: Some(state.join(TEMPORARY)),
            },
        },
    };
    match enrich.run(&child, stop).await {
        Ok(_) => Ok(Exit::Child(child_exit::DONE)),
        Err(e) => Err(CliError {
            exit: Exit::Child(e.exit_code()),
            ..CliError::failed(format_args!("run {}, chunk {}", child.run, child.chunk), e)
        }),
    }
}

/// Ends this process and everything it started when its host is gone. The host holds the other end
/// of standard input and never writes to it.
fn end_with_host() {
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut byte = [0];
        while matches!(stdin.read(&mut byte), Ok(1..)) {}
        let (me, group) = (rustix::process::getpid(), rustix::process::getpgrp());
        if me == group {
            // The programs of steps are in the group. On AWS they end with the container.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        std::process::exit(child_exit::UNAVAILABLE.into());
    });
}
