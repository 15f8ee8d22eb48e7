use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Message, MessageBuilder, MultiPart, SinglePart};

use super::content::Rendered;
use super::recipients::{Recipients, sender};

/// The media type of a workbook.
pub(crate) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The mail as raw MIME. The same input gives the same bytes: the Message-ID and the boundaries are
/// made from `name`.
pub(crate) fn mime(
    name: &str,
    from: &str,
    recipients: &Recipients,
    rendered: Rendered,
    attachment: Option<(String, Vec<u8>)>,
    date: DateTime<Utc>,
) -> Result<Vec<u8>, String> {
    let message = head(name, from, recipients, rendered.subject, date)?;
    let texts = MultiPart::alternative()
        .boundary(format!("texts-{name}"))
        .singlepart(SinglePart::plain(rendered.text))
        .singlepart(SinglePart::html(rendered.html));
    let body = match attachment {
        None => texts,
        Some((file, bytes)) => {
            let kind = ContentType::parse(XLSX).map_err(|e| e.to_string())?;
            MultiPart::mixed()
                .boundary(format!("parts-{name}"))
                .multipart(texts)
                .singlepart(Attachment::new(file).body(bytes, kind))
        }
    };
    let message = message.multipart(body).map_err(|e| e.to_string())?;
    Ok(message.formatted())
}

/// The headers that every mail has.
pub(super) fn head(
    name: &str,
    from: &str,
    recipients: &Recipients,
    subject: String,
    date: DateTime<Utc>,
) -> Result<MessageBuilder, String> {
    let from = sender(from)?;
    let id = format!("<{name}@{}>", from.email.domain());
    let mut message = Message::builder()
        .from(from)
        .subject(subject)
        .message_id(Some(id))
        .date(SystemTime::from(date))
        // RFC 3834: suppresses out-of-office replies.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for mailbox in &recipients.to {
        message = message.to(mailbox.clone());
    }
    Ok(message)
}
