use aws_lambda_events::event::sns::SnsEvent;
use chrono::{DateTime, Utc};
use rowmill_domain::message::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_ACCOUNT, LOCAL_REGION, time_text};

const EXPECTED: &str = "SNS event";

/// Whether it is what SNS hands to a Lambda function.
pub(crate) fn is_sns(payload: &Value) -> bool {
    payload["Records"][0]["EventSource"] == "aws:sns"
}

/// The texts that were published.
pub(crate) fn texts(payload: &Value) -> Result<Vec<String>, EventError> {
    let event = SnsEvent::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    Ok(event.records.into_iter().map(|r| r.sns.message).collect())
}

/// The messages of the topic, from what SNS hands to a Lambda function.
///
/// # Errors
/// It is no SNS event, or what was published is no message of the topic.
pub fn sns_messages(payload: &Value) -> Result<Vec<Message>, EventError> {
    texts(payload)?
        .iter()
        .map(|text| {
            serde_json::from_str(text).map_err(EventError::malformed("message of the topic"))
        })
        .collect()
}

/// What SNS hands to a Lambda function for that message. `id` is the message's, the same in
/// every delivery.
pub fn sns_messages_event(message: &Message, id: &str, now: DateTime<Utc>) -> Value {
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
            "MessageAttributes": {
                "kind": { "Type": "String", "Value": message.kind() },
            },
        },
    }]})
}
