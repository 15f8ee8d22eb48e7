//! The events of split.

use rowmill_domain::event::ObjectCreated;
use rowmill_domain::message::{RetryRequest, RunMessage};
use serde_json::Value;

use crate::{EventError, s3, sns};

/// An event of split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSplit {
    /// A workbook was uploaded.
    Created(ObjectCreated),
    /// Rows of a run are to be retried.
    Retry(RetryRequest),
}

/// Parses an event of split: a notification of S3, directly or through SNS, or a message of the topic,
/// through SNS or as the payload of an invocation by hand.
///
/// # Errors
/// The payload is neither.
pub fn to_split(payload: &Value) -> Result<Vec<ToSplit>, EventError> {
    let json = |text: &String| {
        serde_json::from_str::<Value>(text).map_err(EventError::malformed(sns::MESSAGE))
    };
    let messages = match sns::is_sns(payload) {
        true => sns::texts(payload)?
            .iter()
            .map(json)
            .collect::<Result<_, _>>()?,
        false => vec![payload.clone()],
    };
    let mut events = Vec::new();
    for message in messages {
        if message.get("kind").is_none() {
            events.extend(s3::direct(&message)?.into_iter().map(ToSplit::Created));
            continue;
        }
        match sns::message(message)? {
            Some(RunMessage::Retry(request)) => events.push(ToSplit::Retry(request)),
            Some(RunMessage::Upload(upload)) => events.push(ToSplit::Created(upload)),
            _ => {}
        }
    }
    Ok(events)
}
