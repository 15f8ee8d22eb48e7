use chrono::{DateTime, Utc};
use rowmill_domain::event::Reported;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_ACCOUNT, LOCAL_REGION, sns, time_text};

const EXPECTED: &str = "record of a Lambda destination";

/// What enters cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToCleanup {
    /// A run was reported: remove what it left.
    Reported(Reported),
    /// A run's time has come: look whether it stands still.
    Due {
        /// The run.
        run: RunId,
    },
    /// The schedule calls: look for runs that stand still and for things left behind.
    Sweep,
}

/// What report answered, from the record that Lambda hands to the destination of report's
/// success. `None` where report had nothing to hand on.
///
/// # Errors
/// It is no such record, or says that report failed.
pub fn reported(payload: &Value) -> Result<Option<Reported>, EventError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Record {
        request_context: Context,
        response_payload: Option<Reported>,
    }
    #[derive(Deserialize)]
    struct Context {
        condition: String,
    }
    let record = Record::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    if record.request_context.condition != "Success" {
        let found = record.request_context.condition;
        return Err(EventError::field(
            EXPECTED,
            "requestContext.condition",
            found,
        ));
    }
    Ok(record.response_payload)
}

/// What enters cleanup by that payload: a destination's record, the topic's messages or the
/// schedule's event. Messages that are not for cleanup are passed over.
///
/// # Errors
/// It is none of these.
pub fn to_cleanup(payload: &Value) -> Result<Vec<ToCleanup>, EventError> {
    if payload["detail-type"] == "Scheduled Event" {
        return Ok(vec![ToCleanup::Sweep]);
    }
    if sns::is_sns(payload) {
        let messages = sns::sns_messages(payload)?.into_iter();
        return Ok(messages
            .filter_map(|message| match message {
                RunMessage::Due { run } => Some(ToCleanup::Due { run }),
                RunMessage::Split { .. } | RunMessage::Failed { .. } | RunMessage::Check { .. } => {
                    None
                }
            })
            .collect());
    }
    Ok(reported(payload)?
        .map(ToCleanup::Reported)
        .into_iter()
        .collect())
}

/// The record that Lambda hands on after report answered `response` to `request`.
pub fn reported_event(
    request: &Value,
    response: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> Value {
    let function = format!("arn:aws:lambda:{LOCAL_REGION}:{LOCAL_ACCOUNT}:function:report:$LATEST");
    json!({
        "version": "1.0",
        "timestamp": time_text(now),
        "requestContext": {
            "requestId": request_id,
            "functionArn": function,
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": request,
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST" },
        "responsePayload": response,
    })
}

/// What EventBridge Scheduler sends when it is time for a sweep.
pub fn schedule_event(now: DateTime<Utc>) -> Value {
    let schedule =
        format!("arn:aws:scheduler:{LOCAL_REGION}:{LOCAL_ACCOUNT}:schedule/default/sweep");
    json!({
        "version": "0",
        "id": format!("sweep-{}", now.timestamp_millis()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": LOCAL_ACCOUNT,
        "time": time_text(now),
        "region": LOCAL_REGION,
        "resources": [schedule],
        "detail": "{}",
    })
}
