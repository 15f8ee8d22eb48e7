use async_trait::async_trait;
use rowmill_domain::limits::TOPIC_MESSAGE_MAX;
use rowmill_domain::message::RunMessage;

use crate::{ErrorKind, PortError, Result};

/// The topic that stages publish to: SNS, or the local one.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes, with the message's kind as its attribute `kind`; at least once to every
    /// subscription that takes the kind. More than
    /// [`TOPIC_MESSAGE_MAX`] bytes: [`ErrorKind::Invalid`].
    async fn publish(&self, message: &RunMessage) -> Result<()>;
}

/// The message as JSON, for `operation` on `resource`, which takes no larger one.
///
/// # Errors
/// [`ErrorKind::Invalid`] where it has more than [`TOPIC_MESSAGE_MAX`] bytes with its attribute.
pub fn message_text(
    message: &RunMessage,
    operation: &'static str,
    resource: &str,
) -> Result<String> {
    let invalid = |what: String| {
        Err(PortError::new(
            operation,
            resource,
            ErrorKind::Invalid,
            what,
        ))
    };
    let text = match serde_json::to_string(message) {
        Ok(text) => text,
        Err(error) => return invalid(error.to_string()),
    };
    match text.len() + attribute_bytes(message) {
        0..=TOPIC_MESSAGE_MAX => Ok(text),
        size => invalid(format!(
            "the message has {size} bytes, and at most {TOPIC_MESSAGE_MAX} are taken"
        )),
    }
}

/// What the attribute `kind` adds to a message: its name, its type and its value.
pub(crate) fn attribute_bytes(message: &RunMessage) -> usize {
    "kind".len() + "String".len() + message.kind().len()
}
