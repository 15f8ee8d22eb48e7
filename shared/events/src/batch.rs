//! Changes of job states, from Batch through EventBridge.

use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobDetail, JobId, JobName, JobStateChange, JobStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_ACCOUNT, LOCAL_REGION, time_text};

const EXPECTED: &str = "Batch Job State Change event";
const JOB_STATE_CHANGE: &str = "Batch Job State Change";

/// The fields that are read. AWS sends more, and adds some from time to time.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    detail_type: String,
    source: String,
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    job_id: JobId,
    job_name: JobName,
    job_queue: String,
    status: String,
    status_reason: Option<String>,
    #[serde(default)]
    array_properties: ArrayProperties,
}

#[derive(Default, Deserialize)]
struct ArrayProperties {
    index: Option<u32>,
}

/// Whether a payload is an event of Batch.
pub(crate) fn is_batch(payload: &Value) -> bool {
    payload["source"] == "aws.batch"
}

/// Whether an event of Batch is a change of a job's state. There are also events about queues.
pub(crate) fn is_job_state_change(payload: &Value) -> bool {
    payload["detail-type"] == JOB_STATE_CHANGE
}

/// Parses a `Batch Job State Change` event of EventBridge.
///
/// # Errors
/// The payload is not such an event, or has an unknown state.
pub fn job_state_change(payload: &Value) -> Result<JobStateChange, EventError> {
    let event = Event::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    if event.source != "aws.batch" {
        return Err(EventError::field(EXPECTED, "source", event.source));
    }
    if event.detail_type != JOB_STATE_CHANGE {
        return Err(EventError::field(
            EXPECTED,
            "detail-type",
            event.detail_type,
        ));
    }
    let detail = event.detail;
    let status = JobStatus::parse(&detail.status)
        .ok_or_else(|| EventError::field(EXPECTED, "detail.status", &detail.status))?;
    Ok(JobStateChange {
        id: detail.job_id,
        name: detail.job_name,
        queue: detail.job_queue,
        status,
        status_reason: detail.status_reason,
        array_index: detail.array_properties.index,
    })
}

/// Writes the event that EventBridge sends for a job in its state. `queue` is the name of the queue.
pub fn job_state_change_event(job: &JobDetail, queue: &str, now: DateTime<Utc>) -> Value {
    let batch = format!("arn:aws:batch:{LOCAL_REGION}:{LOCAL_ACCOUNT}");
    let arn = format!("{batch}:job/{}", job.id);
    let mut detail = json!({
        "jobArn": arn,
        "jobName": job.name,
        "jobId": job.id,
        "jobQueue": format!("{batch}:job-queue/{queue}"),
        "status": job.status.name(),
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            detail[name] = value;
        }
    };
    set("statusReason", job.status_reason.as_ref().map(|r| json!(r)));
    set("createdAt", job.created_at.map(|t| json!(t)));
    set("startedAt", job.started_at.map(|t| json!(t)));
    set("stoppedAt", job.stopped_at.map(|t| json!(t)));
    set("arrayProperties", array_properties(job));
    set(
        "container",
        job.exit_code.map(|code| {
            let mut container = json!({ "exitCode": code });
            if let Some(reason) = &job.reason {
                container["reason"] = json!(reason);
            }
            container
        }),
    );
    json!({
        "version": "0",
        // The same id for each delivery of a change, like on AWS.
        "id": format!("{}-{}-{}", job.id, job.status.name(), job.attempts),
        "detail-type": JOB_STATE_CHANGE,
        "source": "aws.batch",
        "account": LOCAL_ACCOUNT,
        "time": time_text(now),
        "region": LOCAL_REGION,
        "resources": [arn],
        "detail": detail,
    })
}

fn array_properties(job: &JobDetail) -> Option<Value> {
    match (job.array_size, job.array_index) {
        (_, Some(index)) => Some(json!({ "index": index })),
        (Some(size), None) => Some(json!({ "size": size })),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobDetail {
        JobDetail {
            id: JobId("6c8e".into()),
            name: JobName("r-0-0".into()),
            status: JobStatus::Failed,
            status_reason: Some("Essential container in task exited".into()),
            array_size: None,
            array_index: None,
            children: Default::default(),
            exit_code: Some(75),
            reason: None,
            attempts: 3,
            created_at: Some(1),
            started_at: None,
            stopped_at: Some(2),
            log: None,
        }
    }

    #[test]
    fn a_written_event_can_be_parsed() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let event = job_state_change_event(&job(), "main", now);
        let read = job_state_change(&event).unwrap();
        assert_eq!(read.id, job().id);
        assert_eq!(read.name, job().name);
        assert!(read.queue.ends_with("job-queue/main"), "{}", read.queue);
        assert_eq!(read.status, JobStatus::Failed);
        assert_eq!(read.status_reason, job().status_reason);
        assert_eq!(read.array_index, None);
        let parent = JobDetail {
            array_size: Some(4),
            ..job()
        };
        let event = job_state_change_event(&parent, "main", now);
        assert_eq!(event["detail"]["arrayProperties"], json!({ "size": 4 }));
        assert_eq!(job_state_change(&event).unwrap().array_index, None);
        let child = JobDetail {
            id: job().id.child(3),
            array_index: Some(3),
            ..job()
        };
        let event = job_state_change_event(&child, "main", now);
        assert_eq!(job_state_change(&event).unwrap().array_index, Some(3));
    }

    #[test]
    fn invalid_events_are_rejected_with_the_name_of_the_field() {
        let good = job_state_change_event(&job(), "main", "2026-11-21T10:00:00Z".parse().unwrap());
        for (pointer, value, field) in [
            ("/source", json!("aws.ecs"), "source"),
            (
                "/detail-type",
                json!("Batch Job Queue Blocked"),
                "detail-type",
            ),
            ("/detail/status", json!("LOST"), "detail.status"),
            ("/detail/jobId", json!(null), "jobId"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = job_state_change(&bad).unwrap_err().to_string();
            assert!(
                error.contains(field) || error.contains("expected a string"),
                "{error}"
            );
        }
    }
}
