//! Changes of jobs' states as EventBridge events.

use chrono::Utc;
use rowmill_events::job_state_change_event;
use rowmill_local::batch::LocalBatch;
use rowmill_ports::Jobs;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ACCOUNT, REGION};

/// Sends every change until nobody listens.
pub(super) async fn tell(batch: &LocalBatch, to: &mpsc::UnboundedSender<Value>) {
    let mut last_event = batch.last_event();
    let mut last = 0;
    loop {
        last_event.mark_unchanged();
        for (number, change) in batch.events(last, 1000).unwrap() {
            last = number;
            let ids = [change.id.clone()];
            let Some(mut job) = batch.describe(&ids).await.unwrap().pop() else {
                continue;
            };
            job.status = change.status;
            job.status_reason = change.status_reason;
            let queue = change.queue.rsplit('/').next().unwrap_or_default();
            let event = job_state_change_event(&job, queue, Utc::now());
            if to.send(here(&event)).is_err() {
                return;
            }
        }
        if last_event.changed().await.is_err() {
            return;
        }
    }
}

/// The same event with this endpoint's region and account.
fn here(event: &Value) -> Value {
    let local = format!(
        "arn:aws:batch:{}:{}:",
        event["region"].as_str().unwrap_or_default(),
        event["account"].as_str().unwrap_or_default()
    );
    let text = event.to_string().replace(&local, &super::arn(""));
    let mut event: Value = serde_json::from_str(&text).unwrap();
    event["region"] = json!(REGION);
    event["account"] = json!(ACCOUNT);
    event
}
