//! AWS Batch on one machine. Jobs are processes, and the rules of AWS Batch apply.
//!
//! [`rowmill_domain::job::rules`] defines which requests are invalid.
//!
//! | module | content |
//! |---|---|
//! | `config` | the settings of the local Batch |
//! | `api` | the port: register, submit, describe, list, terminate, cancel |
//! | `unit` | a plain job, an array's parent or a child, and its state |
//! | `in_memory` | the port without processes and files, for tests (feature `memory`) |
//! | `job` | a job with the states of itself and its children |
//! | `machine` | all jobs, and how a change of one affects the others |
//! | `store` | the same in `cloud.db`, with the events of each change |
//! | `scheduler` | starts and ends attempts |
//! | `backoff` | when a failed attempt is repeated |
//! | `process` | an attempt as a process |
//! | `memory` | the memory that an attempt uses |
//! | `exit` | how an attempt ended, and whether it is retried |
//! | `orphans` | attempts that outlived a killed host |
//! | `simulator` | a run with a virtual clock, without processes |
//!
//! Differences from AWS:
//!
//! - SubmitJob rejects overrides that are too long. AWS accepts the job and fails it later.
//! - A PENDING job that is cancelled fails at once. AWS waits until its dependencies have ended.
//! - There are two queues, whose jobs share the slots. Priorities hold across both.
//! - Capacity is a number of slots, not vCPUs. An attempt that uses more memory than its job has is
//!   killed, where there is `/proc`; it is looked at several times a second.

mod api;
mod backoff;
mod config;
mod exit;
#[cfg(feature = "memory")]
mod in_memory;
mod job;
mod machine;
mod memory;
mod orphans;
mod process;
mod scheduler;
mod simulator;
mod store;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use rowmill_domain::job::{JobDetail, JobId, JobStateChange};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::{Cloud, LocalError};
pub use config::BatchConfig;
#[cfg(feature = "memory")]
pub use in_memory::{Clock, MemoryBatch, MemoryExit, StartedAttempt};
use machine::Machine;
use process::Interrupt;
pub use simulator::{Simulation, simulate};
use unit::{StateChange, Unit};

/// The local Batch. Cheap to clone; all clones share their state.
///
/// When a call returns, its changes and their events are in `cloud.db`. Children run only while
/// [`LocalBatch::run`] is running.
#[derive(Clone)]
pub struct LocalBatch {
    inner: Arc<Inner>,
}

struct Inner {
    cloud: Cloud,
    config: BatchConfig,
    /// `None` after a failed write; the state is then read from `cloud.db` again.
    machine: Mutex<Option<Machine>>,
    /// Wakes the scheduler when there may be something to start.
    wake: Notify,
    interrupts: mpsc::UnboundedSender<(Unit, Interrupt)>,
    /// Locked by the running scheduler.
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Unit, Interrupt)>>,
    /// Times of the calls of SubmitJob in the last second.
    submits: Mutex<VecDeque<Instant>>,
    /// The number of the last event.
    last_event: watch::Sender<i64>,
    /// Why the last child could not be started. `None` once one starts.
    cannot_start: Mutex<Option<String>>,
}

impl LocalBatch {
    /// Opens the jobs in `cloud`. Attempts that were running when the last host was killed are
    /// killed if they still run; their jobs become RUNNABLE again and lose no attempt.
    ///
    /// Only one local Batch may use a state directory (see [`crate::StateLock`]): a second one
    /// would kill the attempts of the first.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub fn open(cloud: Cloud, config: BatchConfig) -> Result<LocalBatch, LocalError> {
        cloud.with(|conn| store::prepare(conn, now()))?;
        let last = cloud.with(|conn| store::last_event(conn))?;
        let (interrupts, received) = mpsc::unbounded_channel();
        let batch = LocalBatch {
            inner: Arc::new(Inner {
                cloud,
                config,
                machine: Mutex::new(None),
                wake: Notify::new(),
                interrupts,
                received: tokio::sync::Mutex::new(received),
                submits: Mutex::default(),
                last_event: watch::Sender::new(last),
                cannot_start: Mutex::default(),
            }),
        };
        batch.transact(|machine| {
            orphans::kill_orphans(|id| machine.find(&JobId(id.to_owned())).is_some());
            machine.lose_all(now());
        })?;
        batch.remove_old_logs()?;
        Ok(batch)
    }

    /// Why children cannot be started at the moment, because of this machine. They are started again and
    /// again.
    pub fn cannot_start(&self) -> Option<String> {
        let why = self.inner.cannot_start.lock();
        why.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_cannot_start(&self, why: Option<String>) {
        let now = self.inner.cannot_start.lock();
        *now.unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Removes the logs of jobs that are no longer stored, like the retention of a log group.
    fn remove_old_logs(&self) -> Result<(), LocalError> {
        let logs = &self.inner.config.logs;
        let entries = match std::fs::read_dir(logs) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(LocalError::file(logs))?,
        };
        for entry in entries {
            let entry = entry.map_err(LocalError::file(logs))?;
            let id = JobId(entry.file_name().to_string_lossy().into_owned());
            if self.transact(|machine| machine.find(&id).is_none())? {
                let directory = entry.path();
                std::fs::remove_dir_all(&directory).map_err(LocalError::file(&directory))?;
            }
        }
        Ok(())
    }

    /// Changes of state of jobs and children, oldest first, with their event numbers: at most
    /// `limit` after event number `after` (0: from the start). Events are stored as long as their
    /// jobs.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, JobStateChange)>, LocalError> {
        let cloud = &self.inner.cloud;
        let changes = cloud.with(|conn| store::events(conn, after, limit))?;
        self.transact(|machine| {
            let event = |(number, change): (i64, StateChange)| {
                let job = machine.job(change.unit.job)?;
                Some((number, job.event(&change)))
            };
            changes.into_iter().filter_map(event).collect()
        })
    }

    /// Watches the number of the last event.
    pub fn last_event(&self) -> watch::Receiver<i64> {
        self.inner.last_event.subscribe()
    }

    /// Waits until a job has ended. `None` if there is no such job.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn wait_for_end(&self, id: &JobId) -> Result<Option<JobDetail>, LocalError> {
        let mut last_event = self.last_event();
        loop {
            last_event.mark_unchanged();
            match self.detail(id)? {
                Some(job) if !job.status.is_terminal() => {}
                found => return Ok(found),
            }
            // The sender lives as long as `self`.
            let _ = last_event.changed().await;
        }
    }

    /// Simulates the loss of a job's host, such as the end of a Spot instance: the attempt is killed
    /// at once, and the job's retry strategy applies. For tests.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn lose_host(&self, id: &JobId) -> Result<(), LocalError> {
        let unit = self.transact(|machine| machine.find(id))?;
        if let Some(unit) = unit {
            // The receiver lives as long as `self`.
            let _ = self.inner.interrupts.send((unit, Interrupt::LoseHost));
        }
        Ok(())
    }

    /// The path of the log of an attempt.
    pub fn log_path(&self, id: &JobId, attempt: u32) -> PathBuf {
        let directory = self.inner.config.logs.join(&id.0);
        directory.join(format!("{attempt}.log"))
    }

    /// Removes the logs of a job and its children.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_logs(&self, id: &JobId) -> Result<(), LocalError> {
        let units = self.transact(|machine| {
            let job = machine.find(id).and_then(|unit| machine.job(unit.job));
            let children = job.and_then(|job| job.spec.size).unwrap_or(0);
            (0..children).map(|i| id.child(i)).collect::<Vec<_>>()
        })?;
        for id in units.iter().chain([id]) {
            let directory = self.inner.config.logs.join(&id.0);
            match std::fs::remove_dir_all(&directory) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LocalError::file(&directory)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn detail(&self, id: &JobId) -> Result<Option<JobDetail>, LocalError> {
        self.transact(|machine| {
            let unit = machine.find(id)?;
            let detail = machine.job(unit.job)?.detail(unit.index);
            Some(self.with_log(detail))
        })
    }

    /// Adds the path of the log of the last attempt.
    fn with_log(&self, mut job: JobDetail) -> JobDetail {
        if job.attempts > 0 && job.array_size.is_none() {
            let path = self.log_path(&job.id, job.attempts);
            job.log = Some(path.display().to_string());
        }
        job
    }

    /// Runs `work` with exclusive access to the jobs, and saves the changes before returning.
    fn transact<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> Result<T, LocalError> {
        let inner = &self.inner;
        // After a panic the slot is empty, and the state is read again.
        let mut slot = inner.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut machine = match slot.take() {
            Some(machine) => machine,
            None => inner.cloud.with(|conn| store::load(conn))?,
        };
        let answer = work(&mut machine);
        let changes = machine.take_changes();
        if !changes.is_empty() {
            let chaos = inner.config.chaos.as_ref();
            let last = inner
                .cloud
                .with(|conn| store::save(conn, &machine, &changes, chaos))?;
            inner.last_event.send_replace(last);
        }
        *slot = Some(machine);
        Ok(answer)
    }

    /// A number of AWS's seconds in real time.
    fn scaled(&self, seconds: u32) -> Duration {
        let seconds = f64::from(seconds) * self.inner.config.clock_scale;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

fn now() -> i64 {
    Utc::now().timestamp_millis()
}
