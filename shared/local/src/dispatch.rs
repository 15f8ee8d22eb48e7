use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::event::Invocation;
use rowmill_domain::limits;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use crate::bus::{self, Chaos, Message, Target};
use crate::{Cloud, LocalError, schedule};

/// Messages handled at once. Stages wait for the disk more than for the processor.
const AT_ONCE: u32 = 4;

/// Waits before the second and the third try. Lambda waits one and two minutes for a service to
/// recover; on one machine there is only the disk to wait for.
const BACKOFF: [Duration; limits::INVOCATION_RETRIES as usize] =
    [Duration::from_millis(250), Duration::from_secs(2)];

/// The stages behind the queue.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Lets the stage work on a message. `payload` is the envelope that AWS would send;
    /// `cx.owner` is the same in every try of the same delivery, also after a restart. What
    /// report answers goes to cleanup.
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
    /// What happened.
    pub message: String,
    /// Whether another try can help. Where it cannot, the message is given up at once.
    pub retryable: bool,
}

/// Publishes messages whose time has come, and delivers messages to stages, as Lambda does with asynchronous invocations: at least once,
/// three tries, then a dead letter; a try that takes longer than a function may is cut off and
/// has failed.
///
/// A message leaves the queue in the transaction that keeps its answer, so one that was under
/// way when the process was killed is delivered again at the next start.
pub struct Dispatcher {
    cloud: Cloud,
    chaos: Option<Chaos>,
}

/// What became of a try.
type Tried = Result<Result<Option<Value>, HandlerError>, JoinError>;

impl Dispatcher {
    /// A dispatcher of that database's messages. `chaos` is for the ones that it writes itself.
    /// At most one may run on a state directory.
    pub fn new(cloud: Cloud, chaos: Option<Chaos>) -> Dispatcher {
        Dispatcher { cloud, chaos }
    }

    /// Delivers until `stop` says true or its sender is gone; then takes no more and waits for
    /// the tries under way. Dropping it instead cuts them off.
    ///
    /// # Errors
    /// The database fails. Stages' errors go to their messages.
    pub async fn run(
        &self,
        handler: Arc<dyn Handler>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LocalError> {
        let mut changed = self.cloud.changed();
        let mut tries = JoinSet::new();
        let mut under_way: HashMap<Id, Message> = HashMap::new();
        while !*stop.borrow_and_update() {
            changed.mark_unchanged();
            let scheduled = self.publish_scheduled()?;
            let (due, next) = self.due(&under_way)?;
            let next = [next, scheduled].into_iter().flatten().min();
            for message in due {
                let handler = Arc::clone(&handler);
                let (target, payload) = (message.target, message.payload.clone());
                let owner = format!("message-{}", message.id);
                let task = tries
                    .spawn(async move { deliver(handler.as_ref(), target, &payload, owner).await });
                under_way.insert(task.id(), message);
            }
            tokio::select! {
                stopped = stop.changed() => if stopped.is_err() { break },
                Some(tried) = tries.join_next_with_id() => self.settle(&mut under_way, tried)?,
                // Cannot end: `self.cloud` holds the sender.
                _ = changed.changed(), if under_way.len() < AT_ONCE as usize => {}
                () = until(next) => {}
            }
        }
        while let Some(tried) = tries.join_next_with_id().await {
            self.settle(&mut under_way, tried)?;
        }
        Ok(())
    }

    /// Publishes what waited for its time, and tells when the next time is.
    fn publish_scheduled(&self) -> Result<Option<i64>, LocalError> {
        let now = Utc::now().timestamp_millis();
        self.cloud
            .with(|conn| schedule::publish_due(conn, self.chaos.as_ref(), now))
    }

    /// Messages to begin with now, and when the next one is due where there is room for it.
    fn due(
        &self,
        under_way: &HashMap<Id, Message>,
    ) -> Result<(Vec<Message>, Option<i64>), LocalError> {
        let room = AT_ONCE as usize - under_way.len();
        if room == 0 {
            return Ok((Vec::new(), None));
        }
        // Those under way are still on the queue; one more than there is room for tells when.
        let waiting = self.cloud.with(|conn| bus::first(conn, AT_ONCE + 1))?;
        let now = Utc::now().timestamp_millis();
        let (due, later): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .filter(|m| under_way.values().all(|other| other.id != m.id))
            .partition(|m| m.due <= now);
        let next = later.first().map(|m| m.due);
        let due: Vec<_> = due.into_iter().take(room).collect();
        Ok((due, next))
    }

    /// Writes down what became of a try.
    fn settle(
        &self,
        under_way: &mut HashMap<Id, Message>,
        tried: Result<(Id, Result<Option<Value>, HandlerError>), JoinError>,
    ) -> Result<(), LocalError> {
        let (id, tried): (Id, Tried) = match tried {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(message) = under_way.remove(&id) else {
            return Ok(());
        };
        let result = tried.unwrap_or_else(|error| {
            // A function that crashed: the next try may not.
            let message = format!("the stage panicked: {error}");
            Err(HandlerError {
                message,
                retryable: true,
            })
        });
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
                        None => bus::bury(&transaction, message.id, &error.message, now)?,
                    }
                }
            }
            transaction.commit()
        })?;
        if let Err(error) = result {
            let (stage, tries) = (message.target.name(), message.failures + 1);
            tracing::warn!(message = message.id, stage, tries, %error, "a stage failed");
        }
        Ok(())
    }
}

/// One try, within the time that a function has.
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

/// Sleeps until that time in epoch milliseconds; for ever without one.
async fn until(due: Option<i64>) {
    match due {
        Some(due) => {
            let wait = (due - Utc::now().timestamp_millis()).max(0);
            tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        }
        None => std::future::pending().await,
    }
}
