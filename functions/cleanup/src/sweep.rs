//! The sweep, which makes sure that a lost event loses nothing.
//!
//! It checks every run that is not cleaned up and in which nothing changed for a while, in case the
//! run's scheduled check ([`Cleanup::due`]) was lost, and looks for uploads without a run. Then it
//! removes what belongs to no run. It reads no run that is cleaned up, unless something is left of it.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use rowmill_domain::event::Invocation;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_runs::{open_runs, pages};

use crate::error::CleanupError;
use crate::finding::{Finding, Swept};
use crate::stage::Cleanup;
use crate::stalled::before;

/// Whether a sweep repairs what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Repair,
    /// It changes nothing.
    DryRun,
}

impl Cleanup {
    /// Sweeps once. A run that cannot be resumed does not affect the others: its error is part of
    /// the result. Safe to repeat and to run in parallel with all other stages.
    ///
    /// # Errors
    /// The open runs cannot be listed.
    pub async fn sweep(&self, mode: Mode, cx: &Invocation) -> Result<Swept, CleanupError> {
        let open: Vec<RunItem> = open_runs(&*self.runs).try_collect().await?;
        let mut swept = Swept::default();
        if let Err(error) = self.check_sender().await {
            swept.failed(error);
        }
        let stalled = before(cx.now, self.config.stalled_after);
        for run in open.iter().filter(|run| run.updated <= stalled) {
            if mode == Mode::Repair
                && let Err(error) = self.schedule_check(run, cx).await
            {
                swept.failed(error);
            }
            let found = self.stalled(run, cx).await;
            self.take(&mut swept, found, mode, cx).await;
        }
        let open: BTreeMap<&RunId, &RunItem> = open.iter().map(|run| (&run.id, run)).collect();
        let found = self.ignored_uploads(&open, cx).await;
        self.take(&mut swept, found, mode, cx).await;
        self.take_strays(&mut swept, &open, mode, cx).await;
        Ok(swept)
    }

    /// Sweeps once for what is left of runs that are over. Runs that have not ended stay as they are.
    ///
    /// # Errors
    /// The open runs cannot be listed.
    pub async fn sweep_leftovers(
        &self,
        mode: Mode,
        cx: &Invocation,
    ) -> Result<Swept, CleanupError> {
        let open: Vec<RunItem> = open_runs(&*self.runs).try_collect().await?;
        let mut swept = Swept::default();
        for run in open.iter().filter(|run| run.state.is_terminal()) {
            let found = self.stalled(run, cx).await;
            self.take(&mut swept, found, mode, cx).await;
        }
        let open: BTreeMap<&RunId, &RunItem> = open.iter().map(|run| (&run.id, run)).collect();
        self.take_strays(&mut swept, &open, mode, cx).await;
        Ok(swept)
    }

    /// Adds what belongs to no run, and repairs it. `open` was listed before: what is listed here may
    /// belong to a run that started just now.
    async fn take_strays(
        &self,
        swept: &mut Swept,
        open: &BTreeMap<&RunId, &RunItem>,
        mode: Mode,
        cx: &Invocation,
    ) {
        let found = self.stray_tables(open).await;
        self.take(swept, found, mode, cx).await;
        let found = self.stray_objects(open).await;
        self.take(swept, found, mode, cx).await;
        let found = self.stray_definitions(open).await;
        self.take(swept, found, mode, cx).await;
    }

    /// Adds what was found, and repairs it.
    async fn take(
        &self,
        swept: &mut Swept,
        found: Result<Vec<Finding>, CleanupError>,
        mode: Mode,
        cx: &Invocation,
    ) {
        let found = match found {
            Ok(found) => found,
            Err(error) => return swept.failed(error),
        };
        for finding in found {
            if mode == Mode::Repair {
                log(&finding);
                if let Err(error) = self.repair(&finding, cx).await {
                    swept.failed(error);
                }
            }
            swept.findings.push(finding);
        }
    }

    /// Logs for the operator that no mail can be sent: otherwise nobody would notice, because there
    /// would be no mail.
    async fn check_sender(&self) -> Result<(), CleanupError> {
        if let Some(identity) = &self.config.identity
            && !self.mailer.is_verified(identity).await?
        {
            tracing::error!(%identity, "the sender is not verified");
        }
        Ok(())
    }

    async fn stray_tables(
        &self,
        open: &BTreeMap<&RunId, &RunItem>,
    ) -> Result<Vec<Finding>, CleanupError> {
        let mut found = Vec::new();
        for run in self.outcomes.list_tables().await? {
            if self.is_stray(&run, open).await? {
                found.push(Finding::StrayTable { run });
            }
        }
        Ok(found)
    }

    async fn stray_objects(
        &self,
        open: &BTreeMap<&RunId, &RunItem>,
    ) -> Result<Vec<Finding>, CleanupError> {
        let mut found = Vec::new();
        for run in self.runs_with_objects().await? {
            if self.is_stray(&run, open).await? {
                found.push(Finding::StrayObjects { run });
            }
        }
        Ok(found)
    }

    /// The runs that objects under `runs/` belong to. Keys without a run id are ignored.
    async fn runs_with_objects(&self) -> Result<BTreeSet<RunId>, CleanupError> {
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
            .try_fold(BTreeSet::new(), async |mut found, objects| {
                found.extend(objects.iter().filter_map(|o| keys::run_of(&o.key)));
                Ok(found)
            })
            .await
    }

    /// Whether a run must not have temporary data: it is not in the ledger, or it is cleaned up.
    async fn is_stray(
        &self,
        run: &RunId,
        open: &BTreeMap<&RunId, &RunItem>,
    ) -> Result<bool, CleanupError> {
        if open.contains_key(run) {
            return Ok(false);
        }
        let item = self.runs.find_run(run).await?;
        Ok(item.is_none_or(|item| item.cleaned.is_some()))
    }
}

impl Swept {
    fn failed(&mut self, error: CleanupError) {
        tracing::warn!(%error, "the sweep of this part failed");
        self.errors.push(error);
    }
}

/// Logs a finding, before it is repaired. The alarm about stuck runs counts these lines.
pub(crate) fn log(finding: &Finding) {
    match finding {
        Finding::StrayTable { .. }
        | Finding::StrayObjects { .. }
        | Finding::StrayDefinition { .. } => tracing::info!(?finding, "leftover found"),
        _ => tracing::info!(?finding, "the run was stalled"),
    }
}
