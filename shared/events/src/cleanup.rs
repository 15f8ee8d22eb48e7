//! The events that start cleanup.

use chrono::{DateTime, Utc};
use rowmill_domain::event::Reported;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_ACCOUNT, LOCAL_REGION, sns, time_text};

const EXPECTED: &str = "Lambda destination record";

/// An event that starts cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToCleanup {
    /// A run was reported: remove its leftovers.
    Reported(Reported),
    /// The due time of a run: check whether it is stalled.
    Due {
        /// The run.
        run: RunId,
    },
    /// The scheduled sweep, or one that someone asks for: find stalled runs and leftovers.
    Sweep {
        /// Whether it changes nothing.
        dry_run: bool,
    },
}

/// Parses the record that Lambda sends to report's destination for successes, and returns report's
/// answer. `None` if report returned nothing.
///
/// # Errors
/// The payload is not such a record, or report failed.
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

/// Parses the events that start cleanup: a destination record, messages of the topic, the event of the
/// schedule, or a request by hand, `{"dry_run": true}` or `false`. Messages for other stages are ignored.
///
/// # Errors
/// The payload is none of these.
pub fn to_cleanup(payload: &Value) -> Result<Vec<ToCleanup>, EventError> {
    if payload["detail-type"] == "Scheduled Event" {
        return Ok(vec![ToCleanup::Sweep { dry_run: false }]);
    }
    if let Some(dry_run) = payload.get("dry_run") {
        let request = dry_run.as_bool();
        let dry_run =
            request.ok_or_else(|| EventError::field("request for a sweep", "dry_run", dry_run))?;
        return Ok(vec![ToCleanup::Sweep { dry_run }]);
    }
    if sns::is_sns(payload) {
        let messages = sns::sns_messages(payload)?.into_iter();
        return Ok(messages
            .filter_map(|message| match message {
                RunMessage::Due { run } => Some(ToCleanup::Due { run }),
                RunMessage::Split { .. }
                | RunMessage::Stop { .. }
                | RunMessage::Failed { .. }
                | RunMessage::Check { .. }
                | RunMessage::Retry(_)
                | RunMessage::Upload(_)
                | RunMessage::Restore { .. }
                | RunMessage::Retain { .. }
                | RunMessage::TierChanged { .. } => None,
            })
            .collect());
    }
    Ok(reported(payload)?
        .map(ToCleanup::Reported)
        .into_iter()
        .collect())
}

/// Writes the record that Lambda sends after report answered `request` with `response`.
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

/// Writes the event that EventBridge Scheduler sends when a sweep is due.
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
