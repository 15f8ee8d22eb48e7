//! A started local stack.

use std::sync::Arc;

use rowmill_local::batch::LocalBatch;
use rowmill_local::{Dispatcher, LocalError, RunScope};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stages::Stages;

/// The running dispatcher and local Batch.
pub(crate) struct RunningStack {
    halt: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), LocalError>>>,
}

impl RunningStack {
    pub(super) fn start(
        dispatcher: Dispatcher,
        stages: Arc<Stages>,
        batch: LocalBatch,
        run: Option<RunScope>,
    ) -> Self {
        let (halt, halted) = watch::channel(false);
        let stop = halted.clone();
        let tasks = vec![
            tokio::spawn(async move { dispatcher.run(stages, stop).await }),
            tokio::spawn(async move { batch.run_scope(run.as_ref(), halted).await }),
        ];
        RunningStack { halt, tasks }
    }

    /// Whether one of them ended by itself, which happens only if the state directory fails.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Stops both: stages finish the event they are handling, children the records they are
    /// processing. Returns the error of a task that failed.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.halt.send_replace(true);
        let mut result = Ok(());
        for task in self.tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => result = Err(e.to_string()),
                Err(e) => result = Err(e.to_string()),
            }
        }
        result
    }
}
