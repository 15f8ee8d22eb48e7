//! The topic and its subscriptions. On AWS, this is SNS.

use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::message::RunMessage;
use rowmill_ports::{Result, Topic, message_text};
use rusqlite::Connection;

use crate::Cloud;
use crate::bus::{self, Chaos, Target};

/// The topic. Split subscribes to `retry`, submit to `split` and `stop`, report to `failed` and `check`,
/// cleanup to `due`, and retention to `restore` and `retain`.
pub struct LocalTopic {
    cloud: Cloud,
    chaos: Option<Chaos>,
}

impl LocalTopic {
    /// A topic that queues its messages in `cloud`. `chaos` duplicates and delays them, in tests.
    pub fn new(cloud: Cloud, chaos: Option<Chaos>) -> LocalTopic {
        LocalTopic { cloud, chaos }
    }
}

#[async_trait]
impl Topic for LocalTopic {
    async fn publish(&self, message: &RunMessage) -> Result<()> {
        const OPERATION: &str = "Publish";
        let resource = format!("topic:{}", message.kind());
        message_text(message, OPERATION, &resource)?;
        let payload = rowmill_events::sns_messages_event(message, &message_id(), Utc::now());
        self.cloud
            .with(|conn| {
                let transaction = conn.transaction()?;
                let target = subscriber(message);
                bus::enqueue(&transaction, self.chaos.as_ref(), target, &payload)?;
                transaction.commit()
            })
            .map_err(|error| error.into_port(OPERATION, resource))
    }
}

/// Publishes a scheduled message in the transaction of `conn`.
pub(crate) fn publish_scheduled(
    conn: &Connection,
    chaos: Option<&Chaos>,
    message: &RunMessage,
) -> rusqlite::Result<()> {
    let payload = rowmill_events::scheduled_message_event(message, &message_id(), Utc::now());
    bus::enqueue(conn, chaos, subscriber(message), &payload)
}

/// The stage that subscribes to a message.
pub fn subscriber(message: &RunMessage) -> Target {
    match message {
        RunMessage::Retry(_) | RunMessage::Upload(_) => Target::Split,
        RunMessage::Split { .. } | RunMessage::Stop { .. } => Target::Submit,
        RunMessage::Failed { .. } | RunMessage::Check { .. } => Target::Report,
        RunMessage::Due { .. } | RunMessage::TierChanged { .. } => Target::Cleanup,
        RunMessage::Restore { .. } | RunMessage::Retain { .. } => Target::Retention,
    }
}

/// A random id. All deliveries of a message have the same id.
fn message_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
