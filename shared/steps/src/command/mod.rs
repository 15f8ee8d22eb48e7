//! `command`: a program of the user's, JSON Lines both ways: one long-lived process per child, or
//! one process for each record ([`each`]).
//!
//! To the long-lived one several records are given at once; it may answer in any order, one line each.
//! [`wire`] has the lines, [`process`] the process, [`driver`] who waits for what and what
//! happens when the program crashes or hangs.

mod breaker;
mod driver;
mod each;
mod process;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use rowmill_domain::Row;
use rowmill_pipeline::{CommandStep, ProcessPer};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::breaker::Breaker;
use self::driver::{Driver, Job};
use self::process::Launch;
use crate::{Runner, Setup, SetupError, StepResult};

/// Longest line of the program's, in bytes; a cell takes 32,767 characters.
const LINE_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Command {
    launch: Launch,
    outputs: Vec<Arc<str>>,
    timeout: Duration,
    attempts: u32,
    process: ProcessPer,
    /// Of processes for one record each; the long-lived one's is with its driver.
    breaker: std::sync::Mutex<Breaker>,
    /// The task that holds the process, started with the first record.
    driver: OnceLock<Handle>,
}

struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
    task: Mutex<Option<JoinHandle<()>>>,
    close: Mutex<Option<oneshot::Sender<()>>>,
}

impl Command {
    pub(crate) fn new(step: &CommandStep, setup: &Setup) -> Result<Command, SetupError> {
        let arguments = step.program.iter().map(|a| a.text(&setup.parameters));
        let program = arguments
            .map(|text| text.map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|name| SetupError::Parameter(name.to_owned()))?;
        Ok(Command {
            launch: Launch::find(&program, &setup.directory, step.memory_mib, &setup.secrets)?
                .with_fetched(step.fetch.as_ref()),
            outputs: step.outputs.iter().map(|o| o.as_str().into()).collect(),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            process: step.process,
            breaker: std::sync::Mutex::default(),
            driver: OnceLock::new(),
        })
    }

    fn start(&self) -> Handle {
        // Unbounded, and yet never longer than the records that callers have at work at once.
        let (jobs, receiver) = mpsc::unbounded_channel();
        let (close, closed) = oneshot::channel();
        let driver = Driver::new(
            self.launch.clone(),
            self.outputs.clone(),
            self.timeout,
            self.attempts,
        );
        Handle {
            jobs,
            task: Mutex::new(Some(tokio::spawn(driver.run(receiver, closed)))),
            close: Mutex::new(Some(close)),
        }
    }
}

#[async_trait]
impl Runner for Command {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let line = match wire::line(row) {
            Ok(line) => line,
            Err(e) => return StepResult::failed(format!("the record cannot be written: {e}"), 1),
        };
        if self.process == ProcessPer::Record {
            return self.each(row.record.row, &line).await;
        }
        let (reply, answer) = oneshot::channel();
        let handle = self.driver.get_or_init(|| self.start());
        let sent = handle.jobs.send(Job::new(row.record.row, line, reply));
        let answer = match sent {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| StepResult::failed("the step is closed", 1))
    }

    async fn close(&self) {
        let Some(handle) = self.driver.get() else {
            return;
        };
        drop(handle.close.lock().await.take());
        if let Some(task) = handle.task.lock().await.take() {
            let _ = task.await;
        }
    }
}
