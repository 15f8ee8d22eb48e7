//! The work on one event: which run it is about, and whether that run can end now.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::job::{JobName, JobStateChange};
use rowmill_domain::run::{Failure, Work};
use rowmill_domain::{Manifest, RunId, RunItem, RunState, keys};
use rowmill_events::ToReport;
use rowmill_ports::{
    Claim, ErrorKind, Holder, Jobs, Ledger, Location, Mailer, Objects, Optional, PortError,
    RunPatch,
};

use crate::config::ReportConfig;
use crate::error::ReportError;

/// How long an invocation may work on a report before another takes over: the longest time that a
/// Lambda function can run. Source: Lambda quotas (900 seconds).
pub(crate) const LEASE: Duration = Duration::from_secs(900);

/// The stage, with the services it uses.
pub struct Report {
    /// The work bucket's objects.
    pub objects: Arc<dyn Objects>,
    /// Runs, jobs and outcomes.
    pub ledger: Arc<dyn Ledger>,
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
    /// Handles an event. Returns [`Reported`] if the mail of the run is sent, now or earlier, and its
    /// temporary data is not removed yet. Returns `None` if there is nothing to do, or not yet.
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
            ToReport::Check { run } => match self.ledger.run(run).await? {
                Some(run) => self.finish(run, None, cx).await,
                None => Ok(None),
            },
            ToReport::Failed { run, failure } => match self.ledger.run(run).await? {
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
        let ours = change.array_index.is_none()
            && change.status.is_terminal()
            && queue_name(&change.queue) == queue_name(&self.config.queue);
        let Some((id, _, _)) = JobName::parse(&change.name.0).filter(|_| ours) else {
            return Ok(None);
        };
        let Some(run) = self.ledger.run(&id).await? else {
            tracing::info!(run = %id, job = %change.id, "unknown run: the event of this job is ignored");
            return Ok(None);
        };
        if !run.state.is_terminal() {
            let ended = self.ledger.job_ended(&id, &change.name, &change.id).await?;
            match self.expected_jobs(&run).await? {
                Some(expected) if ended >= expected => {}
                _ => return Ok(None),
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
        let ended = match failure {
            Some(_) => None,
            None => {
                let Some(expected) = self.expected_jobs(&run).await? else {
                    return Ok(None);
                };
                match self.ended_jobs(&run, expected, cx.now).await? {
                    Some(ended) => Some(ended),
                    None => return Ok(None),
                }
            }
        };
        let claim = self
            .ledger
            .claim(&run.id, Work::Report, &cx.owner, cx.now, LEASE)
            .await?;
        match claim {
            Claim::Taken { .. } => {}
            Claim::Held(Holder { owner, until }) => {
                tracing::info!(run = %run.id, owner, %until, "another invocation is reporting this run");
                return Ok(None);
            }
            Claim::Done => return Ok(None),
        }
        // Read again: another invocation may have ended the run before the claim was taken.
        let run = match self.ledger.run(&run.id).await? {
            Some(run) if run.state.is_terminal() => return self.already_reported(&run, cx).await,
            Some(run) => run,
            None => return Err(ReportError::UnknownRun(run.id)),
        };
        let reported = match (failure, ended) {
            (Some(failure), _) => self.report_failure(&run, failure, cx).await,
            (None, Some(ended)) => self.report_jobs(&run, &ended, cx).await,
            (None, None) => return Ok(None),
        };
        if let Err(error) = reported {
            // Released at once: another event of the run may succeed, such as a failure that another
            // stage reports.
            self.ledger
                .release(&run.id, Work::Report, &cx.owner)
                .await?;
            return Err(error);
        }
        self.complete(&run.id, cx).await?;
        Ok(Some(Reported { run: run.id }))
    }

    /// Handles an event of a run whose mail is sent: cleanup may still have to run.
    async fn already_reported(
        &self,
        run: &RunItem,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        self.complete(&run.id, cx).await?;
        Ok(run.cleaned.is_none().then(|| Reported {
            run: run.id.clone(),
        }))
    }

    /// Completes the claim if this invocation still holds it.
    async fn complete(&self, run: &RunId, cx: &Invocation) -> Result<(), ReportError> {
        match self.ledger.complete(run, Work::Report, &cx.owner).await {
            Err(error) if error.kind != ErrorKind::Conflict => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// How many jobs the run has. `None` if split is not done.
    async fn expected_jobs(&self, run: &RunItem) -> Result<Option<u32>, ReportError> {
        match run.jobs {
            Some(jobs) => Ok(Some(jobs)),
            None => Ok(self.manifest(&run.id).await?.map(|m| m.jobs())),
        }
    }

    /// The run's manifest. `None` if split has not written it.
    pub(crate) async fn manifest(&self, run: &RunId) -> Result<Option<Manifest>, ReportError> {
        let key = keys::manifest(run);
        let Some(json) = self.object(&key).await? else {
            return Ok(None);
        };
        match Manifest::from_json(&json) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => Err(ReportError::Inconsistent {
                run: run.clone(),
                what: format!("{key}: {error}"),
            }),
        }
    }

    /// An object of the work bucket. `None` if it does not exist.
    pub(crate) async fn object(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let at = Location::new(&self.config.work_bucket, key);
        let object = self.objects.get(&at).await.optional()?;
        Ok(object.map(|object| object.body))
    }

    /// Changes a run, unless it has ended.
    pub(crate) async fn update(
        &self,
        run: &RunId,
        patch: RunPatch,
        cx: &Invocation,
    ) -> Result<(), ReportError> {
        let open = [RunState::Splitting, RunState::Running, RunState::Reporting];
        self.ledger.update_run(run, &open, patch, cx.now).await?;
        Ok(())
    }
}

/// The name of a queue that is given by name or ARN.
fn queue_name(queue: &str) -> &str {
    queue.rsplit('/').next().unwrap_or(queue)
}
