use async_trait::async_trait;
use rowmill_domain::limits::TOPIC_MESSAGE_MAX;
use rowmill_domain::message::RunMessage;

use crate::{ErrorKind, PortError, Result};

/// The topic that stages publish to: SNS, or the local one.
#[async_trait]
pub trait Topic: Send + Sync {
    /// Publishes a message, with its kind as the attribute `kind`. It is delivered at least once to
    /// every subscription to this kind.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the message is larger than [`TOPIC_MESSAGE_MAX`] bytes.
    async fn publish(&self, message: &RunMessage) -> Result<()>;
}

/// Serializes a message for `operation` on `resource`.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the message and its attribute are larger than [`TOPIC_MESSAGE_MAX`]
/// bytes.
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
            "the message has {size} bytes; the limit is {TOPIC_MESSAGE_MAX}"
        )),
    }
}

/// Bytes that the attribute `kind` adds to a message: its name, type and value.
pub(crate) fn attribute_bytes(message: &RunMessage) -> usize {
    "kind".len() + "String".len() + message.kind().len()
}
