use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::message::header::{
    ContentDisposition, ContentTransferEncoding, ContentType, HeaderName, HeaderValue,
};
use lettre::message::{Body, Message, MultiPart, SinglePart};
use rowmill_domain::RunId;

use super::recipients::{Recipients, sender};

/// The mail that tells of a run's mail that the mail service refused, with that mail attached. The
/// same input gives the same bytes.
pub(crate) fn refused(
    run: &RunId,
    from: &str,
    to: &Recipients,
    tried: &[String],
    why: &str,
    mail: &[u8],
    date: DateTime<Utc>,
) -> Result<Vec<u8>, String> {
    let from = sender(from)?;
    let text = format!(
        "The mail of run {run} was to go to {}, and the mail service refused it:\n\n{why}\n\n\
         It is attached here as it was. Correct the recipients: [notify] in pipelines/{}.toml, \
         or `notify` of the upload.\n",
        tried.join(", "),
        run.pipeline(),
    );
    // As the builder made it: lines of ASCII. RFC 2046 allows no other encoding for a message.
    let whole = Body::dangerous_pre_encoded(mail.to_vec(), ContentTransferEncoding::SevenBit);
    let kind = ContentType::parse("message/rfc822").map_err(|e| e.to_string())?;
    let mut message = Message::builder()
        .message_id(Some(format!("<{run}-refused@{}>", from.email.domain())))
        .from(from)
        .subject(format!("{run}: its mail was refused"))
        .date(SystemTime::from(date))
        // RFC 3834: no out-of-office replies to this.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for mailbox in &to.to {
        message = message.to(mailbox.clone());
    }
    let body = MultiPart::mixed()
        .boundary(format!("refused-{run}"))
        .singlepart(SinglePart::plain(text))
        .singlepart(
            SinglePart::builder()
                .header(kind)
                .header(ContentDisposition::attachment("mail.eml"))
                .body(whole),
        );
    let message = message.multipart(body).map_err(|e| e.to_string())?;
    Ok(message.formatted())
}
