//! Converts what Batch reports about jobs.

use std::collections::BTreeMap;

use aws_sdk_batch::types::{
    ArrayPropertiesDetail, JobDetail as Described, JobStatus as Status, JobSummary,
};
use rowmill_domain::job::{JobDetail, JobId, JobName, JobStatus};
use rowmill_ports::{ErrorKind, PortError};

/// A response that is incomplete or has an unknown value.
#[derive(Debug)]
pub(super) struct Unreadable {
    job: String,
    what: String,
}

impl Unreadable {
    pub(super) fn into_port(self, operation: &'static str) -> PortError {
        PortError::new(operation, self.job, ErrorKind::Unavailable, self.what)
    }
}

/// Converts a job of DescribeJobs.
pub(super) fn detail(job: &Described) -> Result<JobDetail, Unreadable> {
    let (id, status) = id_and_status(job.job_id(), job.status())?;
    let array = job.array_properties();
    let last = job
        .attempts()
        .last()
        .and_then(|attempt| attempt.container());
    let container = job.container();
    let exit_code = container.and_then(|c| c.exit_code());
    let reason = container.and_then(|c| c.reason());
    let log = container.and_then(|c| c.log_stream_name());
    Ok(JobDetail {
        name: JobName(job.job_name().unwrap_or_default().to_owned()),
        status,
        status_reason: job.status_reason().map(str::to_owned),
        array_size: array.and_then(|a| a.size()).and_then(size_of(&id)),
        array_index: id.index(),
        children: array.map(children).unwrap_or_default(),
        exit_code: exit_code.or_else(|| last.and_then(|c| c.exit_code())),
        reason: reason
            .or_else(|| last.and_then(|c| c.reason()))
            .map(str::to_owned),
        attempts: u32::try_from(job.attempts().len()).unwrap_or(u32::MAX),
        created_at: job.created_at(),
        started_at: job.started_at(),
        stopped_at: job.stopped_at(),
        log: log
            .or_else(|| last.and_then(|c| c.log_stream_name()))
            .map(|stream| format!("log stream {stream}")),
        id,
    })
}

/// Converts a job of ListJobs.
pub(super) fn summary(job: &JobSummary) -> Result<JobDetail, Unreadable> {
    let (id, status) = id_and_status(job.job_id(), job.status())?;
    let array = job.array_properties();
    let container = job.container();
    Ok(JobDetail {
        name: JobName(job.job_name().unwrap_or_default().to_owned()),
        status,
        status_reason: job.status_reason().map(str::to_owned),
        array_size: array.and_then(|a| a.size()).and_then(size_of(&id)),
        array_index: id.index(),
        children: BTreeMap::new(),
        exit_code: container.and_then(|c| c.exit_code()),
        reason: container.and_then(|c| c.reason()).map(str::to_owned),
        attempts: 0,
        created_at: job.created_at(),
        started_at: job.started_at(),
        stopped_at: job.stopped_at(),
        log: None,
        id,
    })
}

/// The number of children in each state. States that Rowmill does not know are left out.
fn children(array: &ArrayPropertiesDetail) -> BTreeMap<JobStatus, u32> {
    let counts = array.status_summary().into_iter().flatten();
    counts
        .filter_map(|(status, count)| {
            Some((JobStatus::parse(status)?, u32::try_from(*count).ok()?))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The size of an array job. `None` for a plain job, where Batch reports 0, and for a child.
fn size_of(id: &JobId) -> impl FnOnce(i32) -> Option<u32> {
    let is_child = id.index().is_some();
    move |size| {
        u32::try_from(size)
            .ok()
            .filter(|size| *size > 0 && !is_child)
    }
}

fn id_and_status(
    id: Option<&str>,
    status: Option<&Status>,
) -> Result<(JobId, JobStatus), Unreadable> {
    let unreadable = |what: String| Unreadable {
        job: id.unwrap_or("a job").to_owned(),
        what,
    };
    let job = id.ok_or_else(|| unreadable("the response has no job id".into()))?;
    let name = status.map_or("", Status::as_str);
    let status =
        JobStatus::parse(name).ok_or_else(|| unreadable(format!("unknown job state `{name}`")))?;
    Ok((JobId(job.to_owned()), status))
}

#[cfg(test)]
mod tests {
    use aws_sdk_batch::types::{AttemptContainerDetail, AttemptDetail, ContainerDetail};

    use super::*;

    fn job(id: &str) -> aws_sdk_batch::types::builders::JobDetailBuilder {
        Described::builder()
            .job_id(id)
            .job_name("name")
            .status(Status::Failed)
    }

    #[test]
    fn a_parent_has_a_size_and_a_child_an_index() {
        let array = |size| ArrayPropertiesDetail::builder().size(size).build();
        let parent = detail(&job("a").array_properties(array(3)).build()).unwrap();
        assert_eq!((parent.array_size, parent.array_index), (Some(3), None));
        let counted = ArrayPropertiesDetail::builder()
            .size(3)
            .status_summary("RUNNING", 1)
            .status_summary("RUNNABLE", 2)
            .status_summary("FAILED", 0)
            .build();
        let counted = detail(&job("a").array_properties(counted).build()).unwrap();
        assert_eq!(
            counted.children,
            BTreeMap::from([(JobStatus::Running, 1), (JobStatus::Runnable, 2)])
        );
        let child = detail(&job("a:2").array_properties(array(0)).build()).unwrap();
        assert_eq!((child.array_size, child.array_index), (None, Some(2)));
        let plain = detail(&job("a").build()).unwrap();
        assert_eq!((plain.array_size, plain.array_index), (None, None));
    }

    #[test]
    fn the_last_attempt_determines_how_the_job_ended() {
        let attempt = |code| {
            let container = AttemptContainerDetail::builder()
                .exit_code(code)
                .reason("OutOfMemoryError");
            AttemptDetail::builder()
                .container(container.build())
                .build()
        };
        let job = job("a").attempts(attempt(1)).attempts(attempt(137));
        let of_attempts = detail(&job.clone().build()).unwrap();
        assert_eq!(of_attempts.exit_code, Some(137));
        assert_eq!(of_attempts.reason.as_deref(), Some("OutOfMemoryError"));
        assert_eq!(of_attempts.attempts, 2);
        let container = ContainerDetail::builder().exit_code(175).build();
        let own = detail(&job.container(container).build()).unwrap();
        assert_eq!(own.exit_code, Some(175));
    }

    #[test]
    fn the_error_for_an_unknown_state_contains_the_state() {
        let odd = job("a").status(Status::from("PAUSED")).build();
        let error = detail(&odd).unwrap_err().into_port("DescribeJobs");
        assert!(error.to_string().contains("PAUSED"), "{error}");
    }
}
