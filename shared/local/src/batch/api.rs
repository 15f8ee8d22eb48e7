//! The port `Jobs`: the operations of the AWS Batch API.

use std::sync::PoisonError;

use async_trait::async_trait;
use rowmill_domain::job::rules::{self, Violation};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, SubmitJob, on_demand_queue};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, JobFilter, Jobs, PortError, Result};
use tokio::time::Instant;

use super::job::Job;
use super::machine::Machine;
use super::process::Interrupt;
use super::{LocalBatch, now, store};

/// Jobs per page. Source: AWS Batch API, ListJobs (`maxResults`).
const PAGE_SIZE: usize = 100;

/// The error that AWS returns: `ClientException`, status 400.
pub(super) fn refused(refusal: Violation, operation: &'static str, resource: &str) -> PortError {
    let message = format!("ClientException: {refusal}");
    PortError::new(operation, resource, ErrorKind::Invalid, message)
}

#[async_trait]
impl Jobs for LocalBatch {
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        const OPERATION: &str = "RegisterJobDefinition";
        rules::definition(definition).map_err(|r| refused(r, OPERATION, &definition.name))?;
        let arn = |name: &str, revision: i64| {
            format!("arn:aws:batch:local:000000000000:job-definition/{name}:{revision}")
        };
        let cloud = &self.inner.cloud;
        cloud
            .with(|conn| store::register(conn, definition, arn))
            .map_err(|e| e.into_port(OPERATION, &definition.name))
    }

    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        let cloud = &self.inner.cloud;
        cloud
            .with(|conn| store::definitions(conn, name_prefix))
            .map_err(|e| e.into_port("DescribeJobDefinitions", name_prefix))
    }

    async fn deregister(&self, arn: &str) -> Result<()> {
        let cloud = &self.inner.cloud;
        cloud
            .with(|conn| store::deregister(conn, arn))
            .map_err(|e| e.into_port("DeregisterJobDefinition", arn))
    }

    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        const OPERATION: &str = "SubmitJob";
        let name = &job.name.0;
        self.throttle(OPERATION, name)?;
        let refuse = |refusal: Violation| refused(refusal, OPERATION, name);
        rules::submit(job).map_err(refuse)?;
        let queue = &self.inner.config.queue;
        let queues = [queue.clone(), on_demand_queue(queue)];
        let named = |queue: &String| {
            job.queue == *queue || job.queue.ends_with(&format!(":job-queue/{queue}"))
        };
        let Some(queue) = queues.into_iter().find(named) else {
            let why = format!("JobQueue {} not found", job.queue);
            return Err(refuse(Violation(why)));
        };
        let definition = self
            .inner
            .cloud
            .with(|conn| store::definition(conn, &job.definition))
            .map_err(|e| e.into_port(OPERATION, name))?;
        let Some(definition) = definition else {
            let why = format!("JobDefinition {} not found or not active", job.definition);
            return Err(refuse(Violation(why)));
        };
        let id = new_id();
        let submitted = self
            .transact(|machine| machine.request(id.clone(), queue, job, definition, now()))
            .map_err(|e| e.into_port(OPERATION, name))?;
        submitted.map_err(refuse)?;
        self.inner.wake.notify_one();
        Ok(id)
    }

    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        const OPERATION: &str = "DescribeJobs";
        let resource = format!("{} jobs", ids.len());
        rules::describe(ids.len()).map_err(|r| refused(r, OPERATION, &resource))?;
        self.transact(|machine| {
            ids.iter()
                .filter_map(|id| {
                    let unit = machine.find(id)?;
                    Some(self.with_log(machine.job(unit.job)?.described(unit.index)))
                })
                .collect()
        })
        .map_err(|e| e.into_port(OPERATION, resource))
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        const OPERATION: &str = "ListJobs";
        let resource = format!("{filter:?}");
        let after = after
            .map(str::parse::<i64>)
            .transpose()
            .map_err(|_| refused(Violation("Invalid nextToken".into()), OPERATION, &resource))?;
        self.transact(|machine| page(machine, filter, after))
            .map_err(|e| e.into_port(OPERATION, resource))
    }

    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        let active = self
            .transact(|machine| {
                let unit = machine.find(id);
                unit.map(|unit| machine.terminate(unit, reason, now()))
            })
            .map_err(|e| e.into_port("TerminateJob", &id.0))?;
        for unit in active.unwrap_or_default() {
            // The receiver lives as long as `self`.
            let _ = self.inner.interrupts.send((unit, Interrupt::Terminate));
        }
        Ok(())
    }

    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        self.transact(|machine| {
            if let Some(unit) = machine.find(id) {
                machine.cancel(unit, reason, now());
            }
        })
        .map_err(|e| e.into_port("CancelJob", &id.0))
    }
}

impl LocalBatch {
    /// Counts a call against the account's rate limit, which applies to the last second.
    fn throttle(&self, operation: &'static str, resource: &str) -> Result<()> {
        let (now, second) = (Instant::now(), self.scaled(1));
        let submits = &self.inner.submits;
        let mut submits = submits.lock().unwrap_or_else(PoisonError::into_inner);
        while submits
            .front()
            .is_some_and(|at| now.duration_since(*at) >= second)
        {
            submits.pop_front();
        }
        if submits.len() >= limits::SUBMIT_PER_SECOND as usize {
            let why = "TooManyRequestsException: Too Many Requests";
            return Err(PortError::new(
                operation,
                resource,
                ErrorKind::Throttled,
                why,
            ));
        }
        submits.push_back(now);
        Ok(())
    }
}

/// A page of jobs, newest first, or of children by index. The token is the number of the last job or
/// the index of the last child on the page.
pub(super) fn page(
    machine: &Machine,
    filter: &JobFilter,
    after: Option<i64>,
) -> (Vec<JobDetail>, Option<String>) {
    let newest_first = |pick: &dyn Fn(&Job) -> bool| -> Vec<(i64, JobDetail)> {
        machine
            .newest_first(after)
            .filter(|(_, job)| pick(job))
            .take(PAGE_SIZE + 1)
            .map(|(number, job)| (number, job.detail(None)))
            .collect()
    };
    let mut found = match filter {
        JobFilter::Name { queue, name } => {
            newest_first(&|job| job.spec.queue == *queue && job.spec.name == *name)
        }
        JobFilter::Status { queue, status } => {
            newest_first(&|job| job.spec.queue == *queue && job.own.status == *status)
        }
        JobFilter::Children { parent, status } => {
            let unit = machine.find(parent).filter(|unit| unit.index.is_none());
            let job = unit.and_then(|unit| machine.job(unit.job));
            let first = after.map_or(0, |index| index.saturating_add(1));
            job.into_iter()
                .flat_map(|job| {
                    let size = i64::from(job.spec.size.unwrap_or(0));
                    (first..size)
                        .map(|index| (index, job.detail(Some(index as u32))))
                        .filter(|(_, child)| child.status == *status)
                        .take(PAGE_SIZE + 1)
                })
                .collect()
        }
    };
    let next = (found.len() > PAGE_SIZE).then(|| {
        found.truncate(PAGE_SIZE);
        found[PAGE_SIZE - 1].0.to_string()
    });
    let jobs = found.into_iter().map(|(_, mut job)| {
        // ListJobs does not return it.
        job.attempts = 0;
        job
    });
    (jobs.collect(), next)
}

/// A random id in the format of AWS: a UUID, version 4.
fn new_id() -> JobId {
    let bits: u128 = rand::random();
    let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
    JobId(format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 3),
        part(48, 4) & 0x3fff | 0x8000,
        part(0, 12),
    ))
}
