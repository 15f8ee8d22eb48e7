//! Stage report: the result workbook and the mail, once all jobs are terminal.
//!
//! Report is entered by every ended job of a run, and works when the last one has ended: it
//! joins the chunks with their outcomes, writes the result workbook, keeps the rows, and sends
//! one mail: delivered, delivered with errors, or failed. It may be killed at any time; the next
//! event goes on where it stopped. The mail is kept before it is sent, so that sending it twice
//! sends the same message with the same Message-ID.
//!
//! It is entered once more where that mail comes back from a recipient.

mod again;
mod bounced;
mod build;
mod ended;
mod entry;
mod error;
mod figures;
mod mail;
mod missing;
mod outcome;
mod send;
mod workbook;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::event::{Bounce, Invocation, Reported};
use rowmill_domain::job::{JobName, JobStateChange};
use rowmill_domain::link::{Link, LinkKey};
use rowmill_domain::message::Failure;
use rowmill_domain::run::Work;
use rowmill_domain::{Manifest, RunId, RunItem, RunState, keys};
use rowmill_ports::{
    Claim, ErrorKind, Jobs, Ledger, Location, Mailer, Objects, Optional, PortError, RunPatch,
};

pub use again::{about, again};
pub use error::ReportError;

/// How long an invocation may work on a report before another takes over: the longest that
/// Lambda lets a function run. Source: Lambda quotas (900 seconds).
const LEASE: Duration = Duration::from_secs(900);

/// The stage, with what it works on.
pub struct Report {
    /// The work bucket's objects.
    pub objects: Arc<dyn Objects>,
    /// Runs, jobs and outcomes.
    pub ledger: Arc<dyn Ledger>,
    /// Asked why jobs failed.
    pub jobs: Arc<dyn Jobs>,
    /// Sends the mail.
    pub mailer: Arc<dyn Mailer>,
    /// What differs from deployment to deployment.
    pub config: ReportConfig,
    /// Rows written to result workbooks so far, for a progress display.
    pub rows_written: Arc<AtomicU64>,
}

/// What differs from deployment to deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportConfig {
    /// The work bucket.
    pub work_bucket: String,
    /// The own job queue, by name or ARN; events of others are passed over.
    pub queue: String,
    /// The sender: `rowmill@example.com` or `Rowmill <rowmill@example.com>`.
    pub from: String,
    /// Recipients where neither the upload nor the pipeline names one.
    pub default_to: Vec<String>,
    /// The domains that mail may go to, the default recipients apart; all where there is none.
    pub allowed_domains: Vec<String>,
    /// Largest workbook in bytes that is attached and not linked.
    pub attach_limit: u64,
    /// How workbooks are linked; `None`: by a link to the object itself.
    pub links: Option<Links>,
}

/// Links in mail that lead to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The API's base URL.
    pub base: String,
    /// The key that both sign with.
    pub key: LinkKey,
}

impl Links {
    /// A link to an object of a run that works until then.
    fn to(&self, run: &RunId, object: &str, expires: DateTime<Utc>) -> String {
        let link = Link {
            run: run.clone(),
            object: object.to_owned(),
            expires,
        };
        format!(
            "{}/d/{}",
            self.base.trim_end_matches('/'),
            link.sign(&self.key)
        )
    }
}

/// What enters report.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportEvent {
    /// A job of the queue changed its state.
    Job(JobStateChange),
    /// A stage gave a run up.
    Failed {
        /// The run.
        run: RunId,
        /// What happened.
        failure: Failure,
    },
    /// The sweep asks to look whether all jobs of a run have ended, as an event may be lost.
    Check {
        /// The run.
        run: RunId,
    },
    /// The run's mail came back from a recipient.
    Bounced(Bounce),
}

impl Report {
    /// Handles an event. Answers [`Reported`] where the run's mail is sent, now or before, and
    /// what is temporary is still to be removed; `None` where there is nothing to do (yet).
    pub async fn handle(
        &self,
        event: &ReportEvent,
        cx: &Invocation,
    ) -> Result<Option<Reported>, ReportError> {
        match event {
            ReportEvent::Job(change) => self.job(change, cx).await,
            ReportEvent::Check { run } => match self.ledger.run(run).await? {
                Some(run) => self.finish(run, None, cx).await,
                None => Ok(None),
            },
            ReportEvent::Failed { run, failure } => match self.ledger.run(run).await? {
                Some(run) => self.finish(run, Some(failure), cx).await,
                None => Err(ReportError::UnknownRun(run.clone())),
            },
            ReportEvent::Bounced(bounce) => {
                self.bounced(bounce, cx).await?;
                Ok(None)
            }
        }
    }

    /// Counts an ended job, and finishes the run with the last one.
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
            tracing::info!(run = %id, job = %change.id, "the run of this job is not in the ledger");
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
            return self.again(&run, cx).await;
        }
        let ended = match failure {
            Some(_) => None,
            None => {
                let Some(expected) = self.expected_jobs(&run).await? else {
                    return Ok(None);
                };
                match self.ended(&run, expected, cx.now).await? {
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
            Claim::Held { owner, until } => {
                tracing::info!(run = %run.id, owner, %until, "another invocation reports this run");
                return Ok(None);
            }
            Claim::Done => return Ok(None),
        }
        // Read again: an earlier try may have ended the run between the first look and the claim.
        let run = match self.ledger.run(&run.id).await? {
            Some(run) if run.state.is_terminal() => return self.again(&run, cx).await,
            Some(run) => run,
            None => return Err(ReportError::UnknownRun(run.id)),
        };
        let reported = match (failure, ended) {
            (Some(failure), _) => self.report_failure(&run, failure, cx).await,
            (None, Some(ended)) => self.report_jobs(&run, &ended, cx).await,
            (None, None) => return Ok(None),
        };
        if let Err(error) = reported {
            // Not held until the lease ends: another event of the run may be able to go on, a
            // failure that another stage tells among them.
            self.ledger
                .release(&run.id, Work::Report, &cx.owner)
                .await?;
            return Err(error);
        }
        self.complete(&run.id, cx).await?;
        Ok(Some(Reported { run: run.id }))
    }

    /// An event of a run whose mail is sent: cleanup may still have to follow.
    async fn again(&self, run: &RunItem, cx: &Invocation) -> Result<Option<Reported>, ReportError> {
        self.complete(&run.id, cx).await?;
        Ok(run.cleaned.is_none().then(|| Reported {
            run: run.id.clone(),
        }))
    }

    /// Completes the claim where this invocation still holds it.
    async fn complete(&self, run: &RunId, cx: &Invocation) -> Result<(), ReportError> {
        match self.ledger.complete(run, Work::Report, &cx.owner).await {
            Err(error) if error.kind != ErrorKind::Conflict => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// How many jobs the run has in all; `None` where split is not done.
    async fn expected_jobs(&self, run: &RunItem) -> Result<Option<u32>, ReportError> {
        match run.jobs {
            Some(jobs) => Ok(Some(jobs)),
            None => Ok(self.manifest(&run.id).await?.map(|m| m.jobs())),
        }
    }

    /// The run's manifest; `None` where split has not written it.
    async fn manifest(&self, run: &RunId) -> Result<Option<Manifest>, ReportError> {
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

    /// An object of the work bucket; `None` where there is none of the key.
    async fn object(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let at = Location::new(&self.config.work_bucket, key);
        let object = self.objects.get(&at).await.optional()?;
        Ok(object.map(|object| object.body))
    }

    /// Changes a run that has not ended.
    async fn update(
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

/// The name of a queue given by name or ARN.
fn queue_name(queue: &str) -> &str {
    queue.rsplit('/').next().unwrap_or(queue)
}
