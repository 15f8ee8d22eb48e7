//! SubmitJob, DescribeJobs, ListJobs, TerminateJob and CancelJob.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rowmill_domain::job::{
    Dependency, JobDetail, JobId, JobName, JobStatus, Resources, RetryStrategy, SubmitJob,
};
use rowmill_domain::limits;
use rowmill_ports::{JobFilter, Jobs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::definitions::{Requirement, Timeout, Variable, fargate_size, requirement};
use super::error::Fault;
use super::{Service, arn, queue_arn};

/// Jobs per page. No other number is accepted because the local Batch has no smaller pages.
const PAGE: usize = 100;

type Answer = Result<Json<Value>, Fault>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submit {
    job_name: JobName,
    job_queue: String,
    job_definition: String,
    array_properties: Option<ArrayProperties>,
    share_identifier: Option<String>,
    #[serde(default)]
    scheduling_priority_override: u32,
    #[serde(default)]
    depends_on: Vec<Dependency>,
    #[serde(default)]
    container_overrides: Overrides,
    retry_strategy: Option<RetryStrategy>,
    timeout: Option<Timeout>,
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ArrayProperties {
    size: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Overrides {
    #[serde(default)]
    environment: Vec<Variable>,
    #[serde(default)]
    resource_requirements: Vec<Requirement>,
}

pub(super) async fn submit(State(service): State<Arc<Service>>, Json(body): Json<Value>) -> Answer {
    // The semaphore is never closed. A caller that disconnects while it waits has not submitted a job.
    service.submits.acquire().await.unwrap().forget();
    // The local Batch counts the bytes of its own request, which is shorter.
    let bytes = body.to_string().len();
    if bytes > limits::SUBMIT_PAYLOAD_MAX {
        return Err(Fault::client(format!(
            "Job size must be less than {} KiB",
            limits::SUBMIT_PAYLOAD_MAX / 1024
        )));
    }
    let asked = Submit::deserialize(&body)?;
    let definition = service
        .registry
        .lock()
        .unwrap()
        .local(&asked.job_definition)?;
    // All queues of the template have a fair-share scheduling policy.
    if asked.share_identifier.is_none() {
        return Err(Fault::client("shareIdentifier must be specified."));
    }
    let resources = asked.container_overrides.resources()?;
    let environment = asked.container_overrides.environment;
    let job = SubmitJob {
        name: asked.job_name,
        queue: queue_name(&asked.job_queue),
        definition,
        array_size: asked.array_properties.and_then(|a| a.size),
        priority: asked.scheduling_priority_override,
        resources,
        depends_on: asked.depends_on,
        environment: environment.into_iter().map(|v| (v.name, v.value)).collect(),
        retry: asked.retry_strategy,
        timeout_seconds: asked.timeout.map(|t| t.attempt_duration_seconds),
        tags: asked.tags,
    };
    let id = service.batch.submit(&job).await?;
    service.submitted.lock().unwrap().insert(id.0.clone(), body);
    Ok(Json(json!({
        "jobArn": job_arn(&id),
        "jobName": job.name,
        "jobId": id,
    })))
}

impl Overrides {
    /// vCPUs and memory, if the request has them: both or none.
    fn resources(&self) -> Result<Option<Resources>, Fault> {
        if self.resource_requirements.is_empty() {
            return Ok(None);
        }
        let vcpu = requirement(&self.resource_requirements, "VCPU")?;
        let memory_mib = requirement(&self.resource_requirements, "MEMORY")? as u32;
        fargate_size(vcpu, memory_mib)?;
        Ok(Some(Resources {
            vcpu,
            memory_mib,
            storage_gib: None,
        }))
    }
}

fn job_arn(id: &JobId) -> String {
    arn(&format!("job/{id}"))
}

/// The queue of an ARN or name.
fn queue_name(queue: &str) -> String {
    match queue.split_once(":job-queue/") {
        Some((_, name)) => name.to_owned(),
        None => queue.to_owned(),
    }
}

#[derive(Deserialize)]
struct Describe {
    jobs: Vec<JobId>,
}

pub(super) async fn describe(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> Answer {
    let asked = Describe::deserialize(&body)?;
    let jobs = service.batch.describe(&asked.jobs).await?;
    let jobs: Vec<Value> = jobs.iter().map(|job| service.detail(job)).collect();
    Ok(Json(json!({ "jobs": jobs })))
}

impl Service {
    /// A job as DescribeJobs returns it.
    fn detail(&self, job: &JobDetail) -> Value {
        let parent = job.id.0.split(':').next().unwrap_or_default();
        let submitted = self.submitted.lock().unwrap();
        let submitted = submitted.get(parent).cloned().unwrap_or_default();
        let mut shape = summary(job);
        if !job.children.is_empty() {
            let counts = job.children.iter();
            let counts = counts.map(|(status, count)| (status.name().to_owned(), json!(count)));
            shape["arrayProperties"]["statusSummary"] = Value::Object(counts.collect());
        }
        let queue = submitted["jobQueue"].as_str().unwrap_or(&self.queue);
        shape["jobQueue"] = json!(queue_arn(&queue_name(queue)));
        shape["jobDefinition"] = submitted["jobDefinition"].clone();
        shape["tags"] = submitted["tags"].clone();
        shape["dependsOn"] = match &submitted["dependsOn"] {
            Value::Null => json!([]),
            given => given.clone(),
        };
        shape["container"]["environment"] = submitted["containerOverrides"]["environment"].clone();
        // The local Batch stores the number of attempts and the end of the last one.
        let last = |number: u32| number == job.attempts;
        let attempts = (1..=job.attempts).map(|number| match last(number) {
            true => json!({
                "container": container(job),
                "startedAt": job.started_at,
                "stoppedAt": job.stopped_at,
                "statusReason": job.status_reason,
            }),
            false => json!({ "container": {} }),
        });
        shape["attempts"] = attempts.collect();
        shape
    }
}

/// A job as ListJobs returns it: a subset of DescribeJobs.
fn summary(job: &JobDetail) -> Value {
    let mut shape = json!({
        "jobArn": job_arn(&job.id),
        "jobId": job.id,
        "jobName": job.name,
        "status": job.status.name(),
        "createdAt": job.created_at,
        "container": container(job),
    });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            shape[name] = value;
        }
    };
    set("statusReason", job.status_reason.as_ref().map(|r| json!(r)));
    set("startedAt", job.started_at.map(|t| json!(t)));
    set("stoppedAt", job.stopped_at.map(|t| json!(t)));
    let array = match (job.array_size, job.array_index) {
        (_, Some(index)) => Some(json!({ "index": index })),
        (Some(size), None) => Some(json!({ "size": size })),
        (None, None) => None,
    };
    set("arrayProperties", array);
    shape
}

fn container(job: &JobDetail) -> Value {
    let mut container = json!({});
    if let Some(code) = job.exit_code {
        container["exitCode"] = json!(code);
    }
    if let Some(reason) = &job.reason {
        container["reason"] = json!(reason);
    }
    container
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    job_queue: Option<String>,
    array_job_id: Option<JobId>,
    job_status: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    name: String,
    values: Vec<String>,
}

impl List {
    fn filter(self) -> Result<JobFilter, Fault> {
        let status = match &self.job_status {
            Some(name) => JobStatus::parse(name)
                .ok_or_else(|| Fault::client(format!("Invalid job status {name}")))?,
            // Source: AWS Batch API, ListJobs (`jobStatus`).
            None => JobStatus::Running,
        };
        match (self.array_job_id, self.job_queue, self.filters.as_slice()) {
            (Some(parent), None, []) => Ok(JobFilter::Children { parent, status }),
            (None, Some(queue), []) => Ok(JobFilter::Status {
                queue: queue_name(&queue),
                status,
            }),
            (None, Some(queue), [filter]) if filter.name == "JOB_NAME" => {
                match filter.values.as_slice() {
                    [name] if !name.ends_with('*') => Ok(JobFilter::Name {
                        queue: queue_name(&queue),
                        name: JobName(name.clone()),
                    }),
                    _ => Err(Fault::client("JOB_NAME takes one whole name here")),
                }
            }
            _ => Err(Fault::client(
                "Exactly one of jobQueue and arrayJobId, and at most the filter JOB_NAME, here",
            )),
        }
    }
}

pub(super) async fn list(State(service): State<Arc<Service>>, Json(body): Json<Value>) -> Answer {
    let asked = List::deserialize(&body)?;
    if asked.max_results.is_some_and(|most| most != PAGE) {
        return Err(Fault::client(format!("Pages are of {PAGE} jobs here")));
    }
    let after = asked.next_token.clone();
    let filter = asked.filter()?;
    let (jobs, next) = service.batch.list(&filter, after.as_deref()).await?;
    let jobs: Vec<Value> = jobs.iter().map(summary).collect();
    let mut answer = json!({ "jobSummaryList": jobs });
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    job_id: JobId,
    reason: String,
}

pub(super) async fn terminate(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> Answer {
    let asked = End::deserialize(&body)?;
    service
        .batch
        .terminate(&asked.job_id, &asked.reason)
        .await?;
    Ok(Json(json!({})))
}

pub(super) async fn cancel(State(service): State<Arc<Service>>, Json(body): Json<Value>) -> Answer {
    let asked = End::deserialize(&body)?;
    service.batch.cancel(&asked.job_id, &asked.reason).await?;
    Ok(Json(json!({})))
}
