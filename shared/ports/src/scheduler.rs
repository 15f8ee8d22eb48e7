use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::limits::SCHEDULE_NAME_MAX;
use rowmill_domain::message::RunMessage;

use crate::{ErrorKind, PortError, Result};

/// Messages that are to come later: EventBridge Scheduler, or the local one.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// Publishes the message on the topic once that time has come, and forgets it then. At least
    /// once, never before `when`, and on AWS up to a minute after it; at once where `when` is past.
    ///
    /// A message that waits under the same name is replaced. A name has 1 to
    /// [`SCHEDULE_NAME_MAX`] letters, digits, `-`, `_` and `.`, and a
    /// message at most [`rowmill_domain::limits::TOPIC_MESSAGE_MAX`] bytes; else
    /// [`crate::ErrorKind::Invalid`].
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &RunMessage) -> Result<()>;
    /// Forgets the message that waits under that name; nothing happens where none does. One that
    /// is on its way already still arrives.
    async fn cancel(&self, name: &str) -> Result<()>;
}

/// A schedule's name as EventBridge Scheduler takes it.
///
/// # Errors
/// [`ErrorKind::Invalid`] where it is none.
pub fn check_schedule_name(operation: &'static str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=SCHEDULE_NAME_MAX).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let what = format!(
        "a schedule's name has 1 to {SCHEDULE_NAME_MAX} letters, digits, `-`, `_` and `.`, and \
         this one has {} characters",
        name.chars().count()
    );
    Err(PortError::new(operation, name, ErrorKind::Invalid, what))
}
