//! The work on one event: which run it is about, and whether that run can end now.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::job::{JobName, JobStateChange, on_demand_queue};
use rowmill_domain::run::{Failure, Work};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_events::ToReport;
use rowmill_ports::{Coordination, Jobs, Mailer, Outcomes, RunPatch, Runs};
use rowmill_runs::{Transition, WorkBucket, complete_claim, find_manifest, with_claim};

use crate::config::ReportConfig;
use crate::error::ReportError;
use crate::jobs::EndedJobs;
use crate::second_round::Round;

/// The stage, with the services it uses.
pub struct Report {
    /// Runs and the ids of their jobs.
    pub runs: Arc<dyn Runs>,
    /// The outcomes of records.
    pub outcomes: Arc<dyn Outcomes>,
    /// Claims.
    pub coordination: Arc<dyn Coordination>,
    /// The work bucket.
    pub work: WorkBucket,
    /// Says whether jobs have ended, and why they failed.
    pub jobs: Arc<dyn Jobs>,
    /// Sends the mail.
    pub mailer: Arc<dyn Mailer>,
    /// The settings of the deployment.
    pub config: ReportConfig,
    /// Rows written to result workbooks so far, for a progress display.
    pub rows_written: Arc<AtomicU64>,
}

impl Report {
    /// Handles an event. Returns [`Reported`] if the mail of the run is sent, now or earlier, and
    /// its temporary data is not removed yet. Returns `None` if there is nothing to do, or not yet.
    ///
    /// # Errors
    /// A service failed, or the run cannot be reported. The same event can be handled again.
    pub async fn handle(
        &self,
        event: &ToReport,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        match event {
            ToReport::Job(change) => self.job(change, cx).await,
            ToReport::Check { run } => match self.runs.find_run(run).await? {
                Some(run) => self.finish(run, None, cx).await,
                None => Ok(None),
            },
            ToReport::Failed { run, failure } => match self.runs.find_run(run).await? {
                Some(run) => self.finish(run, Some(failure), cx).await,
                None => Err(ReportError::UnknownRun(run.clone())),
            },
            ToReport::Bounced(bounce) => {
                self.bounced(bounce, cx).await?;
                Ok(None)
            }
        }
    }

    /// Counts an ended job. After the last one, the run ends.
    async fn job(
        &self,
        change: &JobStateChange,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        let queue = queue_name(&self.config.queue);
        let ours = change.array_index.is_none()
            && change.status.is_terminal()
            && [queue.to_owned(), on_demand_queue(queue)]
                .contains(&queue_name(&change.queue).to_owned());
        let Some((id, _, _)) = JobName::parse(&change.name.0).filter(|_| ours) else {
            return Ok(None);
        };
        let Some(run) = self.runs.find_run(&id).await? else {
            tracing::info!(run = %id, job = %change.id, "unknown run: the event of this job is ignored");
            return Ok(None);
        };
        if !run.state.is_terminal() {
            let ended = self.runs.job_ended(&id, &change.name, &change.id).await?;
            let Some(first_round) = self.expected_jobs(&run).await? else {
                return Ok(None);
            };
            // The event of a job of the first round can be the one that started the second round and
            // was interrupted.
            let expected = match change.name.is_second_round() {
                true => first_round + run.second_round.unwrap_or(0),
                false => first_round,
            };
            if ended < expected && run.stop.is_none() {
                return Ok(None);
            }
        }
        self.finish(run, None, cx).await
    }

    /// Ends a run that failed, or whose jobs have all ended.
    async fn finish(
        &self,
        run: RunItem,
        failure: Option<&Failure>,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        if run.state.is_terminal() {
            return self.already_reported(&run, cx).await;
        }
        let reason = match failure {
            Some(failure) => Reason::Failed(failure),
            None => {
                let Some(mut expected) = self.expected_jobs(&run).await? else {
                    return Ok(None);
                };
                if run.stop.is_some() && run.state != RunState::Splitting {
                    // What is not submitted never will be, unless submit is at it now. It publishes a
                    // check when it is done.
                    let submit = Work::Submit;
                    let holder = self.coordination.holder(&run.id, submit, cx.now).await?;
                    if holder.is_none() {
                        expected = 0;
                    }
                }
                let (runs, jobs) = (&*self.runs, &*self.jobs);
                let Some(first) = EndedJobs::of(&run, expected, runs, jobs, cx.now).await? else {
                    return Ok(None);
                };
                let ended = match self.second_round(&run, &first, cx).await? {
                    Round::None => Some(first),
                    Round::Held => None,
                    Round::Submitted(round) => {
                        let with = first.with_second_round(&run, round, runs, jobs, cx.now);
                        with.await?
                    }
                };
                match ended {
                    Some(jobs) => Reason::JobsEnded(jobs),
                    None => return Ok(None),
                }
            }
        };
        let report = async |_resumed| {
            // Read again: another invocation may have ended the run before the claim was taken.
            let run = match self.runs.find_run(&run.id).await? {
                Some(run) if run.state.is_terminal() => return Ok(to_clean(&run)),
                Some(run) => run,
                None => return Err(ReportError::UnknownRun(run.id.clone())),
            };
            match reason {
                Reason::Failed(failure) => self.report_failure(&run, failure, cx).await?,
                Reason::JobsEnded(mut jobs) => {
                    // It may have been stopped since.
                    jobs.stop.clone_from(&run.stop);
                    self.report_jobs(&run, &jobs, cx).await?;
                }
            }
            Ok(Some(Reported { run: run.id }))
        };
        let claimed = with_claim(&*self.coordination, &run.id, Work::Report, cx, report).await?;
        Ok(claimed.worked().flatten())
    }

    /// Handles an event of a run whose mail is sent: cleanup may still have to run.
    async fn already_reported(
        &self,
        run: &RunItem,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        complete_claim(&*self.coordination, &run.id, Work::Report, cx).await?;
        Ok(to_clean(run))
    }

    /// How many jobs the first round of the run has. `None` if split is not done.
    async fn expected_jobs(&self, run: &RunItem) -> Result<Option<u32>, ReportError> {
        match run.jobs {
            Some(jobs) => Ok(Some(jobs)),
            None => {
                let manifest = find_manifest(&self.work, &run.id).await?;
                Ok(manifest.map(|manifest| manifest.jobs()))
            }
        }
    }

    /// Changes a run. Does nothing if another invocation has moved it on.
    pub(crate) async fn change(
        &self,
        run: &RunId,
        transition: Transition,
        fields: RunPatch,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        transition.apply(&*self.runs, run, fields, cx.now).await?;
        Ok(())
    }
}

/// Why a run ends.
enum Reason<'a> {
    /// Another stage failed.
    Failed(&'a Failure),
    /// All jobs have ended.
    JobsEnded(EndedJobs),
}

/// A run whose mail is sent, if its temporary data is not removed yet.
fn to_clean(run: &RunItem) -> Option<Reported> {
    run.cleaned.is_none().then(|| Reported {
        run: run.id.clone(),
    })
}

/// The name of a queue that is given by name or ARN.
fn queue_name(queue: &str) -> &str {
    queue.rsplit('/').next().unwrap_or(queue)
}
