use async_trait::async_trait;
use chrono::Utc;
use rowmill_domain::limits;
use rowmill_domain::message::Message;
use rowmill_ports::{ErrorKind, PortError, Result, Topic};

use crate::Cloud;
use crate::bus::{self, Chaos, Target};

/// The topic, and its subscriptions: submit takes `split`, report takes `failed` and `check`.
pub struct LocalTopic {
    cloud: Cloud,
    chaos: Option<Chaos>,
}

impl LocalTopic {
    /// The topic whose messages are in that database.
    pub fn new(cloud: Cloud, chaos: Option<Chaos>) -> LocalTopic {
        LocalTopic { cloud, chaos }
    }
}

#[async_trait]
impl Topic for LocalTopic {
    async fn publish(&self, message: &Message) -> Result<()> {
        const OPERATION: &str = "Publish";
        let target = match message {
            Message::Split { .. } => Target::Submit,
            Message::Failed { .. } | Message::Check { .. } => Target::Report,
        };
        let resource = format!("topic:{}", message.kind());
        let size = serde_json::to_vec(message).map_or(0, |json| json.len());
        if size > limits::TOPIC_MESSAGE_MAX {
            let max = limits::TOPIC_MESSAGE_MAX;
            let text = format!("the message has {size} bytes, and at most {max} are taken");
            return Err(PortError::new(
                OPERATION,
                resource,
                ErrorKind::Invalid,
                text,
            ));
        }
        let id = format!("{:032x}", rand::random::<u128>());
        let payload = rowmill_events::sns_messages_event(message, &id, Utc::now());
        self.cloud
            .with(|conn| {
                let transaction = conn.transaction()?;
                bus::enqueue(&transaction, self.chaos.as_ref(), target, &payload)?;
                transaction.commit()
            })
            .map_err(|error| error.into_port(OPERATION, resource))
    }
}
