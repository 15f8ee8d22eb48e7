//! The commands that show and control runs: `runs`, `status`, `cost`, `cancel`, `download`, `logs`,
//! `clean`, `sweep`.
//!
//! They work on ports ([`Control`]) and so on any deployment. `local` opens those of a state directory.
//! It needs no lock: another command may be working on a run at the same time.

mod cancel;
mod clean;
mod cost;
mod download;
mod list;
mod local;
mod logs;
mod sweep;

use std::sync::Arc;

use rowmill_ports::{Outcomes, Runs, Topic};
use rowmill_runs::WorkBucket;

pub(crate) use cancel::cancel;
pub(crate) use clean::clean;
pub(crate) use cost::cost;
pub(crate) use download::download;
pub(crate) use list::{runs, status};
pub(crate) use logs::logs;
pub(crate) use sweep::sweep;

/// What the commands need from a deployment.
pub(crate) struct Control {
    /// Runs and their jobs.
    pub(crate) runs: Arc<dyn Runs>,
    /// What children have done so far.
    pub(crate) outcomes: Arc<dyn Outcomes>,
    /// Receives that a run is stopped.
    pub(crate) topic: Arc<dyn Topic>,
    /// Manifests, chunks and archived rows.
    pub(crate) work: WorkBucket,
}
