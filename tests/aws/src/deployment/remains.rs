//! Data of a run that cleanup should have removed.

use aws_config::SdkConfig;
use rowmill_domain::{RunId, keys};

use super::stack::signed_for;
use crate::http;

/// The run's objects with all their versions, its table and its schedule.
pub(super) async fn of(config: &SdkConfig, bucket: &str, stack: &str, run: &RunId) -> Vec<String> {
    let mut all = Vec::new();
    let versions = crate::stack::client(config)
        .list_object_versions()
        .bucket(bucket);
    let versions = versions.prefix(keys::run_prefix(run)).send().await.unwrap();
    for version in versions.versions() {
        all.push(format!("{version:?}"));
    }
    for marker in versions.delete_markers() {
        all.push(format!("{marker:?}"));
    }
    let tables = aws_sdk_dynamodb::Client::new(config).list_tables();
    let tables = tables.send().await.unwrap().table_names.unwrap_or_default();
    all.extend(
        tables
            .into_iter()
            .filter(|name| name.contains(run.as_str())),
    );
    let schedules = aws_sdk_scheduler::Client::new(config).list_schedules();
    let schedules = schedules.group_name(stack).send().await.unwrap();
    for schedule in schedules.schedules {
        let name = schedule.name.unwrap_or_default();
        if name.contains(run.as_str()) {
            all.push(format!("schedule {name}"));
        }
    }
    all
}

/// The messages of a queue.
pub(super) async fn letters(queue: &str) -> Vec<String> {
    let request = http::client()
        .post(queue)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", signed_for("sqs"))
        .body(
            "Action=ReceiveMessage&MaxNumberOfMessages=10&VisibilityTimeout=0&Version=2012-11-05",
        );
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{text}");
    let bodies = text.split("<Body>").skip(1);
    let bodies = bodies.filter_map(|rest| Some(rest.split_once("</Body>")?.0.to_owned()));
    bodies.collect()
}
