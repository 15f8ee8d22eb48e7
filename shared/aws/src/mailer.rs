//! [`Mailer`] on SES.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::{AsyncSleep as _, Builder, Config, SharedAsyncSleep};
use aws_sdk_sesv2::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::get_email_identity::GetEmailIdentityError;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, MessageTag, RawMessage};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use rowmill_domain::event::RUN_TAG;
use rowmill_ports::{Envelope, ErrorKind, Mailer, Result};

use crate::error::failed;

/// The time from the first byte of an email to the answer of SES: enough for the largest, 40 MB, at
/// 150 KB/s.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// Pauses while SES refuses emails for now, 13 to 26 seconds together.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_factor(2.0)
    .with_jitter()
    .with_max_times(7);

/// SES. Sends the MIME message unchanged.
///
/// A call sends it at most once: SES has no idempotency token, so a retry after a lost answer would send
/// it a second time. The caller decides whether to send again.
#[derive(Clone, Debug)]
pub struct SesMailer {
    client: Client,
    sleep: Option<SharedAsyncSleep>,
    configuration_set: Option<String>,
}

impl SesMailer {
    /// SES in the configuration's region. The configuration set decides where bounces and
    /// complaints are reported.
    pub fn new(sdk: &SdkConfig, configuration_set: Option<String>) -> SesMailer {
        let mut config = Builder::from(sdk);
        if let Some(timeouts) = sdk.timeout_config().filter(|t| t.read_timeout().is_some()) {
            let timeouts = timeouts.to_builder().read_timeout(ANSWER_WITHIN);
            config.set_timeout_config(Some(timeouts.build()));
        }
        SesMailer {
            client: Client::from_conf(config.build()),
            sleep: sdk.sleep_impl(),
            configuration_set,
        }
    }

    async fn sleep(&self, time: Duration) {
        match &self.sleep {
            Some(sleep) => sleep.sleep(time).await,
            None => tokio::time::sleep(time).await,
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
        let request = self
            .client
            .send_email()
            .from_email_address(&envelope.from)
            .destination(to)
            .content(EmailContent::builder().raw(raw).build())
            .email_tags(run.build().map_err(invalid)?)
            .set_configuration_set_name(self.configuration_set.clone());
        let mut pauses = PAUSES.build();
        let sent = loop {
            let one = Config::builder().retry_config(RetryConfig::disabled());
            let attempt = request.clone().customize().config_override(one);
            let sent = attempt.send().await;
            match (sent.as_ref().is_err_and(is_throttled), pauses.next()) {
                (true, Some(pause)) => self.sleep(pause).await,
                _ => break sent,
            }
        };
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

/// Whether SES refused the email for now. It has not accepted it, so it can be sent again.
fn is_throttled(error: &SdkError<SendEmailError>) -> bool {
    let code = error.code();
    matches!(
        error.as_service_error(),
        Some(SendEmailError::TooManyRequestsException(_))
    ) || code.is_some_and(|code| code.contains("Throttl"))
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
