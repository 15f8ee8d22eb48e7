//! The commands that show and control runs: `upload`, `attach`, `runs`, `status`, `cost`, `cancel`, `retry`
//! of a stack, `download`, `logs`, `clean`, `sweep`, `info` and `tier`.
//!
//! They work on ports ([`Control`]) and so on any [`Deployment`](deployment::Deployment): `local` opens the
//! ports of a state directory, and `amazon` those of a stack on AWS. Neither needs a lock: another command
//! may be working on a run at the same time.

mod amazon;
mod attach;
mod cancel;
mod clean;
mod cost;
mod deployment;
mod download;
mod info;
mod list;
mod local;
mod logs;
mod retry;
mod sweep;
mod tier;
mod upload;

use std::sync::Arc;

use rowmill_ports::{Outcomes, Runs, Topic};
use rowmill_runs::WorkBucket;

pub(crate) use attach::attach;
pub(crate) use cancel::cancel;
pub(crate) use clean::clean;
pub(crate) use cost::cost;
pub(crate) use download::download;
pub(crate) use info::info;
pub(crate) use list::{runs, status};
pub(crate) use logs::logs;
pub(crate) use retry::retry;
pub(crate) use sweep::sweep;
pub(crate) use tier::{set as set_tier, show as show_tiers};
pub(crate) use upload::upload;

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
