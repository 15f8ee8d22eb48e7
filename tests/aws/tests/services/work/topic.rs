//! The topic on SNS and the scheduler on EventBridge Scheduler.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rowmill_aws::{EventBridgeScheduler, SnsTopic};
use rowmill_domain::RunId;
use rowmill_domain::message::RunMessage;
use rowmill_ports::faulty::{Faults, Faulty, Moment};
use rowmill_ports::{ErrorKind, Scheduler, Topic, conformance};
use rowmill_tests_aws::emulators::Emulator;

use super::receiver;

/// Much longer than a delivery within one machine, even if many tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "rowmill";

fn run() -> RunId {
    "20261121-reviews-0a1b2c3d4e5f".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let (arn, received) = receiver::topic(&config, &RunMessage::KINDS).await;
    let topic = SnsTopic::new(&config, &arn);
    conformance::topic::topic(&topic, &|kind| received.messages(kind), PATIENCE).await;
    for kind in RunMessage::KINDS {
        for envelope in received.envelopes(kind) {
            let attribute = &envelope["MessageAttributes"]["kind"];
            assert_eq!(attribute["Type"], "String");
            assert_eq!(attribute["Value"], kind);
        }
    }

    let absent = SnsTopic::new(&config, format!("{arn}-absent"));
    let error = absent.publish(&RunMessage::Split { run: run() }).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let said = error.to_string();
    assert!(said.contains("Publish arn:aws:sns:"), "{said}");
    assert!(
        said.contains("rowmill-absent") && said.contains("request id"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler() {
    let aws = Emulator::ministack();
    let config = aws.sdk_config();
    let (topic, received) = receiver::topic(&config, &["due"]).await;
    let client = aws_sdk_scheduler::Client::new(&config);
    let group = client.create_schedule_group().name(GROUP);
    group.send().await.unwrap();
    let role = "arn:aws:iam::000000000000:role/publish";
    let scheduler = EventBridgeScheduler::new(&config, GROUP, role, &topic);

    // The request to EventBridge Scheduler.
    let due = RunMessage::Due { run: run() };
    let when = Utc::now() + TimeDelta::hours(2);
    scheduler.at(run().as_str(), when, &due).await.unwrap();
    let get = client.get_schedule().group_name(GROUP).name(run().as_str());
    let made = get.send().await.unwrap();
    assert_eq!(made.action_after_completion().unwrap().as_str(), "DELETE");
    let window = made.flexible_time_window().unwrap();
    assert_eq!(window.mode().as_str(), "OFF");
    let target = made.target().unwrap();
    assert_eq!((target.arn(), target.role_arn()), (topic.as_str(), role));
    let text = r#"{"kind":"due","run":"20261121-reviews-0a1b2c3d4e5f"}"#;
    assert_eq!(target.input(), Some(text));
    let retries = target.retry_policy().unwrap();
    assert_eq!(retries.maximum_retry_attempts(), Some(185));
    let soon = TimeDelta::seconds(1);
    let [at, above] = [when, when + soon].map(|t| format!("at({})", t.format("%FT%T")));
    let expression = made.schedule_expression().unwrap();
    assert!([at, above].iter().any(|e| e == expression), "{expression}");
    scheduler.cancel(run().as_str()).await.unwrap();

    // A time within the next minute is postponed: Scheduler could miss it.
    scheduler.at("now", Utc::now(), &due).await.unwrap();
    let get = client.get_schedule().group_name(GROUP).name("now");
    let made = get.send().await.unwrap();
    let least = Utc::now() + TimeDelta::seconds(50);
    let least = format!("at({})", least.format("%FT%T"));
    let expression = made.schedule_expression().unwrap();
    assert!(*expression > *least, "{expression} {least}");
    scheduler.cancel("now").await.unwrap();

    // ministack invokes schedules of the past and checks them every ten seconds.
    let scheduler = scheduler.ahead(Duration::ZERO);
    let messages = || received.messages("due");
    conformance::scheduler::scheduler(&scheduler, &messages, PATIENCE).await;
    for envelope in received.envelopes("due") {
        let attributes = envelope["MessageAttributes"].as_object();
        assert!(attributes.is_none_or(|a| a.is_empty()), "{envelope}");
    }
    let left = client.list_schedules().send().await.unwrap();
    assert!(left.schedules().is_empty(), "{left:?}");

    let nowhere = EventBridgeScheduler::new(&config, "absent", role, &topic);
    let error = nowhere.at("a", when, &due).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("CreateSchedule a"), "{error}");
    nowhere.cancel("a").await.unwrap();

    // Repeating the call is safe: the answer can have been lost.
    let lossy = Faulty::new(
        std::sync::Arc::new(scheduler),
        Faults::nth(0, Moment::After),
    );
    lossy.at("b", when, &due).await.unwrap_err();
    lossy.at("b", when, &due).await.unwrap();
    lossy.cancel("b").await.unwrap();
}
