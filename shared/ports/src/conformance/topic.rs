//! The guarantees of [`Topic`].

use std::time::Duration;

use chrono::DateTime;
use rowmill_domain::RunId;
use rowmill_domain::limits;
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::{Failure, StopReason};

use super::arrival;
use crate::topic::attribute_bytes;
use crate::{ErrorKind, Topic};

/// Checks an adapter. `received` returns all messages that the subscription to a kind has received
/// so far. `patience` is how long a message may take.
///
/// # Panics
/// If a guarantee of [`Topic`] does not hold.
pub async fn topic(
    topic: &dyn Topic,
    received: &dyn Fn(&str) -> Vec<RunMessage>,
    patience: Duration,
) {
    let date = DateTime::from_timestamp_millis(1_795_255_200_123).unwrap();
    let run = RunId::new("inbox", "suite/a.xlsx", "v1", date, "suite");
    let failed = |what: &str| RunMessage::Failed {
        run: run.clone(),
        failure: Failure {
            stage: "split".into(),
            what: what.into(),
            advice: "advice \"quoted\"\n\u{1F600}".into(),
        },
    };
    let messages = [
        RunMessage::Split { run: run.clone() },
        RunMessage::Stop {
            run: run.clone(),
            reason: Some(StopReason::MaxCost { limit: 5.5 }),
        },
        failed("what"),
        RunMessage::Check { run: run.clone() },
        RunMessage::Due { run: run.clone() },
    ];
    for message in &messages {
        topic.publish(message).await.unwrap();
    }
    for message in &messages {
        arrival(&|| received(message.kind()), message, patience);
        let got = received(message.kind());
        let others = got.iter().filter(|other| other.kind() != message.kind());
        assert_eq!(
            others.count(),
            0,
            "a subscription receives only its own kind: {got:?}"
        );
    }

    let empty = failed("");
    let overhead = serde_json::to_vec(&empty).unwrap().len() + attribute_bytes(&empty);
    let largest = failed(&"x".repeat(limits::TOPIC_MESSAGE_MAX - overhead));
    topic.publish(&largest).await.expect("the largest message");
    let larger = failed(&"x".repeat(limits::TOPIC_MESSAGE_MAX - overhead + 1));
    let error = topic.publish(&larger).await.expect_err("one byte more");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    arrival(&|| received("failed"), &largest, patience);
    assert!(!received("failed").contains(&larger));
}
