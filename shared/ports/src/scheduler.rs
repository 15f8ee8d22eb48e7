use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::limits::SCHEDULE_NAME_MAX;
use rowmill_domain::message::RunMessage;

use crate::{ErrorKind, PortError, Result};

/// Messages for later: EventBridge Scheduler, or the local one.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// Schedules a message for the topic. It is published at least once, never before `when`, and
    /// on AWS up to a minute later; at once if `when` is in the past. Replaces a message that waits
    /// under the same name. The name is free again once its message is published.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the name is not valid ([`check_schedule_name`]), or if the message
    /// is larger than [`TOPIC_MESSAGE_MAX`](rowmill_domain::limits::TOPIC_MESSAGE_MAX) bytes.
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &RunMessage) -> Result<()>;
    /// Removes the message that waits under this name, if there is one. A message that is already
    /// being published still arrives.
    async fn cancel(&self, name: &str) -> Result<()>;
}

/// Checks the name of a schedule against the rules of EventBridge Scheduler: 1 to
/// [`SCHEDULE_NAME_MAX`] letters, digits, `-`, `_` and `.`.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the name is not valid.
///
/// ```
/// use rowmill_ports::check_schedule_name;
///
/// assert!(check_schedule_name("CreateSchedule", "run-1").is_ok());
/// assert!(check_schedule_name("CreateSchedule", "run 1").is_err());
/// ```
pub fn check_schedule_name(operation: &'static str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=SCHEDULE_NAME_MAX).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let what = format!(
        "invalid schedule name ({} characters): use 1 to {SCHEDULE_NAME_MAX} letters, digits, \
         `-`, `_` and `.`",
        name.chars().count()
    );
    Err(PortError::new(operation, name, ErrorKind::Invalid, what))
}
