//! `command`: runs the user's program, which reads and writes JSON Lines. A step has one long-lived
//! process per child, or one process per record ([`per_record`]).
//!
//! A long-lived process gets several records at once and may answer in any order, with one line
//! each. [`wire`] defines the lines, [`process`] starts and ends processes, and [`driver`] assigns
//! answers to records and handles crashes and hangs.

mod breaker;
mod driver;
mod environment;
mod per_record;
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
use self::driver::{Driver, PendingRecord};
use self::process::Program;
use crate::{Runner, SetupError, StepDeps, StepResult};

/// Longest line that a program may write, in bytes. A cell holds 32,767 characters.
const LINE_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Command {
    program: Program,
    outputs: Vec<Arc<str>>,
    timeout: Duration,
    attempts: u32,
    process: ProcessPer,
    /// For one process per record. A long-lived process has its breaker in the driver.
    breaker: std::sync::Mutex<Breaker>,
    /// The task that owns the long-lived process, started by the first record.
    driver: OnceLock<Handle>,
}

struct Handle {
    records: mpsc::UnboundedSender<PendingRecord>,
    task: Mutex<Option<JoinHandle<()>>>,
    close: Mutex<Option<oneshot::Sender<()>>>,
}

impl Command {
    pub(crate) fn new(step: &CommandStep, deps: &StepDeps) -> Result<Command, SetupError> {
        let arguments = step.program.iter().map(|a| a.text(&deps.parameters));
        let program = arguments
            .map(|text| text.map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|name| SetupError::Parameter(name.to_owned()))?;
        Ok(Command {
            program: Program::find(
                &program,
                &deps.directory,
                step.process_memory_mib,
                &deps.secrets,
            )?
            .with_fetched(step.fetch.as_ref())
            .without(environment::withheld(step.aws)),
            outputs: step.outputs.iter().map(|o| o.as_str().into()).collect(),
            timeout: step.timeout,
            attempts: step.attempts.max(1),
            process: step.process,
            breaker: std::sync::Mutex::default(),
            driver: OnceLock::new(),
        })
    }

    fn start(&self) -> Handle {
        // Unbounded, but callers limit how many records are in progress.
        let (records, receiver) = mpsc::unbounded_channel();
        let (close, closed) = oneshot::channel();
        let driver = Driver::new(
            self.program.clone(),
            self.outputs.clone(),
            self.timeout,
            self.attempts,
        );
        Handle {
            records,
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
            Err(e) => {
                return StepResult::failed(format!("cannot write the record as JSON: {e}"), 1);
            }
        };
        if self.process == ProcessPer::Record {
            return self.run_process(row.record.row, &line).await;
        }
        let (reply, answer) = oneshot::channel();
        let handle = self.driver.get_or_init(|| self.start());
        let sent = handle
            .records
            .send(PendingRecord::new(row.record.row, line, reply));
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
