//! The ports of a state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::miette;
use rowmill_domain::{RunId, RunItem};
use rowmill_local::{Holder, LocalError, LocalTopic, StateLock};
use rowmill_runs::{Named, WorkBucket, find_named};

use super::Control;
use crate::error::CliError;
use crate::named::{no_run, several_runs};
use crate::stack::{STATE, WORK, buckets, databases};

/// A state directory that exists.
pub(super) struct LocalState {
    /// `DIR/.rowmill`
    pub(super) path: PathBuf,
    pub(super) control: Control,
    /// The command that is working in it.
    pub(super) holder: Option<Holder>,
}

impl LocalState {
    /// Opens the state directory under `out`. `None`: there is none.
    pub(super) fn find(out: &Path) -> Result<Option<LocalState>, CliError> {
        let path = std::path::absolute(out.join(STATE))
            .map_err(|e| CliError::failed(format_args!("cannot read {}", out.display()), e))?;
        // Opening the databases would create them.
        if !path.join("ledger.db").is_file() {
            return Ok(None);
        }
        let cannot = |e: LocalError| match e {
            e @ LocalError::Format { .. } => CliError::refused(miette!("{e}")),
            e => CliError::failed("cannot open the state directory", e),
        };
        let (ledger, cloud) = databases(&path).map_err(cannot)?;
        let objects = Arc::new(buckets(&path).map_err(cannot)?);
        Ok(Some(LocalState {
            control: Control {
                runs: ledger.clone(),
                outcomes: ledger,
                topic: Arc::new(LocalTopic::new(cloud, None)),
                work: WorkBucket::new(WORK, objects),
            },
            holder: StateLock::holder(&path),
            path,
        }))
    }

    /// Whether a command is working on this run.
    pub(super) fn works_on(&self, run: &RunId) -> bool {
        let works_on = self
            .holder
            .as_ref()
            .and_then(|holder| holder.works_on.as_ref());
        works_on.is_some_and(|works_on| works_on == run.as_str())
    }

    /// Opens the state directory under `out`, and finds the run whose id starts with `text`.
    pub(super) async fn with_run(
        out: &Path,
        text: &str,
    ) -> Result<(LocalState, RunItem), CliError> {
        let state = LocalState::find(out)?.ok_or_else(|| no_run(out, text))?;
        let found = find_named(&*state.control.runs, text).await;
        match found.map_err(|e| CliError::failed("cannot read the ledger", e))? {
            Named::One(run) => Ok((state, *run)),
            Named::None => Err(no_run(out, text)),
            Named::Several(ids) => Err(several_runs(text, &ids)),
        }
    }
}
