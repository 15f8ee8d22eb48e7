//! The events that start retention.

use rowmill_domain::message::RunMessage;
use rowmill_domain::run::RunId;
use rowmill_domain::storage::RestoreSpeed;
use serde_json::Value;

use crate::{EventError, s3, sns};

/// An event that starts retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRetention {
    /// Someone needs the result of a run again.
    Restore {
        /// The run.
        run: RunId,
        /// How fast. `None`: as fast as its storage class offers.
        speed: Option<RestoreSpeed>,
        /// Who requested it.
        by: String,
    },
    /// The time of a result has come: continue what its state requires.
    Retain {
        /// The run.
        run: RunId,
    },
    /// The copy of an archived object is complete, or has expired.
    Copy {
        /// The bucket.
        bucket: String,
        /// The key, decoded.
        key: String,
    },
}

/// Parses the events that start retention: messages of the topic, and notifications of S3 about copies of
/// archived objects. Messages for other stages are ignored.
///
/// # Errors
/// The payload is none of these.
pub fn to_retention(payload: &Value) -> Result<Vec<ToRetention>, EventError> {
    if sns::is_sns(payload) {
        let messages = sns::sns_messages(payload)?.into_iter();
        return Ok(messages.filter_map(from_topic).collect());
    }
    let copies = s3::s3_restored(payload)?.into_iter();
    Ok(copies
        .map(|(bucket, key)| ToRetention::Copy { bucket, key })
        .collect())
}

fn from_topic(message: RunMessage) -> Option<ToRetention> {
    match message {
        RunMessage::Restore { run, speed, by } => Some(ToRetention::Restore { run, speed, by }),
        RunMessage::Retain { run } => Some(ToRetention::Retain { run }),
        RunMessage::Split { .. }
        | RunMessage::Stop { .. }
        | RunMessage::Failed { .. }
        | RunMessage::Check { .. }
        | RunMessage::Due { .. }
        | RunMessage::Retry(_)
        | RunMessage::Upload(_)
        | RunMessage::TierChanged { .. } => None,
    }
}
