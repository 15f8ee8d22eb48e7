use async_trait::async_trait;
use rowmill_domain::limits::TOPIC_MESSAGE_MAX;
use rowmill_domain::message::Message;

use crate::{ErrorKind, PortError, Result};

/// The topic that stages publish to: SNS, or the local one.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes, with the message's kind as its attribute `kind`; at least once to every
    /// subscription that takes the kind. More than
    /// [`rowmill_domain::limits::TOPIC_MESSAGE_MAX`] bytes: [`crate::ErrorKind::Invalid`].
    async fn publish(&self, message: &Message) -> Result<()>;
}

/// The message as JSON, for `operation` on `resource`, which takes no larger one.
///
/// # Errors
/// [`ErrorKind::Invalid`] where it has more than [`TOPIC_MESSAGE_MAX`] bytes.
pub fn message_text(message: &Message, operation: &'static str, resource: &str) -> Result<String> {
    let invalid = |what: String| {
        Err(PortError::new(
            operation,
            resource,
            ErrorKind::Invalid,
            what,
        ))
    };
    match serde_json::to_string(message) {
        Ok(text) if text.len() <= TOPIC_MESSAGE_MAX => Ok(text),
        Ok(text) => invalid(format!(
            "the message has {} bytes, and at most {TOPIC_MESSAGE_MAX} are taken",
            text.len()
        )),
        Err(error) => invalid(error.to_string()),
    }
}
