use chrono::{DateTime, Utc};
use lettre::message::header::{ContentDisposition, ContentTransferEncoding, ContentType};
use lettre::message::{Body, MultiPart, SinglePart};
use rowmill_domain::RunId;

use super::mime::{fold, head};
use super::recipients::Recipients;
use super::wrap::wrapped;

/// The notice that the mail service refused the mail of a run, with that mail attached. The same
/// input gives the same bytes.
pub(crate) fn refused(
    run: &RunId,
    from: &str,
    to: &Recipients,
    tried: &[String],
    why: &str,
    mail: &[u8],
    date: DateTime<Utc>,
) -> Result<Vec<u8>, String> {
    let text = format!(
        "The email for run {run} to {} was rejected by the mail service:\n\n{why}\n\n\
         The rejected email is attached. Correct the recipients: `to` under [notify] in pipelines/{}.toml, \
         or the metadata `notify` of the upload.\n",
        tried.join(", "),
        run.pipeline(),
    );
    // The builder writes lines of ASCII. RFC 2046 allows no other encoding of an attached message.
    let whole = Body::dangerous_pre_encoded(mail.to_vec(), ContentTransferEncoding::SevenBit);
    let kind = ContentType::parse("message/rfc822").map_err(|e| e.to_string())?;
    let name = format!("{run}-refused");
    let subject = format!("{run}: the mail was refused");
    let message = head(&name, from, to, subject, date)?;
    let boundary = format!("refused-{run}");
    let body = MultiPart::mixed()
        .boundary(&boundary)
        .singlepart(SinglePart::plain(wrapped(&text)))
        .singlepart(
            SinglePart::builder()
                .header(kind)
                .header(ContentDisposition::attachment("mail.eml"))
                .body(whole),
        );
    let message = message.multipart(body).map_err(|e| e.to_string())?;
    Ok(fold(&message.formatted(), &[boundary]))
}
