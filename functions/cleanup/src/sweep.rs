//! The sweep, which makes sure that a lost event loses nothing.
//!
//! It checks every run in which nothing changed for a while, in case the run's scheduled check
//! ([`Cleanup::due`]) was lost. Then it removes what belongs to no run.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use rowmill_domain::event::Invocation;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_runs::{all_runs, pages};

use crate::action::{SweepAction, Swept};
use crate::error::CleanupError;
use crate::stage::Cleanup;
use crate::stalled::before;

impl Cleanup {
    /// Sweeps once. A run that cannot be resumed does not affect the others: its error is part of
    /// the result. Safe to repeat and to run in parallel with all other stages.
    ///
    /// # Errors
    /// The runs cannot be listed.
    pub async fn sweep(&self, cx: &Invocation) -> Result<Swept, CleanupError> {
        let runs: Vec<RunItem> = all_runs(&*self.runs).try_collect().await?;
        let mut swept = Swept::default();
        swept.take(self.check_sender().await);
        let stalled = before(cx.now, self.config.stalled_after);
        for run in runs.iter().filter(|run| run.updated <= stalled) {
            let result = self.check_run(run, cx).await;
            swept.take(result);
        }
        // Listed after the runs: what the listings below show may belong to a run that started just
        // now.
        let live: HashMap<&RunId, &RunItem> = runs.iter().map(|run| (&run.id, run)).collect();
        for result in [
            self.stray_tables(&live).await,
            self.stray_objects(&live).await,
            self.stray_definitions_removed(&runs).await,
        ] {
            for action in result.iter().flatten() {
                tracing::info!(?action, "leftover removed");
            }
            swept.take(result);
        }
        Ok(swept)
    }

    /// Logs for the operator that no mail can be sent: otherwise nobody would notice, because there
    /// would be no mail.
    async fn check_sender(&self) -> Result<Vec<SweepAction>, CleanupError> {
        if let Some(identity) = &self.config.identity
            && !self.mailer.is_verified(identity).await?
        {
            tracing::error!(%identity, "the sender is not verified");
        }
        Ok(Vec::new())
    }

    async fn stray_tables(
        &self,
        live: &HashMap<&RunId, &RunItem>,
    ) -> Result<Vec<SweepAction>, CleanupError> {
        let mut actions = Vec::new();
        for run in self.outcomes.list_tables().await? {
            if self.is_stray(&run, live).await? {
                self.outcomes.drop_table(&run).await?;
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
                self.work.delete_all(&keys::run_prefix(&run)).await?;
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

    /// The runs that objects under `runs/` belong to. Keys without a run id are ignored.
    async fn runs_with_objects(&self) -> Result<HashSet<RunId>, CleanupError> {
        let list = async |after: Option<String>| {
            let (objects, next) = self.work.list(keys::RUNS, after.as_deref()).await?;
            let last = objects.last().and_then(|object| keys::run_of(&object.key));
            let next = match (next, last) {
                // Skips the other objects of the last run: `0` is the character after `/`.
                (Some(_), Some(run)) => Some(format!("{}{run}0", keys::RUNS)),
                (next, _) => next,
            };
            Ok((objects, next))
        };
        pages(list)
            .try_fold(HashSet::new(), async |mut found, objects| {
                found.extend(objects.iter().filter_map(|o| keys::run_of(&o.key)));
                Ok(found)
            })
            .await
    }

    /// Whether a run must not have temporary data: it is not in the ledger, or it is cleaned up. A
    /// run that started after the runs were listed is looked up by its id.
    async fn is_stray(
        &self,
        run: &RunId,
        live: &HashMap<&RunId, &RunItem>,
    ) -> Result<bool, CleanupError> {
        match live.get(run) {
            Some(item) => Ok(item.cleaned.is_some()),
            None => Ok(self.runs.find_run(run).await?.is_none()),
        }
    }
}
