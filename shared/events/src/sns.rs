//! Messages of the topic, from SNS.

use aws_lambda_events::event::sns::SnsEvent;
use chrono::{DateTime, Utc};
use rowmill_domain::message::RunMessage;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_ACCOUNT, LOCAL_REGION, time_text};

const EXPECTED: &str = "SNS event";
/// A message that a stage publishes.
pub(crate) const MESSAGE: &str = "topic message";

/// Whether a payload is the event that SNS sends to a Lambda function.
pub(crate) fn is_sns(payload: &Value) -> bool {
    payload["Records"][0]["EventSource"] == "aws:sns"
}

/// The texts of the messages in an event.
pub(crate) fn texts(payload: &Value) -> Result<Vec<String>, EventError> {
    let event = SnsEvent::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    Ok(event.records.into_iter().map(|r| r.sns.message).collect())
}

/// Parses the event that SNS sends to a Lambda function, and returns the messages of the topic.
/// Unknown kinds of messages, of a newer version of Rowmill, are ignored.
///
/// # Errors
/// The payload is not an SNS event, or a text is not a message of the topic.
pub fn sns_messages(payload: &Value) -> Result<Vec<RunMessage>, EventError> {
    let mut messages = Vec::new();
    for text in texts(payload)? {
        let json = serde_json::from_str(&text).map_err(EventError::malformed(MESSAGE))?;
        messages.extend(message(json)?);
    }
    Ok(messages)
}

/// Parses a message of the topic. `None` if its kind is unknown.
pub(crate) fn message(json: Value) -> Result<Option<RunMessage>, EventError> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let Kind { kind } = Kind::deserialize(&json).map_err(EventError::malformed(MESSAGE))?;
    if !RunMessage::KINDS.contains(&kind.as_str()) {
        return Ok(None);
    }
    let message = serde_json::from_value(json).map_err(EventError::malformed(MESSAGE))?;
    Ok(Some(message))
}

/// Writes the event that SNS sends to a Lambda function for a message. `id` identifies the message and
/// is the same in every delivery.
pub fn sns_messages_event(message: &RunMessage, id: &str, now: DateTime<Utc>) -> Value {
    let kind = json!({ "Type": "String", "Value": message.kind() });
    event(message, id, now, json!({ "kind": kind }))
}

/// The same for a message that EventBridge Scheduler published, which sets no attributes.
pub fn scheduled_message_event(message: &RunMessage, id: &str, now: DateTime<Utc>) -> Value {
    event(message, id, now, json!({}))
}

fn event(message: &RunMessage, id: &str, now: DateTime<Utc>, attributes: Value) -> Value {
    let topic = format!("arn:aws:sns:{LOCAL_REGION}:{LOCAL_ACCOUNT}:rowmill");
    json!({ "Records": [{
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": format!("{topic}:{}", message.kind()),
        "Sns": {
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": topic,
            "Subject": null,
            "Message": json!(message).to_string(),
            "Timestamp": time_text(now),
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertUrl": "",
            "UnsubscribeUrl": "",
            "MessageAttributes": attributes,
        },
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &Value) -> Value {
        let check = RunMessage::Check {
            run: "20261121-reviews-0123456789ab".parse().unwrap(),
        };
        let mut event = sns_messages_event(&check, "1", Utc::now());
        event["Records"][0]["Sns"]["Message"] = json!(text.to_string());
        event
    }

    #[test]
    fn unknown_kinds_are_ignored_and_invalid_messages_rejected() {
        let newer = json!({ "kind": "archived", "run": 7 });
        assert_eq!(sns_messages(&event(&newer)).unwrap(), []);
        let more = json!({ "kind": "check", "run": "20261121-reviews-0123456789ab", "new": [] });
        assert_eq!(sns_messages(&event(&more)).unwrap().len(), 1);
        for bad in [
            json!({ "kind": "check" }),
            json!({ "run": "x" }),
            json!("x"),
        ] {
            let error = sns_messages(&event(&bad)).unwrap_err().to_string();
            assert!(error.contains("not a valid topic message"), "{error}");
        }
    }

    #[test]
    fn every_kind_can_be_parsed() {
        let run: rowmill_domain::RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        for kind in RunMessage::KINDS {
            let text = json!({
                "kind": kind, "run": run, "failure": { "stage": "", "what": "", "advice": "" },
                "submitter": "ada@example.com",
                "bucket": "inbox", "key": "reviews/a.xlsx", "version": "1", "versioned": true,
                "size": 1, "time": "2026-11-21T00:00:00Z", "by": "ada",
            });
            let read = sns_messages(&event(&text)).unwrap();
            assert_eq!(read[0].kind(), kind);
        }
    }
}
