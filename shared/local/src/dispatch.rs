//! Delivers queued messages to the stages, like Lambda's asynchronous invocations.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::RunId;
use rowmill_domain::event::Invocation;
use rowmill_domain::limits;
use rowmill_events::{ToCleanup, ToSplit, to_cleanup, to_split};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use crate::bus::{self, Chaos, QueuedMessage, Target};
use crate::scope::names;
use crate::{Cloud, LocalError, RunScope, schedule};

/// How often to look for messages of other processes, such as a command that cancels the run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Messages handled at the same time. Stages mostly wait for the disk.
const CONCURRENCY: u32 = 4;

/// Messages that are looked at to find those to deliver.
const LOOKED_AT: u32 = 3 * CONCURRENCY + 1;

/// Waits before the second and third attempt. Lambda waits one and two minutes, so that services can
/// recover; on one machine only the disk can be busy.
const BACKOFF: [Duration; limits::INVOCATION_RETRIES as usize] =
    [Duration::from_millis(250), Duration::from_secs(2)];

/// The stages that handle messages.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles a message in its stage. `payload` is the event that AWS would send. `cx.owner` is the
    /// same in all attempts of a delivery, even after a restart. The answer of report goes to
    /// cleanup.
    ///
    /// # Errors
    /// The stage failed.
    async fn handle(
        &self,
        target: Target,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, HandlerError>;
}

/// A stage that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HandlerError {
    /// The error.
    pub message: String,
    /// Whether another attempt can succeed. If not, the message becomes a dead letter at once.
    pub retryable: bool,
}

/// Publishes scheduled messages when they are due, and delivers messages to stages like Lambda's
/// asynchronous invocations: at least once, with three attempts before a message becomes a dead
/// letter. An attempt that exceeds the time limit of a function fails.
///
/// A run is not checked while a message about it is being handled or will be again: it is not stalled, even if the process
/// was suspended for longer than a claim is held.
///
/// A message leaves the queue in the transaction that stores its answer. A message that was being
/// handled when the process was killed is delivered again at the next start.
pub struct Dispatcher {
    cloud: Cloud,
    chaos: Option<Chaos>,
    /// `None`: all runs.
    scope: Option<RunScope>,
}

impl Dispatcher {
    /// A dispatcher for the messages in `cloud`. `chaos` applies to the messages that it publishes.
    /// At most one may run per state directory.
    pub fn new(cloud: Cloud, chaos: Option<Chaos>) -> Dispatcher {
        Dispatcher {
            cloud,
            chaos,
            scope: None,
        }
    }

    /// The same dispatcher, for the messages of one run. Others stay on the queue.
    pub fn limited_to(self, run: RunScope) -> Dispatcher {
        Dispatcher {
            scope: Some(run),
            ..self
        }
    }

    /// Delivers messages until `stop` becomes true or its sender is dropped, and then waits for the
    /// running attempts. Dropping the future cancels them.
    ///
    /// # Errors
    /// The database cannot be read or written. Errors of stages do not end it.
    pub async fn run(
        &self,
        handler: Arc<dyn Handler>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LocalError> {
        let mut changed = self.cloud.changed();
        let mut attempts = JoinSet::new();
        let mut running: HashMap<Id, QueuedMessage> = HashMap::new();
        while !*stop.borrow_and_update() {
            changed.mark_unchanged();
            let scheduled = self.publish_scheduled()?;
            let (due, next) = self.due(&running)?;
            let next = [next, scheduled].into_iter().flatten().min();
            for message in due {
                let handler = Arc::clone(&handler);
                let (target, payload) = (message.target, message.payload.clone());
                let owner = format!("message-{}", message.id);
                let task = attempts
                    .spawn(async move { deliver(handler.as_ref(), target, &payload, owner).await });
                running.insert(task.id(), message);
            }
            tokio::select! {
                stopped = stop.changed() => if stopped.is_err() { break },
                Some(attempt) = attempts.join_next_with_id() => self.settle(&mut running, attempt)?,
                // Cannot end: `self.cloud` holds the sender.
                _ = changed.changed(), if running.len() < CONCURRENCY as usize => {}
                () = until(next) => {}
                () = tokio::time::sleep(LOOK_EVERY), if running.len() < CONCURRENCY as usize => {}
            }
        }
        while let Some(attempt) = attempts.join_next_with_id().await {
            self.settle(&mut running, attempt)?;
        }
        Ok(())
    }

    /// Publishes the scheduled messages that are due. Returns when the next one is due.
    fn publish_scheduled(&self) -> Result<Option<i64>, LocalError> {
        let now = Utc::now().timestamp_millis();
        self.cloud
            .with(|conn| schedule::publish_due(conn, self.chaos.as_ref(), self.scope.as_ref(), now))
    }

    /// Messages to deliver now, and when the next one is due if there is capacity for it.
    fn due(
        &self,
        running: &HashMap<Id, QueuedMessage>,
    ) -> Result<(Vec<QueuedMessage>, Option<i64>), LocalError> {
        let capacity = CONCURRENCY as usize - running.len();
        if capacity == 0 {
            return Ok((Vec::new(), None));
        }
        // Running messages are still on the queue, and checks may be held back. The rest gives the next
        // due time.
        let now = Utc::now().timestamp_millis();
        let waiting = self.cloud.with(|conn| {
            let first = |conn: &rusqlite::Connection| match &self.scope {
                None => bus::first(conn, LOOKED_AT),
                // Those of other runs may be first.
                Some(run) => {
                    let mut all = bus::first(conn, u32::MAX)?;
                    all.retain(|message| run.has_message(message.target, &message.payload));
                    all.truncate(LOOKED_AT as usize);
                    Ok(all)
                }
            };
            let waiting = first(conn)?;
            match waiting.first() {
                Some(message) if message.due > now + bus::LATEST => {
                    bus::catch_up(conn, now)?;
                    first(conn)
                }
                _ => Ok(waiting),
            }
        })?;
        // Also those that wait for another attempt.
        let handled = |run: &RunId, of: &[QueuedMessage]| {
            let mut stages = of.iter().filter(|other| other.target != Target::Cleanup);
            stages.any(|other| is_about(other, run))
        };
        let held: Vec<i64> = waiting
            .iter()
            .filter(|message| checked_run(message).is_some_and(|run| handled(&run, &waiting)))
            .map(|message| message.id)
            .collect();
        let (due, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .filter(|m| running.values().all(|other| other.id != m.id) && !held.contains(&m.id))
            .partition(|m| m.due <= now);
        let next = later.first().map(|m| m.due);
        let due: Vec<_> = due.into_iter().take(capacity).collect();
        Ok((due, next))
    }

    /// Stores the result of an attempt: removes, postpones or dead-letters the message.
    fn settle(
        &self,
        running: &mut HashMap<Id, QueuedMessage>,
        attempt: Result<(Id, Result<Option<Value>, HandlerError>), JoinError>,
    ) -> Result<(), LocalError> {
        let (id, result) = match attempt {
            Ok((id, result)) => (id, result),
            // A stage that panics may succeed at the next attempt.
            Err(panicked) => {
                let message = format!("the stage panicked: {panicked}");
                let error = HandlerError {
                    message,
                    retryable: true,
                };
                (panicked.id(), Err(error))
            }
        };
        let Some(message) = running.remove(&id) else {
            return Ok(());
        };
        self.cloud.with(|conn| {
            let transaction = conn.transaction()?;
            match &result {
                Ok(answer) => {
                    bus::remove(&transaction, message.id)?;
                    if let (Target::Report, Some(answer)) = (message.target, answer) {
                        let request_id = format!("message-{}", message.id);
                        let event = rowmill_events::reported_event(
                            &message.payload,
                            answer,
                            &request_id,
                            Utc::now(),
                        );
                        let chaos = self.chaos.as_ref();
                        bus::enqueue(&transaction, chaos, Target::Cleanup, &event)?;
                    }
                }
                Err(error) => {
                    let now = Utc::now().timestamp_millis();
                    let backoff = BACKOFF.get(message.failures as usize);
                    match backoff.filter(|_| error.retryable) {
                        Some(wait) => {
                            bus::postpone(&transaction, message.id, now + wait.as_millis() as i64)?;
                        }
                        None => bus::dead_letter(&transaction, message.id, &error.message, now)?,
                    }
                }
            }
            transaction.commit()
        })?;
        if let Err(error) = result {
            let (stage, attempts) = (message.target.name(), message.failures + 1);
            tracing::warn!(message = message.id, stage, attempts, %error, "a stage failed");
        }
        Ok(())
    }
}

/// The run that a message lets cleanup check.
fn checked_run(message: &QueuedMessage) -> Option<RunId> {
    if message.target != Target::Cleanup {
        return None;
    }
    match to_cleanup(&message.payload).ok()?.pop()? {
        ToCleanup::Due { run } => Some(run),
        ToCleanup::Reported(_) | ToCleanup::Sweep { .. } => None,
    }
}

/// Whether a message is about a run.
fn is_about(message: &QueuedMessage, run: &RunId) -> bool {
    if message.target != Target::Split {
        return names(&message.payload, run);
    }
    let events = to_split(&message.payload).unwrap_or_default();
    events.iter().any(|event| match event {
        ToSplit::Created(upload) => upload.run_id() == *run,
        ToSplit::Retry(request) => request.id().as_ref() == Some(run),
    })
}

/// Runs one attempt within the time limit of a function.
async fn deliver(
    handler: &dyn Handler,
    target: Target,
    payload: &Value,
    owner: String,
) -> Result<Option<Value>, HandlerError> {
    let now = Utc::now();
    let cx = Invocation { owner, now };
    let limit = Duration::from_secs(limits::LAMBDA_SECONDS_MAX.into());
    tokio::time::timeout(limit, handler.handle(target, payload, &cx))
        .await
        .unwrap_or_else(|_| {
            let message = format!("{} took longer than {limit:?}", target.name());
            Err(HandlerError {
                message,
                retryable: true,
            })
        })
}

/// Sleeps until `due` (epoch milliseconds), or forever without it.
async fn until(due: Option<i64>) {
    match due {
        Some(due) => {
            let wait = (due - Utc::now().timestamp_millis()).clamp(0, bus::LATEST);
            tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        }
        None => std::future::pending().await,
    }
}
