//! [`Jobs`] on AWS Batch.

mod definition;
mod read;

use std::collections::BTreeMap;
use std::str::FromStr;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_batch::Client;
use aws_sdk_batch::config::Config;
use aws_sdk_batch::config::retry::RetryConfig;
use aws_sdk_batch::types::{
    ArrayJobDependency, ArrayProperties, ContainerOverrides, JobDependency, JobTimeout,
    KeyValuesPair,
};
use rowmill_domain::job::rules::{self, Violation};
use rowmill_domain::job::{
    Capacity, Dependency, DependencyType, JobDefinition, JobDetail, JobId, JobStatus, SHARE,
    SubmitJob,
};
use rowmill_ports::{ErrorKind, JobFilter, Jobs, PortError, Result};
use serde::Serialize;

use crate::error::failed;

/// Jobs and definitions per page. Source: AWS Batch API, ListJobs and DescribeJobDefinitions
/// (`maxResults`).
const PAGE: i32 = 100;

/// What all job definitions of a deployment have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchConfig {
    /// ARN of the role that a job's program uses.
    pub job_role: String,
    /// ARN of the role that pulls the image, writes the log and reads secrets.
    pub execution_role: String,
    /// The log group of all jobs.
    pub log_group: String,
    /// The processor that images are built for.
    pub architecture: Architecture,
    /// What jobs run on.
    pub capacity: Capacity,
    /// Whether a job on Fargate gets a public IP address, which it needs in a network without NAT.
    pub assign_public_ip: bool,
    /// Tags of the definitions and of the tasks of their jobs, for cost allocation.
    pub tags: BTreeMap<String, String>,
}

/// The processor that an image is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Architecture {
    /// 64-bit Arm: `arm64`.
    Arm64,
    /// 64-bit x86: `x86_64`.
    X86_64,
}

/// A text that is not the name of an [`Architecture`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither arm64 nor x86_64")]
pub struct UnknownArchitecture(String);

impl FromStr for Architecture {
    type Err = UnknownArchitecture;
    fn from_str(text: &str) -> std::result::Result<Architecture, UnknownArchitecture> {
        match text {
            "arm64" => Ok(Architecture::Arm64),
            "x86_64" => Ok(Architecture::X86_64),
            _ => Err(UnknownArchitecture(text.to_owned())),
        }
    }
}

/// AWS Batch.
///
/// Invalid requests are rejected before they are sent ([`rules`]). A job with overrides that are too
/// long fails at once, instead of when it would start.
#[derive(Clone, Debug)]
pub struct BatchJobs {
    client: Client,
    /// `None` if definitions cannot be registered.
    config: Option<BatchConfig>,
    /// What jobs run on.
    capacity: Capacity,
    /// The region of the log group.
    region: Option<String>,
}

impl BatchJobs {
    /// Batch in the configuration's region.
    pub fn new(sdk: &SdkConfig, config: BatchConfig) -> BatchJobs {
        BatchJobs {
            capacity: config.capacity,
            config: Some(config),
            ..BatchJobs::asking(sdk)
        }
    }

    /// Batch for a program that registers no definitions: [`Jobs::register`] fails.
    pub fn asking(sdk: &SdkConfig) -> BatchJobs {
        BatchJobs::submitting(sdk, Capacity::Fargate)
    }

    /// Batch for a program that submits jobs with definitions that another registered:
    /// [`Jobs::register`] fails.
    pub fn submitting(sdk: &SdkConfig, capacity: Capacity) -> BatchJobs {
        BatchJobs {
            client: Client::new(sdk),
            capacity,
            config: None,
            region: sdk.region().map(|region| region.to_string()),
        }
    }

    /// The ARN of the active definition called `name`. Of several, the one registered first.
    async fn active(&self, name: &str) -> Result<Option<String>> {
        let mut pages = self
            .client
            .describe_job_definitions()
            .job_definition_name(name)
            .status("ACTIVE")
            .max_results(PAGE)
            .into_paginator()
            .items()
            .send();
        let mut first: Option<(i32, String)> = None;
        while let Some(found) = pages.next().await {
            let found = found.map_err(failed("DescribeJobDefinitions", name))?;
            let revision = found.revision().unwrap_or(i32::MAX);
            if let Some(arn) = found.job_definition_arn
                && first.as_ref().is_none_or(|(least, _)| revision < *least)
            {
                first = Some((revision, arn));
            }
        }
        Ok(first.map(|(_, arn)| arn))
    }

    async fn is_active(&self, arn: &str) -> Result<bool> {
        let described = self
            .client
            .describe_job_definitions()
            .job_definitions(arn)
            .send()
            .await
            .map_err(failed("DescribeJobDefinitions", arn))?;
        let mut found = described.job_definitions().iter();
        Ok(found.any(|definition| definition.status() == Some("ACTIVE")))
    }

    /// The state of a job. `None` if Batch does not know it.
    async fn status(&self, id: &JobId) -> Result<Option<JobStatus>> {
        let jobs = self.describe(std::slice::from_ref(id)).await?;
        Ok(jobs.into_iter().next().map(|job| job.status))
    }
}

fn refused(refusal: Violation, operation: &'static str, resource: &str) -> PortError {
    PortError::new(operation, resource, ErrorKind::Invalid, refusal)
}

#[async_trait]
impl Jobs for BatchJobs {
    /// The registered name is the given one followed by a hash of everything that is registered, so
    /// an active definition with that name has the same content.
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        const OPERATION: &str = "RegisterJobDefinition";
        let Some(config) = &self.config else {
            let why = Violation("this program cannot register job definitions".to_owned());
            return Err(refused(why, OPERATION, &definition.name));
        };
        let region = self.region.as_deref();
        let name = definition::name(definition, config, region);
        let named = JobDefinition {
            name: name.clone(),
            ..definition.clone()
        };
        rules::definition(&named).map_err(|r| refused(r, OPERATION, &name))?;
        if let Some(arn) = self.active(&name).await? {
            return Ok(arn);
        }
        let request = self.client.register_job_definition();
        let request = definition::fill(request, &named, config, region)
            .map_err(|r| refused(r, OPERATION, &name))?;
        let registered = request.send().await.map_err(failed(OPERATION, &name))?;
        registered.job_definition_arn.ok_or_else(|| {
            let what = "the response has no ARN";
            PortError::new(OPERATION, name, ErrorKind::Unavailable, what)
        })
    }

    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        let mut pages = self
            .client
            .describe_job_definitions()
            .status("ACTIVE")
            .max_results(PAGE)
            .into_paginator()
            .items()
            .send();
        let mut arns = Vec::new();
        // Batch cannot filter by prefix.
        while let Some(found) = pages.next().await {
            let found = found.map_err(failed("DescribeJobDefinitions", name_prefix))?;
            let name = found.job_definition_name().unwrap_or_default();
            if name.starts_with(name_prefix) {
                arns.extend(found.job_definition_arn);
            }
        }
        Ok(arns)
    }

    async fn deregister(&self, arn: &str) -> Result<()> {
        let request = self.client.deregister_job_definition().job_definition(arn);
        let Err(error) = request.send().await else {
            return Ok(());
        };
        let error = failed("DeregisterJobDefinition", arn)(error);
        // Batch has one error code for every mistake of a caller.
        if error.is_retryable() || self.is_active(arn).await? {
            return Err(error);
        }
        Ok(())
    }

    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        const OPERATION: &str = "SubmitJob";
        let name = &job.name.0;
        rules::submit(job).map_err(|r| refused(r, OPERATION, name))?;
        let array = job
            .array_size
            .map(|size| ArrayProperties::builder().size(signed(size)).build());
        let environment = definition::environment(&job.environment);
        let requirements = job
            .resources
            .map(|size| definition::requirements(size, self.capacity));
        let any = !environment.is_empty() || requirements.is_some();
        let overrides = any.then(|| {
            ContainerOverrides::builder()
                .set_environment((!environment.is_empty()).then_some(environment))
                .set_resource_requirements(requirements)
                .build()
        });
        let timeout = job.timeout_seconds.map(|seconds| {
            JobTimeout::builder()
                .attempt_duration_seconds(signed(seconds))
                .build()
        });
        let depends_on = job.depends_on.iter().map(dependency).collect::<Vec<_>>();
        let tags = job.tags.clone().into_iter().collect();
        let submitted = self
            .client
            .submit_job()
            .job_name(name)
            .job_queue(&job.queue)
            .job_definition(&job.definition)
            // A queue with a fair-share scheduling policy needs both.
            .share_identifier(SHARE)
            .scheduling_priority_override(signed(job.priority))
            .set_array_properties(array)
            .set_depends_on((!depends_on.is_empty()).then_some(depends_on))
            .set_container_overrides(overrides)
            .set_retry_strategy(job.retry.as_ref().map(definition::retry))
            .set_timeout(timeout)
            .set_tags((!job.tags.is_empty()).then_some(tags))
            .customize()
            // Batch has no idempotency token: a retry by the SDK after a lost response would submit
            // a second job. The caller looks for the job before it submits again.
            .config_override(Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await
            .map_err(failed(OPERATION, name))?;
        submitted.job_id.map(JobId).ok_or_else(|| {
            let what = "the response has no job id";
            PortError::new(OPERATION, name, ErrorKind::Unavailable, what)
        })
    }

    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        const OPERATION: &str = "DescribeJobs";
        let resource = match ids {
            [id] => id.to_string(),
            ids => format!("{} jobs", ids.len()),
        };
        rules::describe(ids.len()).map_err(|r| refused(r, OPERATION, &resource))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let described = self
            .client
            .describe_jobs()
            .set_jobs(Some(ids.iter().map(|id| id.0.clone()).collect()))
            .send()
            .await
            .map_err(failed(OPERATION, &resource))?;
        let jobs = described.jobs().iter().map(read::detail);
        jobs.collect::<std::result::Result<_, _>>()
            .map_err(|unreadable| unreadable.into_port(OPERATION))
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        const OPERATION: &str = "ListJobs";
        let request = self
            .client
            .list_jobs()
            .max_results(PAGE)
            .set_next_token(after.map(str::to_owned));
        let (request, resource) = match filter {
            JobFilter::Name { queue, name } => {
                let by_name = KeyValuesPair::builder().name("JOB_NAME").values(&name.0);
                let request = request.job_queue(queue).filters(by_name.build());
                (request, name.to_string())
            }
            JobFilter::Status { queue, status } => (
                request.job_queue(queue).job_status(status.name().into()),
                queue.clone(),
            ),
            JobFilter::Children { parent, status } => (
                request
                    .array_job_id(&parent.0)
                    .job_status(status.name().into()),
                parent.to_string(),
            ),
        };
        let listed = request.send().await.map_err(failed(OPERATION, resource))?;
        let jobs = listed.job_summary_list().iter().map(read::summary);
        let mut jobs: Vec<JobDetail> = jobs
            .collect::<std::result::Result<_, _>>()
            .map_err(|unreadable| unreadable.into_port(OPERATION))?;
        if let JobFilter::Name { name, .. } = filter {
            // Batch compares names case-insensitively.
            jobs.retain(|job| job.name == *name);
        }
        Ok((jobs, listed.next_token))
    }

    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        let request = self.client.terminate_job().job_id(&id.0).reason(reason);
        let Err(error) = request.send().await else {
            return Ok(());
        };
        let error = failed("TerminateJob", &id.0)(error);
        if !error.is_retryable() && self.status(id).await?.is_none_or(JobStatus::is_terminal) {
            return Ok(());
        }
        Err(error)
    }

    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        let request = self.client.cancel_job().job_id(&id.0).reason(reason);
        let Err(error) = request.send().await else {
            return Ok(());
        };
        let error = failed("CancelJob", &id.0)(error);
        let has_started = |status| status > JobStatus::Runnable;
        if !error.is_retryable() && self.status(id).await?.is_none_or(has_started) {
            return Ok(());
        }
        Err(error)
    }
}

fn dependency(dependency: &Dependency) -> JobDependency {
    let kind = dependency.kind.map(|kind| match kind {
        DependencyType::NToN => ArrayJobDependency::NToN,
        DependencyType::Sequential => ArrayJobDependency::Sequential,
    });
    JobDependency::builder()
        .set_job_id(dependency.job_id.as_ref().map(|id| id.0.clone()))
        .set_type(kind)
        .build()
}

/// Converts a number for the SDK. All numbers here are far below the limit.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_in_the_environment() {
        assert_eq!("arm64".parse(), Ok(Architecture::Arm64));
        assert_eq!("x86_64".parse(), Ok(Architecture::X86_64));
        let error = "ARM".parse::<Architecture>().unwrap_err();
        assert_eq!(error.to_string(), "`ARM` is neither arm64 nor x86_64");
    }
}
