use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_domain::limits::{MAIL_MAX, RECIPIENTS_MAX};

use crate::{ErrorKind, PortError, Result};

/// The sender and the recipients of an email, independent of its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The run that the email is about. SES reports it if the email bounces.
    pub run: RunId,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses, 1 to [`RECIPIENTS_MAX`].
    pub to: Vec<String>,
}

impl Envelope {
    /// Checks an email with this envelope against the limits of SES.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the email is too large, or has no recipients or too many.
    pub fn check(&self, mime: &[u8]) -> Result<()> {
        let (size, recipients) = (mime.len(), self.to.len());
        let problem = if size > MAIL_MAX {
            format!("the email has {size} bytes; the limit is {MAIL_MAX}")
        } else if recipients == 0 {
            "the email has no recipient".to_owned()
        } else if recipients > RECIPIENTS_MAX {
            format!("the email has {recipients} recipients; the limit is {RECIPIENTS_MAX}")
        } else {
            return Ok(());
        };
        Err(self.error(ErrorKind::Invalid, problem))
    }

    /// An error about sending an email with this envelope.
    pub fn error(&self, kind: ErrorKind, message: impl std::fmt::Display) -> PortError {
        PortError::new("SendEmail", self.to.join(", "), kind, message)
    }
}

/// Mail: SES, an SMTP relay, or `.eml` files.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a MIME message unchanged. Returns the id that the service gave it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if [`Envelope::check`] fails or the service never accepts this email.
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String>;
    /// Returns whether mail from this identity, an address or a domain, can be sent. SES refuses mail
    /// from one that its owner has not verified. A relay and files have no such rule.
    async fn is_verified(&self, identity: &str) -> Result<bool>;
}
