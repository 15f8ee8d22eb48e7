//! Opens the adapters of a local stack and wires the stages to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rowmill_cleanup::{Cleanup, CleanupConfig};
use rowmill_domain::config;
use rowmill_domain::job::Capacity;
use rowmill_domain::limits::ATTACH_DEFAULT;
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::bus::Chaos;
use rowmill_local::{
    Cloud, EmlOutbox, LocalArchive, LocalError, LocalScheduler, LocalTopic, SqliteLedger,
    StateLock, create_private,
};
use rowmill_planning::Quotas;
use rowmill_ports::Mailer;
use rowmill_report::{Given, Report, ReportConfig};
use rowmill_retention::Retention;
use rowmill_runs::WorkBucket;
use rowmill_split::Split;
use rowmill_submit::{Submit, SubmitConfig};
use rowmill_tiers::CurrentTiers;

use super::stages::Stages;
use super::{INBOX, LOGS, LocalStack, STATE, StackOptions, TEMPORARY, WORK, buckets};
use crate::output::say;

/// The name of the stack, the queue and the image on one machine.
const STACK: &str = "rowmill";
/// The sender of emails.
const FROM: &str = "rowmill@localhost";
/// The recipient of emails if a pipeline names none.
const TO: &str = "you@localhost";

/// A run without progress for this long is checked: long compared with the time between two stages
/// on one machine, short for a person who waits.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// A job that waits this long while nothing runs is reported.
const RUNNABLE_AFTER: Duration = Duration::from_secs(600);

impl LocalStack {
    /// Opens `<out>/.rowmill`, and creates it if it does not exist. Refused while another command
    /// holds it.
    pub(crate) fn open(out: &Path, options: StackOptions) -> Result<LocalStack, LocalError> {
        let state = std::path::absolute(out.join(STATE)).map_err(|source| LocalError::File {
            path: out.to_owned(),
            source,
        })?;
        let lock = StateLock::take(&state)?;
        temporary_files(&state.join(TEMPORARY))?;
        let chaos = options.chaos.map(|seed| Chaos { seed });
        let (ledger, cloud) = databases(&state)?;
        let objects = Arc::new(buckets(&state)?);
        let topic = Arc::new(LocalTopic::new(cloud.clone(), chaos));
        let scheduler = Arc::new(LocalScheduler::new(cloud.clone()));
        let program = std::env::current_exe().map_err(|source| LocalError::File {
            path: "rowmill".into(),
            source,
        })?;
        let batch = LocalBatch::open(
            cloud.clone(),
            BatchConfig {
                queue: STACK.to_owned(),
                slots: options.slots.map_or_else(cores, usize::from),
                program: vec![program.display().to_string(), "enrich".to_owned()],
                environment: BTreeMap::from([(
                    config::ROWMILL_STATE.to_owned(),
                    state.display().to_string(),
                )]),
                logs: state.join(LOGS),
                chaos,
                clock_scale: 1.0,
            },
        )?;
        // Now that no child of an earlier command is left.
        objects.remove_empty_directories()?;
        let mailer: Arc<dyn Mailer> = match options.relay {
            Some(relay) => Arc::new(relay),
            None => Arc::new(EmlOutbox::open(&state.join("outbox"))?),
        };
        let jobs = Arc::new(batch.clone());
        let work = WorkBucket::new(WORK, objects.clone());
        let stages = Stages {
            split: Split {
                inbox: objects.clone(),
                work: work.clone(),
                runs: ledger.clone(),
                submitters: ledger.clone(),
                tiers: CurrentTiers::new(work.clone()),
                default_submitter: TO.parse().ok(),
                outcomes: ledger.clone(),
                coordination: ledger.clone(),
                topic: topic.clone(),
                scheduler: scheduler.clone(),
                stalled_after: STALLED_AFTER,
                quotas: Quotas::default(),
                rows_read: Arc::default(),
            },
            submit: Submit {
                runs: ledger.clone(),
                coordination: ledger.clone(),
                work: work.clone(),
                jobs: jobs.clone(),
                topic: topic.clone(),
                config: SubmitConfig {
                    fetch_buckets: Vec::new(),
                    queue: STACK.to_owned(),
                    stack: STACK.to_owned(),
                    image: STACK.to_owned(),
                    capacity: Capacity::Ec2,
                    topic: None,
                    region: None,
                },
            },
            report: Report {
                runs: ledger.clone(),
                outcomes: ledger.clone(),
                coordination: ledger.clone(),
                work: work.clone(),
                jobs: jobs.clone(),
                mailer: mailer.clone(),
                config: ReportConfig {
                    queue: STACK.to_owned(),
                    from: FROM.to_owned(),
                    default_to: vec![TO.to_owned()],
                    allowed_domains: Vec::new(),
                    attach_limit: ATTACH_DEFAULT,
                    links: None,
                    given: Given::Command,
                },
                rows_written: Arc::default(),
            },
            cleanup: Cleanup {
                runs: ledger.clone(),
                outcomes: ledger.clone(),
                coordination: ledger.clone(),
                work: work.clone(),
                inbox: WorkBucket::new(INBOX, objects.clone()),
                jobs,
                topic,
                scheduler: scheduler.clone(),
                mailer,
                config: CleanupConfig {
                    queue: STACK.to_owned(),
                    stack: STACK.to_owned(),
                    stalled_after: STALLED_AFTER,
                    runnable_after: RUNNABLE_AFTER,
                    identity: None,
                },
            },
            retention: Retention {
                runs: ledger.clone(),
                archive: Arc::new(LocalArchive::new(objects.clone(), cloud.clone())),
                work,
                scheduler,
            },
        };
        Ok(LocalStack {
            state,
            cloud,
            objects,
            ledger,
            batch,
            stages: Arc::new(stages),
            chaos,
            lock,
        })
    }
}

/// Opens the databases of a state directory.
pub(crate) fn databases(state: &Path) -> Result<(Arc<SqliteLedger>, Cloud), LocalError> {
    let ledger = SqliteLedger::open(state)?;
    // Before the new one exists, so that this is repeated if it is interrupted.
    if Cloud::is_missing(state) && ledger.forget_open_work()? {
        say!("cloud.db was lost; unfinished runs continue with the records that are not done");
    }
    Ok((Arc::new(ledger), Cloud::open(state)?))
}

/// Puts the stages' temporary files into the state directory, and removes those that a killed
/// command left there.
fn temporary_files(directory: &Path) -> Result<(), LocalError> {
    let file = |source| LocalError::File {
        path: directory.to_owned(),
        source,
    };
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file(e)),
        _ => {}
    }
    create_private(directory).map_err(file)?;
    // Fails if a process opens a second stack, as a test may; the first directory then stays in use.
    let _ = tempfile::env::override_temp_dir(directory);
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
