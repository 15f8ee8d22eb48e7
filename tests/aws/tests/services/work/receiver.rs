//! Subscriptions of an SNS topic with the filters of the template, and a server that receives their
//! messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use rowmill_domain::message::RunMessage;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The SNS envelopes that each subscription received since it was confirmed, by kind.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<BTreeMap<String, Vec<Value>>>>);

/// Creates a topic with a subscription for each kind.
pub(crate) async fn topic(aws: &SdkConfig, kinds: &[&str]) -> (String, Received) {
    let sns = aws_sdk_sns::Client::new(aws);
    let created = sns.create_topic().name("rowmill").send().await.unwrap();
    let arn = created.topic_arn.unwrap();
    let received = Received::default();
    let router = Router::new()
        .route("/{kind}", post(take))
        .with_state(received.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for kind in kinds {
        let filter = json!({ "kind": [kind] }).to_string();
        sns.subscribe()
            .topic_arn(&arn)
            .protocol("http")
            .endpoint(format!("http://{address}/{kind}"))
            .attributes("FilterPolicyScope", "MessageBody")
            .attributes("FilterPolicy", filter)
            .send()
            .await
            .unwrap();
    }
    // ListSubscriptions does not help: ministack lists pending subscriptions with an ARN and does not
    // deliver to them.
    let confirmed = async {
        while kinds.iter().any(|kind| !received.is_confirmed(kind)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), confirmed)
        .await
        .expect("confirmed subscriptions within 30 s");
    (arn, received)
}

async fn take(State(received): State<Received>, Path(kind): Path<String>, body: String) {
    let envelope: Value = serde_json::from_str(&body).unwrap();
    match envelope["SubscribeURL"].as_str() {
        Some(url) => {
            let confirmed = rowmill_tests_aws::http::client()
                .get(url)
                .send()
                .await
                .unwrap();
            assert!(confirmed.status().is_success(), "{confirmed:?}");
            received.0.lock().unwrap().entry(kind).or_default();
        }
        None => {
            let mut all = received.0.lock().unwrap();
            all.entry(kind).or_default().push(envelope);
        }
    }
}

impl Received {
    fn is_confirmed(&self, kind: &str) -> bool {
        self.0.lock().unwrap().contains_key(kind)
    }

    /// The SNS envelopes of the subscription for this kind.
    pub(crate) fn envelopes(&self, kind: &str) -> Vec<Value> {
        let all = self.0.lock().unwrap();
        all.get(kind).cloned().unwrap_or_default()
    }

    /// The messages of the subscription for this kind.
    pub(crate) fn messages(&self, kind: &str) -> Vec<RunMessage> {
        let text = |envelope: &Value| {
            let text = envelope["Message"].as_str().unwrap();
            serde_json::from_str(text).unwrap()
        };
        self.envelopes(kind).iter().map(text).collect()
    }
}
