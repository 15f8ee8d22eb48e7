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
    let boundaries = ["texts", "parts"].map(|part| format!("{part}-{name}"));
    let texts = MultiPart::alternative()
        .boundary(&boundaries[0])
        .singlepart(SinglePart::plain(rendered.text))
        .singlepart(SinglePart::html(rendered.html));
    let body = match attachment {
        None => texts,
        Some((file, bytes)) => {
            let kind = ContentType::parse(XLSX).map_err(|e| e.to_string())?;
            MultiPart::mixed()
                .boundary(&boundaries[1])
                .multipart(texts)
                .singlepart(Attachment::new(file).body(bytes, kind))
        }
    };
    let message = message.multipart(body).map_err(|e| e.to_string())?;
    Ok(fold(&message.formatted(), &boundaries))
}

/// The longest line of a header, without its end. Source: RFC 5322, section 2.1.1.
const LINE_MAX: usize = 78;

/// Folds the lines of headers that are longer than [`LINE_MAX`] at spaces, where there are any: those of
/// the mail, and those of its parts, which follow these boundaries.
pub(super) fn fold(mail: &[u8], boundaries: &[String]) -> Vec<u8> {
    let starts_part = |line: &[u8]| {
        let boundary = line
            .strip_prefix(b"--")
            .and_then(|line| line.strip_suffix(b"\r\n"));
        boundary.is_some_and(|line| boundaries.iter().any(|name| name.as_bytes() == line))
    };
    let mut folded = Vec::with_capacity(mail.len() + 64);
    let mut in_head = true;
    for line in mail.split_inclusive(|b| *b == b'\n') {
        let mut rest = line;
        while in_head
            && rest.len() > LINE_MAX + b"\r\n".len()
            && let Some(at) = rest[..=LINE_MAX].iter().rposition(|b| *b == b' ')
            // A line must not be blank.
            && !rest[..at].trim_ascii().is_empty()
        {
            folded.extend_from_slice(&rest[..at]);
            folded.extend_from_slice(b"\r\n");
            rest = &rest[at..];
        }
        folded.extend_from_slice(rest);
        in_head = match line {
            b"\r\n" => false,
            line => in_head || starts_part(line),
        };
    }
    folded
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
