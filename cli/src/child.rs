//! `rowmill enrich`: one child of a Batch job, as the local Batch starts it. What a container's
//! entry point is on AWS.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use miette::miette;
use rowmill_domain::config::{self, child_exit};
use rowmill_domain::secret::Secrets;
use rowmill_domain::{RunId, keys};
use rowmill_enrich::{Child, Enrich};
use rowmill_local::SqliteLedger;
use rowmill_ports::{Location, Objects};

use crate::cloud::{WORK, buckets};
use crate::exit::{Exit, Stop};
use crate::signals;
use crate::upload::DIRECTORY;

/// What Batch and submit say in the environment.
#[derive(Debug)]
pub(crate) struct Environment {
    state: PathBuf,
    child: Child,
    secrets: Secrets,
}

impl Environment {
    /// Reads it.
    pub(crate) fn read(
        get: impl Fn(&str) -> Option<String>,
        secrets: Secrets,
    ) -> Result<Environment, Stop> {
        let text = |name: &str| {
            get(name).ok_or_else(|| {
                Stop::refused(miette!(
                    "{name} is not set: `rowmill enrich` is started by the local Batch; use `rowmill run`"
                ))
            })
        };
        let wrong = |name: &str| {
            let value = get(name).unwrap_or_default();
            Stop::refused(miette!("{name} cannot be `{value}`"))
        };
        let index = match get(config::AWS_BATCH_JOB_ARRAY_INDEX) {
            Some(index) => Some(
                index
                    .parse()
                    .map_err(|_| wrong(config::AWS_BATCH_JOB_ARRAY_INDEX))?,
            ),
            // A plain job has none.
            None => None,
        };
        Ok(Environment {
            state: PathBuf::from(text(config::ROWMILL_STATE)?),
            child: Child {
                run: text(config::ROWMILL_RUN)?
                    .parse::<RunId>()
                    .map_err(|_| wrong(config::ROWMILL_RUN))?,
                chunk: text(config::ROWMILL_CHUNK)?
                    .parse()
                    .map_err(|_| wrong(config::ROWMILL_CHUNK))?,
                stage: text(config::ROWMILL_STAGE)?
                    .parse()
                    .map_err(|_| wrong(config::ROWMILL_STAGE))?,
                index,
            },
            secrets,
        })
    }
}

/// Works on the child's slice.
pub(crate) async fn enrich(environment: Environment) -> Result<Exit, Stop> {
    end_with_host();
    let stop = signals::stop(Exit::Child(child_exit::INTERRUPTED))?;
    let Environment {
        state,
        child,
        secrets,
    } = environment;
    let unavailable = |what: &str, e: &dyn std::fmt::Display| Stop {
        exit: Exit::Child(child_exit::UNAVAILABLE),
        ..Stop::failed(what, e)
    };
    let objects = buckets(&state).map_err(|e| unavailable("cannot open the buckets", &e))?;
    let objects = Arc::new(objects);
    let ledger =
        SqliteLedger::open(&state).map_err(|e| unavailable("cannot open the ledger", &e))?;

    let pipeline = Location::new(WORK, keys::pipeline(child.run.pipeline()));
    let program_directory = objects
        .head(&pipeline)
        .await
        .map_err(|e| unavailable("cannot find the pipeline's folder", &e))?
        .metadata
        .remove(DIRECTORY)
        .map(PathBuf::from)
        .unwrap_or_default();

    let enrich = Enrich {
        objects,
        ledger: Arc::new(ledger),
        work_bucket: WORK.to_owned(),
        program_directory,
        secrets,
        amazon: None,
    };
    match enrich.run(&child, stop).await {
        Ok(_) => Ok(Exit::Child(child_exit::DONE)),
        Err(e) => Err(Stop {
            exit: Exit::Child(e.exit_code()),
            ..Stop::failed(format_args!("run {}, chunk {}", child.run, child.chunk), e)
        }),
    }
}

/// Ends this process and all that it started once its host is gone: the host holds the other end
/// of stdin and never writes to it.
fn end_with_host() {
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut byte = [0];
        while matches!(stdin.read(&mut byte), Ok(1..)) {}
        let (me, group) = (rustix::process::getpid(), rustix::process::getpgrp());
        if me == group {
            // Programs of steps are in the group; with a machine they would be gone as well.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        std::process::exit(child_exit::UNAVAILABLE.into());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, Stop> {
        let get = |name: &str| {
            let found = pairs.iter().find(|(n, _)| *n == name)?;
            Some(found.1.to_owned())
        };
        Environment::read(get, Secrets::default())
    }

    #[test]
    fn a_plain_job_has_no_index() {
        let mut pairs = vec![
            ("ROWMILL_STATE", "/s"),
            ("ROWMILL_RUN", "20261121-reviews-0123456789ab"),
            ("ROWMILL_CHUNK", "3"),
            ("ROWMILL_STAGE", "1"),
        ];
        let plain = read(&pairs).unwrap();
        assert_eq!(
            (plain.child.chunk, plain.child.stage, plain.child.index),
            (3, 1, None)
        );
        pairs.push(("AWS_BATCH_JOB_ARRAY_INDEX", "7"));
        assert_eq!(read(&pairs).unwrap().child.index, Some(7));
        pairs.push(("ROWMILL_RUN", "x"));
        assert!(read(&pairs[1..]).is_err(), "no state");
        pairs[1].1 = "no run";
        let stop = read(&pairs).unwrap_err();
        assert_eq!(stop.exit, Exit::Refused);
        assert!(stop.reports[0].to_string().contains("ROWMILL_RUN"));
    }
}
