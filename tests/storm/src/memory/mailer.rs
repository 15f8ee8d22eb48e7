//! Mail.

use std::sync::Mutex;

use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_ports::{Envelope, Mailer, Result};

use super::lock;

/// An email that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its sender, recipients and run.
    pub envelope: Envelope,
    /// Its content.
    pub mime: Vec<u8>,
}

/// Mail in memory.
#[derive(Default)]
pub struct MemoryMailer(Mutex<Vec<Sent>>);

impl MemoryMailer {
    /// All emails sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.0).clone()
    }

    /// Forgets the emails of runs that are not kept.
    pub fn retain(&self, mut keep: impl FnMut(&RunId) -> bool) {
        lock(&self.0).retain(|mail| keep(&mail.envelope.run));
    }
}

#[async_trait]
impl Mailer for MemoryMailer {
    async fn send(&self, envelope: &Envelope, mime: &[u8]) -> Result<String> {
        envelope.check(mime)?;
        let sent = &mut lock(&self.0);
        sent.push(Sent {
            envelope: envelope.clone(),
            mime: mime.to_owned(),
        });
        Ok(format!("memory-{}", sent.len()))
    }

    async fn is_verified(&self, _identity: &str) -> Result<bool> {
        Ok(true)
    }
}
