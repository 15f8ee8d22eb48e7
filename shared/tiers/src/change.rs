//! Giving a submitter another tier.

use chrono::{DateTime, Utc};
use rowmill_domain::Submitter;
use rowmill_domain::message::RunMessage;
use rowmill_ports::{PortError, Submitters, Topic};

/// Gives a submitter a tier from `since` on, and publishes that it changed. Returns `false` and changes
/// nothing if a tier was given since a later time.
///
/// Safe to repeat after an error: the tier is given again, and published.
///
/// # Errors
/// A service failed. The tier may be given and not published.
pub async fn change_tier(
    submitters: &dyn Submitters,
    topic: &dyn Topic,
    submitter: &Submitter,
    tier: &str,
    since: DateTime<Utc>,
) -> Result<bool, PortError> {
    if !submitters.give_tier(submitter, tier, since).await? {
        return Ok(false);
    }
    let message = RunMessage::TierChanged {
        submitter: submitter.clone(),
    };
    topic.publish(&message).await?;
    Ok(true)
}
