use async_trait::async_trait;

use crate::Result;

/// Whom a mail is from and to, apart from its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses, 1 to [`rowmill_domain::limits::RECIPIENTS_MAX`].
    pub to: Vec<String>,
}

/// Mail: SES, an SMTP relay, or `.eml` files.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a raw MIME message and gives the id that the service knows it by. More than
    /// [`rowmill_domain::limits::MAIL_MAX`] bytes: [`crate::ErrorKind::Invalid`].
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String>;
}
