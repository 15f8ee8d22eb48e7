//! Delivers events in place of EventBridge and Lambda's destinations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_s3::types::{LambdaFunctionConfiguration, NotificationConfiguration};
use chrono::Utc;
use rowmill_domain::{RunId, limits};
use rowmill_events::reported_event;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::STACK;
use super::stack::signed_for;
use crate::batch_endpoint::{ACCOUNT, REGION};
use crate::emulators::Emulator;
use crate::http;
use rowmill_tests_local::program::root;

/// The pipeline whose job events are lost.
pub const LOSES_EVENTS: &str = "lost";

/// How events reach functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// Each event once, as usual.
    Once,
    /// Each event twice and concurrently: every function is connected twice to each event source.
    Twice,
    /// No delivery: the test passes events itself.
    ByHand,
}

impl Deliver {
    /// Changes the connections of S3 and SNS with functions to match `deliver`.
    pub(super) async fn connect(
        self,
        ministack: &Emulator,
        s3: &aws_sdk_s3::Client,
        lambda: &aws_sdk_lambda::Client,
        outputs: &std::collections::HashMap<String, String>,
    ) {
        let inbox = &outputs["InboxBucket"];
        let subscriptions = subscriptions(ministack).await;
        let names: Vec<_> = subscriptions.iter().map(|s| s.stage.as_str()).collect();
        for stage in ["submit", "report", "cleanup"] {
            assert!(names.contains(&stage), "{stage} is not among {names:?}");
        }
        match self {
            Deliver::Once => {}
            Deliver::ByHand => {
                set_notifications(s3, inbox, Vec::new()).await;
                for subscription in subscriptions {
                    let query = format!("Action=Unsubscribe&SubscriptionArn={}", subscription.arn);
                    sns(ministack, &query).await;
                }
            }
            // A version of a function is a second address of the same function.
            Deliver::Twice => {
                let found = s3.get_bucket_notification_configuration().bucket(inbox);
                let found = found.send().await.unwrap();
                let mut all = found.lambda_function_configurations.unwrap_or_default();
                assert_eq!(all.len(), 1, "{all:?}");
                let again = LambdaFunctionConfiguration::builder()
                    .id("again")
                    .lambda_function_arn(version(lambda, "split").await)
                    .set_events(Some(all[0].events.clone()))
                    .build()
                    .unwrap();
                all.push(again);
                set_notifications(s3, inbox, all).await;
                for subscription in subscriptions {
                    subscription.again(ministack, lambda).await;
                }
            }
        }
    }
}

async fn set_notifications(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    functions: Vec<LambdaFunctionConfiguration>,
) {
    let all = NotificationConfiguration::builder()
        .set_lambda_function_configurations(Some(functions))
        .build();
    let put = s3.put_bucket_notification_configuration().bucket(bucket);
    let put = put.notification_configuration(all);
    put.send().await.unwrap();
}

/// Publishes a version of a function and returns its ARN.
async fn version(lambda: &aws_sdk_lambda::Client, stage: &str) -> String {
    let name = format!("{STACK}-{stage}");
    let made = lambda.publish_version().function_name(name);
    made.send().await.unwrap().function_arn.unwrap()
}

struct Subscription {
    arn: String,
    topic: String,
    stage: String,
}

impl Subscription {
    /// A second subscription with the same filter.
    async fn again(&self, ministack: &Emulator, lambda: &aws_sdk_lambda::Client) {
        let asked = format!(
            "Action=GetSubscriptionAttributes&SubscriptionArn={}",
            self.arn
        );
        let found = sns(ministack, &asked).await;
        let policy = found
            .split_once("<key>FilterPolicy</key>")
            .and_then(|(_, rest)| rest.split_once("<value>"))
            .and_then(|(_, rest)| rest.split_once("</value>"))
            .map(|(policy, _)| policy.replace("&quot;", "\""))
            .unwrap_or_else(|| panic!("{} has no filter: {found}", self.stage));
        let endpoint = version(lambda, &self.stage).await;
        let mut query = format!(
            "Action=Subscribe&Protocol=lambda&TopicArn={}&Endpoint={endpoint}",
            self.topic
        );
        let attributes = [
            ("FilterPolicyScope", "MessageBody"),
            ("FilterPolicy", policy.as_str()),
        ];
        for (number, (name, value)) in attributes.into_iter().enumerate() {
            let entry = format!("Attributes.entry.{}", number + 1);
            query.push_str(&format!(
                "&{entry}.key={name}&{entry}.value={}",
                form(value)
            ));
        }
        sns(ministack, &query).await;
    }
}

/// The functions that the stack's topic invokes.
async fn subscriptions(ministack: &Emulator) -> Vec<Subscription> {
    let listed = sns(ministack, "Action=ListSubscriptions").await;
    let within = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    };
    let all = listed.split("<member>").filter_map(|member| {
        Some(Subscription {
            arn: within(member, "SubscriptionArn")?,
            topic: within(member, "TopicArn")?,
            stage: within(member, "Endpoint")?
                .rsplit_once(&format!("{STACK}-"))?
                .1
                .to_owned(),
        })
    });
    all.collect()
}

/// Publishes the event that SES publishes for a bounce: the payload in `events/`, for this run.
pub(super) async fn bounced(
    ministack: &Emulator,
    run: &RunId,
    recipient: &str,
    [kind, sub_kind]: [&str; 2],
) {
    let payload = std::fs::read_to_string(root().join("events/sns-bounce.json")).unwrap();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    let message = payload["Records"][0]["Sns"]["Message"].as_str().unwrap();
    let mut event: Value = serde_json::from_str(message).unwrap();
    event["mail"]["tags"]["rowmill-run"] = json!([run]);
    event["bounce"]["bounceType"] = json!(kind);
    event["bounce"]["bounceSubType"] = json!(sub_kind);
    let recipient = json!({ "emailAddress": recipient, "action": "failed" });
    event["bounce"]["bouncedRecipients"] = json!([recipient]);
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-operator");
    let message = form(&event.to_string());
    let query = format!("Action=Publish&TopicArn={}&Message={message}", form(&topic));
    sns(ministack, &query).await;
}

async fn sns(ministack: &Emulator, query: &str) -> String {
    let request = http::client()
        .post(ministack.url())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", signed_for("sns"))
        .body(format!("{query}&Version=2010-03-31"));
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{query}: {text}");
    text
}

/// Encodes a value for a form: every byte that is not a letter or digit is percent-encoded.
fn form(value: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => (byte as char).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

/// Passes Batch's events to report and report's answers to cleanup.
#[derive(Clone)]
pub(super) struct Deliverer {
    copies: usize,
    stack: String,
    pattern: String,
    ministack: String,
    lambda: aws_sdk_lambda::Client,
    troubles: Arc<Mutex<Vec<String>>>,
}

impl Deliverer {
    pub(super) async fn new(
        deliver: Deliver,
        ministack: &Emulator,
        lambda: aws_sdk_lambda::Client,
        stack: &str,
    ) -> Deliverer {
        let mut deliverer = Deliverer {
            copies: if deliver == Deliver::Twice { 2 } else { 1 },
            stack: stack.to_owned(),
            pattern: String::new(),
            ministack: ministack.url(),
            lambda,
            troubles: Arc::default(),
        };
        let of_batch = patterns(&deliverer.ministack).await;
        assert_eq!(of_batch.len(), 1, "{of_batch:?}");
        deliverer.pattern.clone_from(&of_batch[0]);
        deliverer
    }

    /// Unexpected errors of functions.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    /// Delivers events until the channel is closed.
    pub(super) async fn run(self, mut events: UnboundedReceiver<Value>) {
        while let Some(event) = events.recv().await {
            let job = event["detail"]["jobName"].as_str().unwrap_or_default();
            if job.contains(&format!("-{LOSES_EVENTS}-")) {
                continue;
            }
            let deliverer = self.clone();
            tokio::spawn(async move {
                if deliverer.matches(&event).await {
                    let copies = (0..deliverer.copies).map(|_| deliverer.report(&event));
                    futures::future::join_all(copies).await;
                }
            });
        }
    }

    /// Whether the deployed rule matches the event, according to ministack.
    async fn matches(&self, event: &Value) -> bool {
        let body = json!({ "Event": event.to_string(), "EventPattern": self.pattern });
        let answer = events(&self.ministack, "TestEventPattern", body).await;
        answer["Result"].as_bool().unwrap()
    }

    async fn report(&self, event: &Value) {
        if let Some(answer) = self.invoke("report", event).await {
            let id = format!("{:032x}", rand::random::<u128>());
            let event = reported_event(event, &answer, &id, Utc::now());
            self.cleanup(&event).await;
        }
    }

    /// Invokes cleanup for a run whose report was invoked by the topic.
    pub(super) async fn reported(&self, run: &RunId) {
        let event = reported_event(&json!({}), &json!({ "run": run }), "topic", Utc::now());
        self.cleanup(&event).await;
    }

    async fn cleanup(&self, event: &Value) {
        let copies = (0..self.copies).map(|_| self.invoke("cleanup", event));
        futures::future::join_all(copies).await;
    }

    /// Invokes a function like an asynchronous invocation of Lambda: up to three attempts.
    async fn invoke(&self, stage: &str, event: &Value) -> Option<Value> {
        let mut said = String::new();
        for _ in 0..=limits::INVOCATION_RETRIES {
            let call = self
                .lambda
                .invoke()
                .function_name(format!("{}-{stage}", self.stack));
            let call = call.payload(Blob::new(event.to_string()));
            let answer = match call.send().await {
                Ok(answer) => answer,
                // The deployment has ended.
                Err(error) => {
                    said = format!("{error:?}");
                    continue;
                }
            };
            let payload = answer.payload.unwrap_or_else(|| Blob::new("null"));
            if answer.function_error.is_none() {
                return Some(serde_json::from_slice(payload.as_ref()).unwrap());
            }
            said = String::from_utf8_lossy(payload.as_ref()).into_owned();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let trouble = format!("{stage} failed three times: {said}; the event: {event}");
        self.troubles.lock().unwrap().push(trouble);
        None
    }
}

/// Whether the rule for Batch's events and the functions exist.
pub(super) async fn is_deployed(ministack: &Emulator) -> bool {
    !patterns(&ministack.url()).await.is_empty()
}

/// The patterns of the rules for Batch's events.
async fn patterns(ministack: &str) -> Vec<String> {
    let rules = events(ministack, "ListRules", json!({})).await;
    let rules = rules["Rules"].as_array().unwrap();
    let patterns = rules.iter().filter_map(|rule| {
        // The smoke test has a rule of its own, without functions.
        let name = rule["Name"].as_str().unwrap_or_default();
        (!name.ends_with("-smoke")).then(|| rule["EventPattern"].as_str())?
    });
    let of_batch = patterns.filter(|text| text.contains("aws.batch"));
    of_batch.map(str::to_owned).collect()
}

async fn events(ministack: &str, operation: &str, body: Value) -> Value {
    let request = http::client()
        .post(ministack)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AWSEvents.{operation}"))
        .header("authorization", signed_for("events"))
        .body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{operation}: {text}");
    serde_json::from_str(&text).unwrap()
}
