//! Where runs are: a state directory, or a stack on AWS.

use std::collections::BTreeMap;

use rowmill_domain::{RunId, RunItem};
use rowmill_runs::{Named, WorkBucket, find_named};

use super::local::LocalState;
use super::{Control, amazon};
use crate::args::Where;
use crate::error::CliError;
use crate::named::{no_run, several_runs};

/// What runs on a machine or on AWS, with the ports through which the commands reach it.
pub(crate) struct Deployment {
    /// The ports.
    pub(crate) control: Control,
    /// What the ports belong to.
    pub(crate) place: Place,
}

/// What the ports of a [`Deployment`] belong to.
pub(crate) enum Place {
    /// A state directory on this machine.
    Local(LocalState),
    /// A stack on AWS.
    Stack(Stack),
}

/// What only a stack on AWS has.
#[cfg_attr(
    not(feature = "aws"),
    allow(dead_code, reason = "without the SDK, no stack can be opened")
)]
pub(crate) struct Stack {
    /// Its name.
    pub(crate) name: String,
    /// The bucket for uploads.
    pub(crate) inbox: WorkBucket,
    /// What its functions are configured with, by the names of their variables. None is a secret: secrets
    /// are named by their ARNs.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Deployment {
    /// Opens a deployment. `None`: there is no state directory.
    pub(crate) async fn find(at: &Where) -> Result<Option<Deployment>, CliError> {
        match &at.stack {
            Some(name) => {
                let (control, stack) = amazon::open(name).await?;
                Ok(Some(Deployment {
                    control,
                    place: Place::Stack(stack),
                }))
            }
            None => LocalState::find(&at.out),
        }
    }

    /// Opens a deployment, and finds the run whose id starts with `text`.
    pub(crate) async fn with_run(
        at: &Where,
        text: &str,
    ) -> Result<(Deployment, RunItem), CliError> {
        let found = Deployment::find(at).await?;
        let deployment = found.ok_or_else(|| no_run(at, text))?;
        let found = find_named(&*deployment.control.runs, text).await;
        match found.map_err(|e| CliError::failed("cannot read the runs", e))? {
            Named::One(run) => Ok((deployment, *run)),
            Named::None => Err(no_run(at, text)),
            Named::Several(ids) => Err(several_runs(text, &ids)),
        }
    }

    /// Whether something is working on this run, if it has not ended: on one machine a command has to, and
    /// a stack always does.
    pub(crate) fn works_on(&self, run: &RunId) -> bool {
        match &self.place {
            Place::Local(state) => state.works_on(run),
            Place::Stack(_) => true,
        }
    }
}
