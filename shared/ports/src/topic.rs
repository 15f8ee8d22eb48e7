use async_trait::async_trait;
use rowmill_domain::message::Message;

use crate::Result;

/// The topic that stages publish to: SNS, or the local one.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes, with the message's kind as its attribute `kind`; at least once to every
    /// subscription that takes the kind. More than
    /// [`rowmill_domain::limits::TOPIC_MESSAGE_MAX`] bytes: [`crate::ErrorKind::Invalid`].
    async fn publish(&self, message: &Message) -> Result<()>;
}
