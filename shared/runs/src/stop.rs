//! Stopping a run early.

use chrono::{DateTime, Utc};
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Stop, StopReason};
use rowmill_domain::{RunId, RunState};
use rowmill_ports::{ErrorKind, PortError, RunPatch, Runs, Topic};

use crate::Transition;

/// What [`stop`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Stopped {
    /// The run stops now.
    Now,
    /// It was stopped before, for this reason.
    Before(Stop),
    /// Its result is being written, or it has ended: there is nothing left to stop.
    TooLate(RunState),
}

/// Stops a run: records why, and publishes it. Then no child starts a new record, submit ends the jobs
/// that have not started, and report delivers what is done. The records that are not done are
/// `missing`, with this reason. Whoever stops a run, and why, it is done by this function.
///
/// The first reason stays. Safe to repeat: the message is then published again.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is no such run, or a service failed. If the reason is
/// recorded but not published, children stop, and cleanup publishes it once the run has stalled.
pub async fn stop(
    runs: &dyn Runs,
    topic: &dyn Topic,
    run: &RunId,
    reason: StopReason,
    now: DateTime<Utc>,
) -> Result<Stopped, PortError> {
    let stopped = record_stop(runs, run, reason, now).await?;
    if !matches!(stopped, Stopped::TooLate(_)) {
        publish_stop(topic, run).await?;
    }
    Ok(stopped)
}

/// Records why a run is stopped, without publishing it. The first reason stays.
///
/// # Errors
/// As [`stop`].
pub async fn record_stop(
    runs: &dyn Runs,
    run: &RunId,
    reason: StopReason,
    now: DateTime<Utc>,
) -> Result<Stopped, PortError> {
    let Some(item) = runs.find_run(run).await? else {
        let (kind, why) = (ErrorKind::NotFound, "no such run");
        return Err(PortError::new("stop", run.as_str(), kind, why));
    };
    if !Transition::Stop.from().contains(&item.state) {
        return Ok(Stopped::TooLate(item.state));
    }
    if let Some(stop) = item.stop {
        return Ok(Stopped::Before(stop));
    }
    let fields = RunPatch {
        stop: Some(Stop { reason, at: now }),
        ..RunPatch::default()
    };
    if !Transition::Stop.apply(runs, run, fields, now).await? {
        let item = runs.find_run(run).await?;
        let state = item.map_or(RunState::Reporting, |item| item.state);
        return Ok(Stopped::TooLate(state));
    }
    Ok(Stopped::Now)
}

/// Publishes that a run is stopped, perhaps again.
///
/// # Errors
/// A call to `topic` failed.
pub async fn publish_stop(topic: &dyn Topic, run: &RunId) -> Result<(), PortError> {
    topic
        .publish(&RunMessage::Stop {
            run: run.clone(),
            reason: None,
        })
        .await
}

/// Asks submit to stop a run, for a caller that may not change runs: a child that finds that a limit is
/// reached.
///
/// # Errors
/// A call to `topic` failed.
pub async fn request_stop(
    topic: &dyn Topic,
    run: &RunId,
    reason: StopReason,
) -> Result<(), PortError> {
    topic
        .publish(&RunMessage::Stop {
            run: run.clone(),
            reason: Some(reason),
        })
        .await
}

#[cfg(test)]
mod tests {
    use rowmill_domain::RunItem;
    use rowmill_domain::run::UploadSource;
    use rowmill_local::{Cloud, LocalTopic, SqliteLedger, bus};
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_an_ended_run_is_left_alone() {
        let state = TempDir::new().unwrap();
        let runs = SqliteLedger::open(state.path()).unwrap();
        let cloud = Cloud::open(state.path()).unwrap();
        let topic = LocalTopic::new(cloud.clone(), None);
        let now = DateTime::UNIX_EPOCH;
        let id = RunId::new("inbox", "p/a.csv", "1", now, "p");
        let cancel = |by: &str| StopReason::Cancelled { by: by.to_owned() };
        let stopped = stop(&runs, &topic, &id, cancel("ana"), now).await;
        assert_eq!(stopped.unwrap_err().kind, ErrorKind::NotFound);

        let source = UploadSource {
            bucket: "inbox".to_owned(),
            key: "p/a.csv".to_owned(),
            version: "1".to_owned(),
            size: 1,
            uploaded: now,
        };
        let item = RunItem::new(id.clone(), source, now);
        assert!(runs.create_run(&item).await.unwrap());
        let first = stop(&runs, &topic, &id, cancel("ana"), now).await.unwrap();
        assert_eq!(first, Stopped::Now);
        let Stopped::Before(again) = stop(&runs, &topic, &id, cancel("ben"), now).await.unwrap()
        else {
            panic!("stopped twice");
        };
        assert_eq!(again.missing(), "Stopped: the run was cancelled by ana");
        assert_eq!(bus::queue(&cloud).unwrap().len(), 2, "published again");

        for change in [Transition::FinishSplit, Transition::StartReport] {
            let none = RunPatch::default();
            assert!(change.apply(&runs, &id, none, now).await.unwrap());
        }
        let late = stop(&runs, &topic, &id, cancel("ben"), now).await.unwrap();
        assert_eq!(late, Stopped::TooLate(RunState::Reporting));
        let item = runs.find_run(&id).await.unwrap().unwrap();
        assert_eq!(item.stop, Some(again), "and stays");
    }
}
