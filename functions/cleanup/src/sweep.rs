//! The sweep: a lost event loses nothing.
//!
//! It looks at every run of which nothing was heard for a while, as each run's own time does
//! ([`Cleanup::due`]), in case that was lost. Then it removes what belongs to no run.

use std::collections::{HashMap, HashSet};

use rowmill_domain::event::Invocation;
use rowmill_domain::job::JobName;
use rowmill_domain::{RunId, RunItem, keys};

use crate::error::CleanupError;
use crate::stage::Cleanup;
use crate::stalled::before;

/// What the sweep or the look at a run did.
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
    /// A job of the run waits for a place for long while nothing runs. Nothing is done: it may be
    /// waiting for capacity, and the log tells the operator.
    JobWaits {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
        /// Why, as Batch says; empty where it says nothing.
        why: String,
    },
    /// A job of the run waits for a place that it can never get, as Batch says: it is terminated,
    /// which report hears of as of any end.
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
            let result = self.look(run, cx).await;
            swept.take(result);
        }
        // Runs of just now may have what the listings below show, so they are listed after.
        let live: HashMap<&RunId, &RunItem> = runs.iter().map(|run| (&run.id, run)).collect();
        for result in [
            self.stray_tables(&live).await,
            self.stray_objects(&live).await,
            self.stray_definitions_removed(&runs).await,
        ] {
            for action in result.iter().flatten() {
                tracing::info!(?action, "swept");
            }
            swept.take(result);
        }
        Ok(swept)
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
            Ok(actions) => self.actions.extend(actions),
            Err(error) => {
                tracing::warn!(%error, "not swept");
                self.errors.push(error);
            }
        }
    }
}
