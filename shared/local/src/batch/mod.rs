//! AWS Batch on one machine: jobs are processes, and its rules are kept.
//!
//! What a request must not be says [`rowmill_domain::job::rules`].
//!
//! | part | what |
//! |---|---|
//! | `exit` | how an attempt ended, and whether another follows |
//! | `job` | a job and its states |
//! | `state` | all jobs, and how they move each other |
//! | `store` | the same in `cloud.db`, with the events that tell of it |
//! | `process` | an attempt as a process |
//! | `scheduler` | starts and ends attempts |
//!
//! Where it differs from AWS: overrides that are too long are refused by SubmitJob (AWS takes
//! the job and fails it when it would start); a PENDING job that is cancelled fails at once (AWS
//! waits until its dependencies have ended); there is one queue; nothing is drawn from a pool of
//! vCPUs and memory, only from a number of slots.

mod api;
mod config;
mod exit;
mod job;
mod machine;
mod orphans;
mod process;
mod scheduler;
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
use machine::Machine;
use process::Order;
use unit::{Change, Unit};

/// The local Batch. Cheap to clone; all clones are the same one.
///
/// Every call that changes something has written it to `cloud.db`, with the events that tell of
/// it, when it returns. Children run only while [`LocalBatch::work`] does.
#[derive(Clone)]
pub struct LocalBatch {
    inner: Arc<Inner>,
}

struct Inner {
    cloud: Cloud,
    config: BatchConfig,
    /// `None` after a failed write: what is kept counts, and is read again.
    machine: Mutex<Option<Machine>>,
    /// Wakes the scheduler: there may be something to start.
    wake: Notify,
    orders: mpsc::UnboundedSender<(Unit, Order)>,
    /// Held by the one scheduler.
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Unit, Order)>>,
    /// Times of the last calls of SubmitJob.
    submits: Mutex<VecDeque<Instant>>,
    /// The number of the last event.
    told: watch::Sender<i64>,
}

impl LocalBatch {
    /// Opens the jobs kept in `cloud`. Attempts that were under way when the last host died are
    /// ended if they still run, and their jobs wait for a place again, without an attempt less.
    ///
    /// One at a time for a state directory (see [`crate::StateLock`]): a second one would take
    /// the first one's attempts for leftovers.
    ///
    /// # Errors
    /// The database fails or cannot be read.
    pub fn open(cloud: Cloud, config: BatchConfig) -> Result<LocalBatch, LocalError> {
        cloud.with(|conn| store::prepare(conn, now()))?;
        let last = cloud.with(|conn| store::last_event(conn))?;
        let (orders, received) = mpsc::unbounded_channel();
        let batch = LocalBatch {
            inner: Arc::new(Inner {
                cloud,
                config,
                machine: Mutex::new(None),
                wake: Notify::new(),
                orders,
                received: tokio::sync::Mutex::new(received),
                submits: Mutex::default(),
                told: watch::Sender::new(last),
            }),
        };
        batch.transact(|machine| {
            orphans::kill_orphans(|id| machine.find(&JobId(id.to_owned())).is_some());
            machine.lose_all(now());
        })?;
        batch.forget_logs()?;
        Ok(batch)
    }

    /// Removes the output of jobs that are forgotten, as a log group's retention does.
    fn forget_logs(&self) -> Result<(), LocalError> {
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

    /// Every change of a job's state after event number `after` (0: from the start), children's
    /// too, oldest first, at most `limit`; each with its number. Kept as long as their jobs.
    ///
    /// # Errors
    /// The database fails.
    pub fn events(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, JobStateChange)>, LocalError> {
        let cloud = &self.inner.cloud;
        let changes = cloud.with(|conn| store::events(conn, after, limit))?;
        self.transact(|machine| {
            let told = |(number, change): (i64, Change)| {
                let job = machine.job(change.unit.job)?;
                Some((number, job.change(&change)))
            };
            changes.into_iter().filter_map(told).collect()
        })
    }

    /// The number of the last event; changes with each new one.
    pub fn told(&self) -> watch::Receiver<i64> {
        self.inner.told.subscribe()
    }

    /// Waits until a job has ended. `None` where there is no such job.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ended(&self, id: &JobId) -> Result<Option<JobDetail>, LocalError> {
        let mut told = self.told();
        loop {
            told.mark_unchanged();
            match self.detail(id)? {
                Some(job) if !job.status.is_terminal() => {}
                found => return Ok(found),
            }
            // The sender lives as long as `self`.
            let _ = told.changed().await;
        }
    }

    /// Takes the host away from under a running job, as the end of a Spot instance does: it is
    /// killed at once, and its strategy decides whether it is tried again. For tests.
    ///
    /// # Errors
    /// The database fails.
    pub fn lose_host(&self, id: &JobId) -> Result<(), LocalError> {
        let unit = self.transact(|machine| machine.find(id))?;
        if let Some(unit) = unit {
            // The receiver lives as long as `self`.
            let _ = self.inner.orders.send((unit, Order::LoseHost));
        }
        Ok(())
    }

    /// The output of a job's attempt.
    pub fn log(&self, id: &JobId, attempt: u32) -> PathBuf {
        let directory = self.inner.config.logs.join(&id.0);
        directory.join(format!("{attempt}.log"))
    }

    /// Removes the output of a job and of its children.
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
            Some(machine.job(unit.job)?.detail(unit.index))
        })
    }

    /// Works on the states, alone, and writes what changed before anybody sees it.
    fn transact<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> Result<T, LocalError> {
        let inner = &self.inner;
        // After a panic the place is empty, and what is kept is read again.
        let mut place = inner.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut machine = match place.take() {
            Some(machine) => machine,
            None => inner.cloud.with(|conn| store::load(conn))?,
        };
        let answer = work(&mut machine);
        let changes = machine.take_changes();
        if !changes.is_empty() {
            let chaos = inner.config.chaos.as_ref();
            let last = inner
                .cloud
                .with(|conn| store::keep(conn, &machine, &changes, chaos))?;
            inner.told.send_replace(last);
        }
        *place = Some(machine);
        Ok(answer)
    }

    /// AWS's seconds in real time.
    fn scaled(&self, seconds: u32) -> Duration {
        let seconds = f64::from(seconds) * self.inner.config.clock_scale;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

fn now() -> i64 {
    Utc::now().timestamp_millis()
}
