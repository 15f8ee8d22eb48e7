//! The sweep: a lost event loses nothing.
//!
//! It looks at every run of which nothing was heard for a while, as each run's own time does
//! ([`Cleanup::due`]), in case that was lost. Then it removes what belongs to no run.

use std::collections::{HashMap, HashSet};

use rowmill_domain::event::Invocation;
use rowmill_domain::{RunId, RunItem, keys};

use crate::action::{SweepAction, Swept};
use crate::error::CleanupError;
use crate::stage::Cleanup;
use crate::stalled::before;

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
