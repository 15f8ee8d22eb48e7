//! The ports of a state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::miette;
use rowmill_domain::RunId;
use rowmill_local::{Holder, LocalError, LocalTopic, StateLock};
use rowmill_ports::Submitters;
use rowmill_runs::WorkBucket;

use super::Control;
use super::deployment::{Deployment, Place};
use super::tier::Tiering;
use crate::error::CliError;
use crate::stack::{STATE, WORK, buckets, databases};

/// A state directory that exists.
pub(crate) struct LocalState {
    /// `DIR/.rowmill`
    pub(super) path: PathBuf,
    /// The tiers of submitters.
    submitters: Arc<dyn Submitters>,
    /// The command that is working in it.
    pub(super) holder: Option<Holder>,
}

impl LocalState {
    /// Opens the state directory under `out`. `None`: there is none.
    pub(super) fn find(out: &Path) -> Result<Option<Deployment>, CliError> {
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
        let submitters: Arc<dyn Submitters> = ledger.clone();
        Ok(Some(Deployment {
            control: Control {
                runs: ledger.clone(),
                outcomes: ledger,
                topic: Arc::new(LocalTopic::new(cloud, None)),
                work: WorkBucket::new(WORK, objects),
            },
            place: Place::Local(LocalState {
                submitters,
                holder: StateLock::holder(&path),
                path,
            }),
        }))
    }

    /// What the commands about tiers need.
    pub(super) fn tiering(&self, control: &Control) -> Tiering {
        Tiering {
            submitters: self.submitters.clone(),
            topic: control.topic.clone(),
            work: control.work.clone(),
        }
    }

    /// Whether a command is working on this run.
    pub(super) fn works_on(&self, run: &RunId) -> bool {
        let works_on = self
            .holder
            .as_ref()
            .and_then(|holder| holder.works_on.as_ref());
        works_on.is_some_and(|works_on| works_on == run.as_str())
    }

    /// Opens the state directory under `out`, for a command that works only on this machine. `None`: there
    /// is none.
    pub(super) fn open(out: &Path) -> Result<Option<(Control, LocalState)>, CliError> {
        let found = LocalState::find(out)?;
        Ok(found.and_then(|deployment| match deployment.place {
            Place::Local(state) => Some((deployment.control, state)),
            Place::Stack(_) => None,
        }))
    }
}
