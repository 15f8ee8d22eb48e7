//! Failing a run.

use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Counts, Failure};
use rowmill_ports::{PortError, RunPatch, Runs, Topic};

use crate::Transition;

/// Fails a run: records why, and publishes it so that report sends the email. Returns `false`, and
/// publishes nothing, if the run has changed state in the meantime and the failure no longer applies.
///
/// `transition` is [`Transition::FailSplit`] or [`Transition::FailSubmit`]. Safe to repeat.
///
/// # Errors
/// A service failed. If the reason is recorded but not published, cleanup publishes it once the run
/// has stalled.
pub async fn fail(
    runs: &dyn Runs,
    topic: &dyn Topic,
    run: &RunId,
    transition: Transition,
    failure: Failure,
    counts: Option<Counts>,
    now: DateTime<Utc>,
) -> Result<bool, PortError> {
    let applies = record_failure(runs, run, transition, &failure, counts, now).await?;
    if applies {
        publish_failure(topic, run, failure).await?;
    }
    Ok(applies)
}

/// Records why a run failed, without publishing it. Returns `false` if the run has changed state.
///
/// # Errors
/// A call to `runs` failed.
pub async fn record_failure(
    runs: &dyn Runs,
    run: &RunId,
    transition: Transition,
    failure: &Failure,
    counts: Option<Counts>,
    now: DateTime<Utc>,
) -> Result<bool, PortError> {
    let reason = RunPatch {
        failure: Some(failure.clone()),
        counts,
        ..RunPatch::default()
    };
    transition.apply(runs, run, reason, now).await
}

/// Publishes the recorded failure of a run, perhaps again.
///
/// # Errors
/// A call to `topic` failed.
pub async fn publish_failure(
    topic: &dyn Topic,
    run: &RunId,
    failure: Failure,
) -> Result<(), PortError> {
    let run = run.clone();
    topic.publish(&RunMessage::Failed { run, failure }).await
}
