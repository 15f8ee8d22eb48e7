//! Bounced emails, from SES through SNS.

use std::collections::{BTreeMap, HashMap};

use rowmill_domain::event::{Bounce, RUN_TAG};
use serde::Deserialize;
use serde_json::Value;

use crate::EventError;

const EXPECTED: &str = "SES event";

/// The fields that are read. Source: Amazon SES developer guide, "Contents of event data that Amazon SES
/// publishes to Amazon SNS".
#[derive(Deserialize)]
struct Event {
    mail: Mail,
    bounce: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    message_id: String,
    #[serde(default)]
    tags: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    bounce_type: String,
    bounce_sub_type: String,
    bounced_recipients: Vec<Recipient>,
}

/// `status` and `diagnostic_code` come from the report of the receiving server, if there was one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
    status: Option<String>,
    diagnostic_code: Option<String>,
}

/// Whether an SNS message is an event of SES.
pub(crate) fn is_ses(message: &Value) -> bool {
    message["eventType"].is_string()
}

/// Parses a bounce. `None` if the event is something else, or the email has no tag with a run.
pub(crate) fn bounce(message: &Value) -> Result<Option<Bounce>, EventError> {
    if message["eventType"] != "Bounce" {
        return Ok(None);
    }
    let Event { mail, bounce } =
        Event::deserialize(message).map_err(EventError::malformed(EXPECTED))?;
    let Some(run) = mail.tags.get(RUN_TAG).and_then(|values| values.first()) else {
        return Ok(None);
    };
    let run = run
        .parse()
        .map_err(|_| EventError::field(EXPECTED, "mail.tags.rowmill-run", run))?;
    let kind = format!("{}/{}", bounce.bounce_type, bounce.bounce_sub_type);
    let by_workbook = is_by_workbook(&bounce);
    let recipients = bounce.bounced_recipients.into_iter();
    let recipients: BTreeMap<_, _> = recipients
        .map(|recipient| {
            let detail = recipient.diagnostic_code.or(recipient.status);
            let reason = detail.map_or_else(|| kind.clone(), |detail| format!("{kind}: {detail}"));
            (recipient.email_address, reason)
        })
        .collect();
    Ok(Some(Bounce {
        run,
        mail: mail.message_id,
        recipients,
        by_workbook,
    }))
}

/// Whether the email was rejected because of its size or content: by the bounce type of SES, or by the
/// status of the receiving server ("message length exceeds administrative limit", "message too big
/// for system"). Sources: the guide above, "Bounce types"; RFC 3463, X.2.3 and X.3.4.
fn is_by_workbook(bounce: &Details) -> bool {
    let sub_type = bounce.bounce_sub_type.as_str();
    let too_big = |recipient: &Recipient| {
        let status = recipient.status.as_deref().unwrap_or_default();
        status.ends_with(".2.3") || status.ends_with(".3.4")
    };
    ["MessageTooLarge", "AttachmentRejected", "ContentRejected"].contains(&sub_type)
        || bounce.bounced_recipients.iter().any(too_big)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A bounce with this type and subtype, and these details of the recipient.
    fn event(kind: [&str; 2], details: &Value) -> Value {
        let mut recipient = json!({ "emailAddress": "ana@example.com", "action": "failed" });
        for (name, value) in details.as_object().unwrap() {
            recipient[name] = value.clone();
        }
        json!({
            "eventType": "Bounce",
            "bounce": {
                "bounceType": kind[0],
                "bounceSubType": kind[1],
                "bouncedRecipients": [recipient],
            },
            "mail": { "messageId": "m", "tags": { RUN_TAG: ["20261121-reviews-0a1b2c3d4e5f"] } },
        })
    }

    #[test]
    fn bounces_because_of_the_workbook_are_distinguished_from_others() {
        let plain = json!({});
        let status = |status: &str| json!({ "status": status });
        for (kind, details, by_workbook, reason) in [
            (
                ["Transient", "MessageTooLarge"],
                plain.clone(),
                true,
                "Transient/MessageTooLarge",
            ),
            (
                ["Transient", "AttachmentRejected"],
                plain.clone(),
                true,
                "Transient/AttachmentRejected",
            ),
            (
                ["Permanent", "General"],
                status("5.3.4"),
                true,
                "Permanent/General: 5.3.4",
            ),
            (
                ["Transient", "General"],
                status("5.2.3"),
                true,
                "Transient/General: 5.2.3",
            ),
            (
                ["Transient", "MailboxFull"],
                status("4.2.2"),
                false,
                "Transient/MailboxFull: 4.2.2",
            ),
            (
                ["Permanent", "General"],
                json!({ "status": "5.1.1", "diagnosticCode": "smtp; 550 user unknown" }),
                false,
                "Permanent/General: smtp; 550 user unknown",
            ),
        ] {
            let read = bounce(&event(kind, &details)).unwrap().unwrap();
            assert_eq!(read.by_workbook, by_workbook, "{reason}");
            assert_eq!(read.recipients["ana@example.com"], reason);
        }
    }

    #[test]
    fn other_events_are_ignored_and_invalid_ones_rejected() {
        let good = event(["Permanent", "General"], &json!({}));
        let with = |pointer: &str, value: Value| {
            let mut event = good.clone();
            *event.pointer_mut(pointer).unwrap() = value;
            bounce(&event)
        };
        assert_eq!(with("/eventType", json!("Complaint")).unwrap(), None);
        assert_eq!(with("/mail/tags", json!({})).unwrap(), None);
        for (pointer, value, field) in [
            ("/mail/tags/rowmill-run", json!(["x"]), "rowmill-run"),
            ("/bounce", json!({}), "bounceType"),
        ] {
            let error = with(pointer, value).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
