//! Mail that came back, from SES's events on a topic of SNS.

use std::collections::{BTreeMap, HashMap};

use rowmill_domain::event::{Bounce, RUN_TAG};
use serde::Deserialize;
use serde_json::Value;

use crate::EventError;

const EXPECTED: &str = "event of SES";

/// The fields read. Source: Amazon SES developer guide, "Contents of event data that Amazon SES
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

/// The last two come from the mailbox's own report, where there was one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
    status: Option<String>,
    diagnostic_code: Option<String>,
}

/// Whether a message is an event of SES.
pub(crate) fn is_ses(message: &Value) -> bool {
    message["eventType"].is_string()
}

/// What came back; `None` where the event tells of something else, or of a mail that names no run.
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
            let said = recipient.diagnostic_code.or(recipient.status);
            let why = said.map_or_else(|| kind.clone(), |said| format!("{kind}: {said}"));
            (recipient.email_address, why)
        })
        .collect();
    Ok(Some(Bounce {
        run,
        mail: mail.message_id,
        recipients,
        by_workbook,
    }))
}

/// Whether the mailbox refused the mail for its size or for what it holds: as SES reads what the
/// mailbox says, or by the mailbox's own status ("message length exceeds administrative limit",
/// "message too big for system"). Sources: the same, "Bounce types"; RFC 3463, X.2.3 and X.3.4.
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

    /// A bounce of that type and sub-type, of a mailbox that says so.
    fn event(kind: [&str; 2], said: &Value) -> Value {
        let mut recipient = json!({ "emailAddress": "ana@example.com", "action": "failed" });
        for (name, value) in said.as_object().unwrap() {
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
    fn a_bounce_for_the_workbook_is_told_from_others() {
        let plain = json!({});
        let status = |status: &str| json!({ "status": status });
        for (kind, said, by_workbook, why) in [
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
            let read = bounce(&event(kind, &said)).unwrap().unwrap();
            assert_eq!(read.by_workbook, by_workbook, "{why}");
            assert_eq!(read.recipients["ana@example.com"], why);
        }
    }

    #[test]
    fn what_tells_of_no_run_s_mail_is_passed_over_or_refused() {
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
