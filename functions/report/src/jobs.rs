//! Finds out whether all jobs of a run have ended, and how.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::RunItem;
use rowmill_domain::job::{JobDetail, JobName};
use rowmill_ports::{ErrorKind, Jobs, PortError, Runs};
use rowmill_runs::describe_jobs;

/// How long Batch keeps a job after it ends. Source: AWS Batch user guide, "Job states" (7 days).
const JOBS_KEPT: TimeDelta = TimeDelta::days(7);

/// The jobs of a run, all ended, by chunk and phase. `None`: Batch no longer knows the job.
pub(crate) struct EndedJobs(BTreeMap<(u32, u16), Option<JobDetail>>);

impl EndedJobs {
    /// The job of a chunk and a phase, if Batch still has a record of it.
    pub(crate) fn job(&self, chunk: u32, phase: u16) -> Option<&JobDetail> {
        self.0.get(&(chunk, phase))?.as_ref()
    }

    /// Asks Batch about all `expected` jobs of the run. `None` if one of them is not submitted or has
    /// not ended yet. A job whose end was not reported by an event is recorded as ended.
    ///
    /// # Errors
    /// A service failed, or Batch still shows a job as running whose end was reported.
    pub(crate) async fn of(
        run: &RunItem,
        expected: u32,
        runs: &dyn Runs,
        jobs: &dyn Jobs,
        now: DateTime<Utc>,
    ) -> Result<Option<EndedJobs>, PortError> {
        let records = runs.jobs(&run.id).await?;
        let mut known = BTreeMap::new();
        for record in &records {
            // Other names do not belong to the run's jobs.
            if let Some((_, chunk, phase)) = JobName::parse(&record.name.0) {
                known.insert(record.id.clone(), (chunk, phase, record));
            }
        }
        let mut ended: BTreeMap<(u32, u16), Option<JobDetail>> = BTreeMap::new();
        let ids: Vec<_> = known.keys().cloned().collect();
        for detail in describe_jobs(jobs, &ids).await? {
            let Some((chunk, phase, record)) = known.remove(&detail.id) else {
                continue;
            };
            if !detail.status.is_terminal() {
                if record.ended {
                    return Err(PortError::new(
                        "DescribeJobs",
                        record.id.to_string(),
                        ErrorKind::Unavailable,
                        format_args!(
                            "an event reported that the job ended, but its state is still {}",
                            detail.status.name()
                        ),
                    ));
                }
                return Ok(None);
            }
            if !record.ended {
                runs.job_ended(&run.id, &record.name, &record.id).await?;
            }
            ended.insert((chunk, phase), Some(detail));
        }
        // Batch does not know the rest: they ended long ago, or were submitted a moment ago.
        for (chunk, phase, record) in known.into_values() {
            if !record.ended && now - run.created < JOBS_KEPT {
                return Ok(None);
            }
            ended.insert((chunk, phase), None);
        }
        Ok((ended.len() as u32 >= expected).then_some(EndedJobs(ended)))
    }
}
