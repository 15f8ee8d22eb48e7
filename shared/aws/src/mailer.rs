//! [`Mailer`] on SES.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::{BuildError, SdkError};
use aws_sdk_sesv2::operation::get_email_identity::GetEmailIdentityError;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, MessageTag, RawMessage};
use rowmill_domain::event::RUN_TAG;
use rowmill_ports::{Envelope, ErrorKind, Mailer, Result};

use crate::error::failed;

/// SES. Sends the MIME message unchanged.
#[derive(Clone, Debug)]
pub struct SesMailer {
    client: Client,
    configuration_set: Option<String>,
}

impl SesMailer {
    /// SES in the configuration's region. The configuration set decides where bounces and
    /// complaints are reported.
    pub fn new(sdk: &SdkConfig, configuration_set: Option<String>) -> SesMailer {
        SesMailer {
            client: Client::new(sdk),
            configuration_set,
        }
    }
}

#[async_trait]
impl Mailer for SesMailer {
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        envelope.check(mime)?;
        let invalid = |error: BuildError| envelope.error(ErrorKind::Invalid, error);
        let raw = RawMessage::builder().data(Blob::new(mime));
        let raw = raw.build().map_err(invalid)?;
        let run = MessageTag::builder()
            .name(RUN_TAG)
            .value(envelope.run.as_str());
        let to = Destination::builder()
            .set_to_addresses(Some(envelope.to.clone()))
            .build();
        let sent = self
            .client
            .send_email()
            .from_email_address(&envelope.from)
            .destination(to)
            .content(EmailContent::builder().raw(raw).build())
            .email_tags(run.build().map_err(invalid)?)
            .set_configuration_set_name(self.configuration_set.clone())
            .send()
            .await;
        match sent {
            Ok(sent) => sent.message_id.ok_or_else(|| {
                let what = "the response has no message id";
                envelope.error(ErrorKind::Unavailable, what)
            }),
            Err(error) => {
                let verdict = error.as_service_error().and_then(verdict);
                let mut failure = failed("SendEmail", envelope.to.join(", "))(error);
                if let Some((kind, advice)) = verdict {
                    failure.kind = kind;
                    failure.message = format!("{}: {advice}", failure.message);
                }
                Err(failure)
            }
        }
    }

    async fn is_verified(&self, identity: &str) -> Result<bool> {
        let request = self.client.get_email_identity().email_identity(identity);
        match request.send().await {
            Ok(found) => Ok(found.verified_for_sending_status),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), GetEmailIdentityError::NotFoundException(_)) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed("GetEmailIdentity", identity)(error)),
        }
    }
}

/// What an error of SES means and what to do next, if its code does not say enough.
fn verdict(error: &SendEmailError) -> Option<(ErrorKind, &'static str)> {
    match error {
        SendEmailError::MessageRejected(rejected)
            if rejected
                .message()
                .is_some_and(|text| text.contains("not verified")) =>
        {
            Some((
                ErrorKind::Denied,
                "click the link in the email that SES sent to verify the sender; while the account \
                 is in the SES sandbox, recipients must be verified too: verify them, or request \
                 production access in the SES console",
            ))
        }
        SendEmailError::MessageRejected(_) => Some((
            ErrorKind::Invalid,
            "SES does not accept this email; its message says why",
        )),
        SendEmailError::MailFromDomainNotVerifiedException(_) => Some((
            ErrorKind::Denied,
            "complete the DNS records of the sender's custom MAIL FROM domain, or remove that \
             domain from the identity in the SES console",
        )),
        SendEmailError::AccountSuspendedException(_) => Some((
            ErrorKind::Denied,
            "AWS has permanently suspended sending for this account; see the email from AWS to the \
             account's owner, or use another account",
        )),
        SendEmailError::SendingPausedException(_) => Some((
            ErrorKind::Denied,
            "sending is paused for the account or the configuration set; check the reputation \
             metrics in the SES console and enable sending there",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sesv2::types::error::{AccountSuspendedException, MessageRejected};

    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let rejected = |text: &str| {
            SendEmailError::MessageRejected(MessageRejected::builder().message(text).build())
        };
        let (kind, advice) = verdict(&rejected(
            "Email address is not verified. The following identities failed the check in region \
             EU-CENTRAL-1: a@example.com",
        ))
        .unwrap();
        assert_eq!(kind, ErrorKind::Denied);
        assert!(advice.contains("sandbox"));
        let (kind, _) = verdict(&rejected("Message contains a virus.")).unwrap();
        assert_eq!(kind, ErrorKind::Invalid);
        let suspended = AccountSuspendedException::builder().build();
        let (kind, _) = verdict(&SendEmailError::AccountSuspendedException(suspended)).unwrap();
        assert_eq!(kind, ErrorKind::Denied);
    }
}
