//! What makes calls: an invocation of a stage, or an attempt of a child. It can die at any call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rowmill_ports::faulty::Call;
use tokio::sync::watch;

tokio::task_local! {
    static CURRENT: Arc<Process>;
}

/// An invocation of a stage, or an attempt of a child.
pub struct Process {
    name: String,
    state: Mutex<State>,
    dead: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// How often each call was made.
    calls: BTreeMap<(&'static str, String), u64>,
    /// Calls after which the process dies.
    last: BTreeSet<(&'static str, String)>,
}

/// How a process ended.
#[derive(Debug)]
pub enum End<T> {
    /// It returned.
    Returned(T),
    /// It died.
    Died,
}

impl Process {
    /// A process, whose name is unique.
    pub fn new(name: String) -> Arc<Process> {
        Arc::new(Process {
            name,
            state: Mutex::default(),
            dead: watch::Sender::new(false),
        })
    }

    /// The process that the current task belongs to. `None`: the test itself.
    pub fn current() -> Option<Arc<Process>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` as this process, until it returns or the process dies.
    pub async fn run<T>(self: Arc<Process>, work: impl Future<Output = T>) -> End<T> {
        let mut dead = self.dead.subscribe();
        tokio::select! {
            biased;
            _ = dead.wait_for(|dead| *dead) => End::Died,
            value = CURRENT.scope(self.clone(), work) => End::Returned(value),
        }
    }

    /// Kills the process. Never returns, so that it makes no further call.
    pub async fn die(&self) {
        self.dead.send_replace(true);
        std::future::pending::<()>().await;
    }

    /// How often this process made the call before.
    pub(crate) fn repetition(&self, call: &Call) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let times = state.calls.entry(key(call)).or_default();
        *times += 1;
        *times - 1
    }

    /// Lets the process die once the call has taken effect.
    pub(crate) fn dies_after(&self, call: &Call) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.insert(key(call));
    }

    /// Whether the process dies now that the call has taken effect.
    pub(crate) fn is_last(&self, call: &Call) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.remove(&key(call))
    }
}

fn key(call: &Call) -> (&'static str, String) {
    (call.operation, call.resource.clone())
}
