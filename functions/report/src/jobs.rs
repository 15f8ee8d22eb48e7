//! Finds out whether all jobs of a run have ended, and how.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::RunItem;
use rowmill_domain::job::{JobDetail, JobName, JobStatus};
use rowmill_domain::limits::DESCRIBE_JOBS_MAX;
use rowmill_domain::run::Stop;
use rowmill_domain::second_round::SecondRound;
use rowmill_ports::{ErrorKind, Jobs, PortError, Runs};

/// How long Batch keeps a job after it ends. Source: AWS Batch user guide, "Job states" (7 days).
const JOBS_KEPT: TimeDelta = TimeDelta::days(7);

/// The jobs of one round of a run, all ended, by chunk and phase. `None`: Batch no longer knows the job.
type RoundJobs = BTreeMap<(u32, u16), Option<JobDetail>>;

/// The jobs of a run, all ended.
pub(crate) struct EndedJobs {
    /// Jobs that a stopped run did not submit are absent.
    first: RoundJobs,
    /// Whether the run is so young that Batch must have a record of each of its jobs.
    young: bool,
    /// What the second round did, with its jobs.
    pub(crate) second: Option<(SecondRound, RoundJobs)>,
    /// Why the run was stopped.
    pub(crate) stop: Option<Stop>,
}

impl EndedJobs {
    /// The job of a chunk and a phase, if Batch still has a record of it.
    pub(crate) fn job(&self, chunk: u32, phase: u16) -> Option<&JobDetail> {
        self.first.get(&(chunk, phase))?.as_ref()
    }

    /// Whether Batch lost the job of a chunk and a phase: it was submitted, and Batch has no record of it.
    pub(crate) fn is_lost(&self, chunk: u32, phase: u16) -> bool {
        self.young && self.first.get(&(chunk, phase)).is_some_and(Option::is_none)
    }

    /// The job of a chunk and a phase in the second round.
    pub(crate) fn second_job(&self, chunk: u32, phase: u16) -> Option<&JobDetail> {
        let (_, jobs) = self.second.as_ref()?;
        jobs.get(&(chunk, phase))?.as_ref()
    }

    /// Whether a job of the first round failed, or Batch lost it.
    pub(crate) fn any_failed(&self) -> bool {
        let mut jobs = self.first.values();
        jobs.any(|job| match job {
            Some(job) => job.status == JobStatus::Failed,
            None => self.young,
        })
    }

    /// Adds the jobs of the second round. `None` if one of them has not ended yet.
    ///
    /// # Errors
    /// As [`EndedJobs::of`].
    pub(crate) async fn with_second_round(
        self,
        run: &RunItem,
        round: SecondRound,
        runs: &dyn Runs,
        jobs: &dyn Jobs,
        now: DateTime<Utc>,
    ) -> Result<Option<EndedJobs>, PortError> {
        // If the run is stopped or Batch refused a job, the rest is never submitted.
        let expected = match run.stop.is_some() || round.refused.is_some() {
            true => 0,
            false => round.jobs(),
        };
        let ended = ended(run, true, expected, runs, jobs, now).await?;
        Ok(ended.map(|ended| EndedJobs {
            second: Some((round, ended)),
            ..self
        }))
    }

    /// Asks Batch about the jobs of the run's first round. `None` if one of them has not ended yet, or
    /// fewer than `expected` are submitted. A job whose end was not reported by an event is recorded as
    /// ended.
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
        let ended = ended(run, false, expected, runs, jobs, now).await?;
        Ok(ended.map(|first| EndedJobs {
            first,
            young: is_young(run, now),
            second: None,
            stop: run.stop.clone(),
        }))
    }
}

/// Whether Batch has not yet forgotten a job of the run.
fn is_young(run: &RunItem, now: DateTime<Utc>) -> bool {
    now - run.created < JOBS_KEPT
}

/// Asks Batch about all `expected` jobs of one round.
async fn ended(
    run: &RunItem,
    second_round: bool,
    expected: u32,
    runs: &dyn Runs,
    jobs: &dyn Jobs,
    now: DateTime<Utc>,
) -> Result<Option<RoundJobs>, PortError> {
    let mut records = runs.jobs(&run.id).await?;
    records.retain(|record| record.name.is_second_round() == second_round);
    if records.len() < expected as usize {
        return Ok(None);
    }
    let mut known = BTreeMap::new();
    for record in &records {
        // Other names do not belong to the run's jobs.
        if let Some((_, chunk, phase)) = JobName::parse(&record.name.0) {
            known.insert(record.id.clone(), (chunk, phase, record));
        }
    }
    let mut ended = RoundJobs::new();
    // First those whose end no event reported: the first one that still runs decides, without
    // asking about the rest.
    let (reported, open): (Vec<_>, Vec<_>) =
        known.iter().partition(|(_, (_, _, record))| record.ended);
    let ids = open.into_iter().chain(reported).map(|(id, _)| id.clone());
    let ids: Vec<_> = ids.collect();
    for ids in ids.chunks(DESCRIBE_JOBS_MAX) {
        for detail in jobs.describe(ids).await? {
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
    }
    // Batch does not know the rest: they ended long ago, were submitted a moment ago, or are lost, and then
    // the sweep counts them as ended.
    for (chunk, phase, record) in known.into_values() {
        if !record.ended && is_young(run, now) {
            return Ok(None);
        }
        ended.insert((chunk, phase), None);
    }
    Ok((ended.len() as u32 >= expected).then_some(ended))
}
