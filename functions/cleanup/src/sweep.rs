//! The sweep: a lost event loses nothing.
//!
//! It looks at runs of which nothing was heard for a while, asks Batch, and hands each to the
//! stage that can move it on, by the very messages that enter that stage. What no stage can move
//! on is failed, so that a mail goes out in any case. Then it removes what belongs to no run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::job::{JobDetail, JobId, JobName, JobStatus};
use rowmill_domain::limits::DESCRIBE_JOBS_MAX;
use rowmill_domain::message::{Failure, Message};
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem, RunState, keys};
use rowmill_ports::{Claim, JobFilter, RunPatch};

use crate::error::CleanupError;
use crate::stage::Cleanup;

/// What the sweep did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// The run's split was given up by all its tries: it is failed, and report is told.
    SplitFailed {
        /// The run.
        run: RunId,
    },
    /// The run had failed without report having heard of it: report is told again.
    FailureRepeated {
        /// The run.
        run: RunId,
    },
    /// Jobs of the run are not submitted: submit is told again.
    Resubmitted {
        /// The run.
        run: RunId,
    },
    /// All jobs of the run have ended, or it was being reported, and its mail is not sent: report
    /// is told to look.
    JobsEnded {
        /// The run.
        run: RunId,
    },
    /// A job of the run waited for a place for too long while nothing ran: it is terminated, which
    /// report hears of as of any end.
    JobGivenUp {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
    },
    /// The run had ended, and what is temporary of it was still there.
    Cleaned {
        /// The run.
        run: RunId,
    },
    /// A table of no run, or of one that is cleaned, is dropped.
    TableDropped {
        /// The run it was named after.
        run: RunId,
    },
    /// Temporary objects of no run, or of one that is cleaned, are deleted.
    ObjectsDeleted {
        /// The run they were named after.
        run: RunId,
    },
    /// A job definition that no live run uses is deregistered.
    DefinitionRemoved {
        /// Its ARN.
        arn: String,
    },
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// What it did, in order.
    pub actions: Vec<SweepAction>,
    /// What it could not look at or move on; the next sweep tries again.
    pub errors: Vec<CleanupError>,
}

impl Cleanup {
    /// Sweeps once. A run that cannot be moved on keeps no other from it: its error is in the
    /// answer. Safe to run beside everything else, and twice.
    ///
    /// # Errors
    /// Where the runs cannot be listed.
    pub async fn sweep(&self, cx: &Invocation) -> Result<Swept, CleanupError> {
        let runs = self.all_runs().await?;
        let mut swept = Swept::default();
        let stalled = before(cx.now, self.config.stalled_after);
        for run in runs.iter().filter(|run| run.updated <= stalled) {
            let result = self.run_on(run, cx).await;
            swept.take(result);
        }
        // Runs of just now may have what the listings below show, so they are listed after.
        let live: HashMap<&RunId, &RunItem> = runs.iter().map(|run| (&run.id, run)).collect();
        let result = self.stray_tables(&live).await;
        swept.take(result);
        let result = self.stray_objects(&live).await;
        swept.take(result);
        let result = self.stray_definitions_removed(&runs).await;
        swept.take(result);
        Ok(swept)
    }

    /// Moves a run on of which nothing was heard.
    async fn run_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        if item.state.is_terminal() {
            if item.cleaned.is_some() {
                return Ok(Vec::new());
            }
            let reported = Reported { run: run.clone() };
            self.handle(&reported, cx).await?;
            let cleaned = self
                .ledger
                .run(&run)
                .await?
                .is_some_and(|r| r.cleaned.is_some());
            return Ok(cleaned
                .then_some(SweepAction::Cleaned { run })
                .into_iter()
                .collect());
        }
        if let Some(failure) = &item.failure {
            if self.is_held(&run, Work::Report, cx).await? {
                return Ok(Vec::new());
            }
            let failure = failure.clone();
            self.topic
                .publish(&Message::Failed {
                    run: run.clone(),
                    failure,
                })
                .await?;
            return Ok(vec![SweepAction::FailureRepeated { run }]);
        }
        match item.state {
            RunState::Splitting => self.splitting_on(item, cx).await,
            RunState::Running => self.running_on(item, cx).await,
            _ if self.is_held(&run, Work::Report, cx).await? => Ok(Vec::new()),
            _ => self.check(run).await,
        }
    }

    /// Nobody is splitting the run any more, and its event is spent: the owner uploads it again.
    async fn splitting_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        if self.is_held(&run, Work::Split, cx).await? {
            return Ok(Vec::new());
        }
        let failure = Failure {
            stage: "split".into(),
            what: format!(
                "{}: reading it was begun and never finished (out of time or memory, or a \
                 service failed)",
                keys::file_name(&item.source.key)
            ),
            advice: "upload it again; where that ends the same, split it into several workbooks, \
                     or give the split function more memory"
                .into(),
        };
        let patch = RunPatch {
            failure: Some(failure.clone()),
            ..RunPatch::default()
        };
        let failed = self
            .ledger
            .update_run(&run, &[RunState::Splitting], patch, cx.now)
            .await?;
        if !failed {
            return Ok(Vec::new());
        }
        self.topic
            .publish(&Message::Failed {
                run: run.clone(),
                failure,
            })
            .await?;
        Ok(vec![SweepAction::SplitFailed { run }])
    }

    async fn running_on(
        &self,
        item: &RunItem,
        cx: &Invocation,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let run = item.id.clone();
        let jobs = self.ledger.jobs(&run).await?;
        if item.jobs.is_none_or(|all| jobs.len() < all as usize) {
            if self.is_held(&run, Work::Submit, cx).await? {
                return Ok(Vec::new());
            }
            self.topic
                .publish(&Message::Split { run: run.clone() })
                .await?;
            return Ok(vec![SweepAction::Resubmitted { run }]);
        }
        // Jobs vanish about 7 days after they end, so one that Batch does not know has ended.
        let ids: Vec<JobId> = jobs
            .into_iter()
            .filter(|j| !j.ended)
            .map(|j| j.id)
            .collect();
        let mut alive: Vec<JobDetail> = Vec::new();
        for some in ids.chunks(DESCRIBE_JOBS_MAX) {
            let known = self.jobs.describe(some).await?;
            alive.extend(known.into_iter().filter(|job| !job.status.is_terminal()));
        }
        if alive.is_empty() {
            if self.is_held(&run, Work::Report, cx).await? {
                return Ok(Vec::new());
            }
            return self.check(run).await;
        }
        let mut actions = Vec::new();
        for job in alive {
            if self.is_stuck(&job, cx.now).await? {
                let reason = "waited for a place in the queue for too long while nothing ran: \
                              the compute environment may be misconfigured";
                self.jobs.terminate(&job.id, reason).await?;
                actions.push(SweepAction::JobGivenUp {
                    run: run.clone(),
                    job: job.name,
                });
            }
        }
        Ok(actions)
    }

    async fn check(&self, run: RunId) -> Result<Vec<SweepAction>, CleanupError> {
        self.topic
            .publish(&Message::Check { run: run.clone() })
            .await?;
        Ok(vec![SweepAction::JobsEnded { run }])
    }

    /// Whether a job, or a child of it, waits for a place since long ago while the whole queue
    /// runs nothing. A queue that works on other jobs gets to this one in time.
    async fn is_stuck(&self, job: &JobDetail, now: DateTime<Utc>) -> Result<bool, CleanupError> {
        let since = before(now, self.config.runnable_after).timestamp_millis();
        if job.created_at.is_none_or(|created| created > since) {
            return Ok(false);
        }
        let waits = match job.array_size {
            None => job.status == JobStatus::Runnable,
            Some(_) => {
                let filter = JobFilter::Children {
                    parent: job.id.clone(),
                    status: JobStatus::Runnable,
                };
                self.has_jobs(&filter).await?
            }
        };
        if !waits {
            return Ok(false);
        }
        for status in [JobStatus::Starting, JobStatus::Running] {
            let queue = self.config.queue.clone();
            if self.has_jobs(&JobFilter::Status { queue, status }).await? {
                return Ok(false);
            }
            // Children at work do not show as jobs of the queue; their parents are PENDING.
        }
        self.no_children_at_work().await
    }

    async fn no_children_at_work(&self) -> Result<bool, CleanupError> {
        let filter = JobFilter::Status {
            queue: self.config.queue.clone(),
            status: JobStatus::Pending,
        };
        let mut after = None;
        loop {
            let (page, next) = self.jobs.list(&filter, after.as_deref()).await?;
            for parent in page.into_iter().filter(|job| job.array_size.is_some()) {
                for status in [JobStatus::Starting, JobStatus::Running] {
                    let parent = parent.id.clone();
                    if self
                        .has_jobs(&JobFilter::Children { parent, status })
                        .await?
                    {
                        return Ok(false);
                    }
                }
            }
            after = next;
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    async fn has_jobs(&self, filter: &JobFilter) -> Result<bool, CleanupError> {
        let mut after = None;
        loop {
            let (page, next) = self.jobs.list(filter, after.as_deref()).await?;
            if !page.is_empty() {
                return Ok(true);
            }
            // A page may be empty and not be the last.
            after = next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// Whether an invocation is at a piece of work now. Where none is, the sweep takes the claim
    /// with a lease that ends at once: the next one takes it over, and knows that it resumes.
    async fn is_held(
        &self,
        run: &RunId,
        work: Work,
        cx: &Invocation,
    ) -> Result<bool, CleanupError> {
        let claim = self
            .ledger
            .claim(run, work, &cx.owner, cx.now, Duration::ZERO)
            .await?;
        Ok(matches!(claim, Claim::Held { .. }))
    }

    async fn stray_tables(
        &self,
        live: &HashMap<&RunId, &RunItem>,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let mut actions = Vec::new();
        for run in self.ledger.tables().await? {
            if self.is_stray(&run, live).await? {
                self.ledger.drop_table(&run).await?;
                actions.push(SweepAction::TableDropped { run });
            }
        }
        Ok(actions)
    }

    async fn stray_objects(
        &self,
        live: &HashMap<&RunId, &RunItem>,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let mut actions = Vec::new();
        for run in self.runs_with_objects().await? {
            if self.is_stray(&run, live).await? {
                self.delete_all(&keys::run_prefix(&run)).await?;
                actions.push(SweepAction::ObjectsDeleted { run });
            }
        }
        Ok(actions)
    }

    async fn stray_definitions_removed(
        &self,
        runs: &[RunItem],
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let mut actions = Vec::new();
        for arn in self.stray_definitions(runs).await? {
            self.jobs.deregister(&arn).await?;
            actions.push(SweepAction::DefinitionRemoved { arn });
        }
        Ok(actions)
    }

    /// The runs that objects under `runs/` are named after. Keys that name no run are left alone.
    async fn runs_with_objects(&self) -> Result<HashSet<RunId>, CleanupError> {
        let mut found = HashSet::new();
        let mut after = None;
        loop {
            let bucket = &self.config.work_bucket;
            let page = self
                .objects
                .list(bucket, keys::RUNS, after.as_deref())
                .await?;
            found.extend(
                page.objects
                    .iter()
                    .filter_map(|object| keys::run_of(&object.key)),
            );
            // All else of the last run is skipped: `0` is the character after `/`.
            let skip = page
                .objects
                .last()
                .and_then(|object| keys::run_of(&object.key));
            after = match (page.next, skip) {
                (Some(_), Some(run)) => Some(format!("{}{run}0", keys::RUNS)),
                (next, _) => next,
            };
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Whether nothing temporary may be left of a run: the ledger does not know it, or it is
    /// cleaned. One that began after the runs were listed is asked for by name.
    async fn is_stray(
        &self,
        run: &RunId,
        live: &HashMap<&RunId, &RunItem>,
    ) -> Result<bool, CleanupError> {
        match live.get(run) {
            Some(item) => Ok(item.cleaned.is_some()),
            None => Ok(self.ledger.run(run).await?.is_none()),
        }
    }
}

impl Swept {
    fn take(&mut self, result: Result<Vec<SweepAction>, CleanupError>) {
        match result {
            Ok(actions) => {
                for action in &actions {
                    tracing::info!(?action, "swept");
                }
                self.actions.extend(actions);
            }
            Err(error) => {
                tracing::warn!(%error, "not swept");
                self.errors.push(error);
            }
        }
    }
}

/// So long before `now`.
fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(age)
        .ok()
        .and_then(|age| now.checked_sub_signed(age))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}
