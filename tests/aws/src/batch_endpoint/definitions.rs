//! Job definitions. Revisions are numbered as AWS does; each is a definition of the local Batch.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rowmill_domain::job::{JobDefinition, Resources, RetryStrategy};
use rowmill_domain::limits;
use rowmill_ports::Jobs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Fault;
use super::{Service, arn};

/// Definitions per page. Source: AWS Batch API, DescribeJobDefinitions (`maxResults`).
const PAGE: usize = 100;

/// All revisions, in the order of registration.
#[derive(Debug, Default)]
pub(super) struct Registry(Vec<Revision>);

#[derive(Debug)]
struct Revision {
    arn: String,
    name: String,
    number: usize,
    active: bool,
    /// The body of RegisterJobDefinition.
    body: Value,
    /// The ARN in the local Batch, which returns one ARN for equal content. AWS makes a new revision for
    /// every call.
    local: String,
}

impl Registry {
    pub(super) fn active(&self) -> Vec<String> {
        let active = self.0.iter().filter(|r| r.active);
        active.map(|r| r.arn.clone()).collect()
    }

    pub(super) fn bodies(&self) -> Vec<Value> {
        self.0.iter().map(|r| r.body.clone()).collect()
    }

    /// The local Batch's ARN of an active revision. `reference` is an ARN, `name:revision`, or a name
    /// (the latest revision).
    pub(super) fn local(&self, reference: &str) -> Result<String, Fault> {
        let found = self.0.iter().rev().filter(|r| r.active).find(|r| {
            r.arn == reference
                || r.name == reference
                || format!("{}:{}", r.name, r.number) == reference
        });
        found.map(|r| r.local.clone()).ok_or_else(|| {
            Fault::client(format!("JobDefinition {reference} not found or not active"))
        })
    }
}

/// The parts of a body that the local Batch uses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    job_definition_name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    platform_capabilities: Vec<String>,
    container_properties: Container,
    retry_strategy: Option<RetryStrategy>,
    timeout: Option<Timeout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<Variable>,
    #[serde(default)]
    secrets: Vec<Secret>,
    #[serde(default)]
    resource_requirements: Vec<Requirement>,
    execution_role_arn: Option<String>,
    ephemeral_storage: Option<EphemeralStorage>,
}

#[derive(Deserialize)]
struct EphemeralStorage {
    #[serde(rename = "sizeInGiB")]
    size_in_gib: u32,
}

#[derive(Deserialize)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    name: String,
    value_from: String,
}

#[derive(Deserialize)]
pub(super) struct Requirement {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeout {
    pub(super) attempt_duration_seconds: u32,
}

/// One attempt and no rules: the strategy of a definition that sets none.
fn once() -> RetryStrategy {
    RetryStrategy {
        attempts: 1,
        evaluate_on_exit: Vec::new(),
    }
}

impl Register {
    fn definition(self) -> Result<JobDefinition, Fault> {
        if self.kind != "container" {
            return Err(Fault::client("Job Definition type must be container here."));
        }
        let all = &self.container_properties.resource_requirements;
        let (vcpu, memory) = (requirement(all, "VCPU")?, requirement(all, "MEMORY")?);
        let memory_mib = memory as u32;
        let container = self.container_properties;
        if self.platform_capabilities.iter().any(|p| p == "FARGATE") {
            // Source: AWS Batch user guide, "Fargate job definitions".
            if container.execution_role_arn.is_none() {
                return Err(Fault::client(
                    "executionRoleArn is required for Fargate jobs.",
                ));
            }
            fargate_size(vcpu, memory_mib)?;
        } else if container.ephemeral_storage.is_some() {
            return Err(Fault::client("ephemeralStorage is only for Fargate jobs."));
        }
        Ok(JobDefinition {
            name: self.job_definition_name,
            image: container.image,
            command: container.command,
            resources: Resources {
                vcpu,
                memory_mib,
                storage_gib: container.ephemeral_storage.map(|s| s.size_in_gib),
            },
            environment: container
                .environment
                .into_iter()
                .map(|v| (v.name, v.value))
                .collect(),
            secrets: container
                .secrets
                .into_iter()
                .map(|s| (s.name, s.value_from))
                .collect(),
            retry: self.retry_strategy.unwrap_or_else(once),
            timeout_seconds: self.timeout.map(|t| t.attempt_duration_seconds),
        })
    }
}

/// The value of a requirement of this type.
pub(super) fn requirement(all: &[Requirement], kind: &str) -> Result<f64, Fault> {
    let value = all.iter().find(|r| r.kind == kind);
    value.and_then(|r| r.value.parse().ok()).ok_or_else(|| {
        Fault::client(format!(
            "Container properties should not be empty for {kind} in resourceRequirements."
        ))
    })
}

pub(super) fn fargate_size(vcpu: f64, memory: u32) -> Result<(), Fault> {
    if limits::fargate_memory(vcpu).is_some_and(|offered| offered.contains(memory)) {
        return Ok(());
    }
    Err(Fault::client(format!(
        "Fargate resource requirements ({vcpu:.2} vCPU, {memory} MiB) not valid."
    )))
}

type Answer = Result<Json<Value>, Fault>;

pub(super) async fn register(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> Answer {
    let definition = Register::deserialize(&body)?.definition()?;
    let local = service.batch.register(&definition).await?;
    let name = definition.name;
    let mut registry = service.registry.lock().unwrap();
    let number = registry.0.iter().filter(|r| r.name == name).count() + 1;
    let revision = Revision {
        arn: arn(&format!("job-definition/{name}:{number}")),
        active: true,
        number,
        body,
        local,
        name,
    };
    let answer = json!({
        "jobDefinitionName": revision.name,
        "jobDefinitionArn": revision.arn,
        "revision": number,
    });
    registry.0.push(revision);
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    #[serde(default)]
    job_definitions: Vec<String>,
    job_definition_name: Option<String>,
    status: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

pub(super) async fn describe(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> Answer {
    let asked = Describe::deserialize(&body)?;
    let start: usize = match &asked.next_token {
        Some(token) => token
            .parse()
            .map_err(|_| Fault::client("Invalid nextToken"))?,
        None => 0,
    };
    let registry = service.registry.lock().unwrap();
    let wanted = |r: &&Revision| {
        let status = if r.active { "ACTIVE" } else { "INACTIVE" };
        let by_id = |id: &String| *id == r.arn || *id == format!("{}:{}", r.name, r.number);
        asked.status.as_deref().is_none_or(|s| s == status)
            && asked
                .job_definition_name
                .as_ref()
                .is_none_or(|n| *n == r.name)
            && (asked.job_definitions.is_empty() || asked.job_definitions.iter().any(by_id))
    };
    let page = asked.max_results.unwrap_or(PAGE).clamp(1, PAGE);
    let found: Vec<_> = registry.0.iter().filter(wanted).collect();
    let shown = found.iter().skip(start).take(page);
    let shown: Vec<Value> = shown.map(|r| shape(r)).collect();
    let mut answer = json!({ "jobDefinitions": shown });
    if start + page < found.len() {
        answer["nextToken"] = json!((start + page).to_string());
    }
    Ok(Json(answer))
}

/// The registered body with the fields that AWS adds.
fn shape(revision: &Revision) -> Value {
    let mut shape = revision.body.clone();
    shape["jobDefinitionArn"] = json!(revision.arn);
    shape["revision"] = json!(revision.number);
    shape["status"] = json!(if revision.active {
        "ACTIVE"
    } else {
        "INACTIVE"
    });
    shape["containerOrchestrationType"] = json!("ECS");
    shape
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deregister {
    job_definition: String,
}

pub(super) async fn deregister(
    State(service): State<Arc<Service>>,
    Json(body): Json<Value>,
) -> Answer {
    let reference = Deregister::deserialize(&body)?.job_definition;
    let unused = {
        let mut registry = service.registry.lock().unwrap();
        let named = |r: &&mut Revision| {
            r.arn == reference || format!("{}:{}", r.name, r.number) == reference
        };
        let Some(revision) = registry.0.iter_mut().find(named) else {
            return Err(Fault::client(format!(
                "JobDefinition {reference} not found"
            )));
        };
        revision.active = false;
        let local = revision.local.clone();
        let used = registry.0.iter().any(|r| r.active && r.local == local);
        (!used).then_some(local)
    };
    if let Some(local) = unused {
        service.batch.deregister(&local).await?;
    }
    Ok(Json(json!({})))
}
