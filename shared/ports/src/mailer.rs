use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_domain::limits::{MAIL_MAX, RECIPIENTS_MAX};

use crate::{ErrorKind, PortError, Result};

/// Whom a mail is from and to, apart from its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The run that it tells of; SES names it where the mail comes back.
    pub run: RunId,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses, 1 to [`rowmill_domain::limits::RECIPIENTS_MAX`].
    pub to: Vec<String>,
}

impl Envelope {
    /// Checks a mail with that envelope against what SES takes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the mail is too large, or has no recipients or too many.
    pub fn check(&self, mime: &[u8]) -> Result<()> {
        let (size, recipients) = (mime.len(), self.to.len());
        let problem = if size > MAIL_MAX {
            format!("the mail has {size} bytes, and at most {MAIL_MAX} are taken")
        } else if recipients == 0 {
            "the mail has no recipient".to_owned()
        } else if recipients > RECIPIENTS_MAX {
            format!("the mail has {recipients} recipients, and at most {RECIPIENTS_MAX} are taken")
        } else {
            return Ok(());
        };
        Err(self.error(ErrorKind::Invalid, problem))
    }

    /// An error of sending to these recipients.
    pub fn error(&self, kind: ErrorKind, message: impl std::fmt::Display) -> PortError {
        PortError::new("SendEmail", self.to.join(", "), kind, message)
    }
}

/// Mail: SES, an SMTP relay, or `.eml` files.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a raw MIME message and gives the id that the service knows it by. More than
    /// [`rowmill_domain::limits::MAIL_MAX`] bytes: [`crate::ErrorKind::Invalid`].
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String>;
}
