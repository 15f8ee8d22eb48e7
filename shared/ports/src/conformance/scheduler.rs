//! The guarantees of [`Scheduler`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::RunId;
use rowmill_domain::limits;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Failure;

use super::arrival;
use crate::{ErrorKind, Scheduler};

/// Checks an adapter whose messages are published while the suite runs. `received` returns all
/// messages of the kind `due` so far. `patience` is how late a message may arrive.
///
/// # Panics
/// If a guarantee of [`Scheduler`] does not hold.
pub async fn scheduler(
    scheduler: &dyn Scheduler,
    received: &dyn Fn() -> Vec<RunMessage>,
    patience: Duration,
) {
    let date = DateTime::from_timestamp_millis(1_795_255_200_123).unwrap();
    let due = |key: &str| RunMessage::Due {
        run: RunId::new("inbox", key, "v1", date, "suite"),
    };
    let (now, hour) = (Utc::now(), TimeDelta::hours(1));
    let soon = now + TimeDelta::seconds(3);

    let (replaced, past) = (due("replaced"), due("past"));
    scheduler
        .at("suite-1", now + hour, &replaced)
        .await
        .unwrap();
    scheduler.at("suite-1", now - hour, &past).await.unwrap();
    let (cancelled, later) = (due("cancelled"), due("later"));
    scheduler.at("suite-2", soon, &cancelled).await.unwrap();
    scheduler.at("suite_3.later", soon, &later).await.unwrap();
    for name in ["suite-2", "suite-2", "suite-never"] {
        scheduler.cancel(name).await.unwrap();
    }
    arrival(received, &past, patience);
    arrival(received, &later, patience + Duration::from_secs(3));
    let at = Utc::now();
    assert!(at >= soon, "it arrived by {at}, before {soon}");
    let got = received();
    assert!(!got.contains(&cancelled), "it was cancelled: {got:?}");
    assert!(!got.contains(&replaced), "it was replaced: {got:?}");

    // A name is free again once its message is published.
    let again = due("again");
    scheduler.at("suite-1", Utc::now(), &again).await.unwrap();
    arrival(received, &again, patience);

    let longest = "n".repeat(limits::SCHEDULE_NAME_MAX);
    scheduler.at(&longest, now + hour, &later).await.unwrap();
    scheduler.cancel(&longest).await.unwrap();
    for name in ["", "a b", "a/b", "ü", &format!("{longest}n")] {
        let error = scheduler.at(name, now + hour, &later).await;
        let error = error.expect_err("an invalid name");
        assert_eq!(error.kind, ErrorKind::Invalid, "{name:?}: {error}");
    }
    let large = RunMessage::Failed {
        run: RunId::new("inbox", "large", "v1", date, "suite"),
        failure: Failure {
            stage: "split".into(),
            what: "x".repeat(limits::TOPIC_MESSAGE_MAX),
            advice: String::new(),
        },
    };
    let error = scheduler.at("suite-4", now + hour, &large).await;
    assert_eq!(error.expect_err("a limit").kind, ErrorKind::Invalid);
}
