//! What a sweep or the check of one run did.

use rowmill_domain::RunId;
use rowmill_domain::job::JobName;

use crate::error::CleanupError;

/// What a sweep or the check of one run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// All attempts to split the run ended: the run failed, and report gets the failure.
    SplitFailed {
        /// The run.
        run: RunId,
    },
    /// The run had failed, but report did not handle it: report gets the failure again.
    FailureRepeated {
        /// The run.
        run: RunId,
    },
    /// Jobs of the run were not submitted: submit gets the message again.
    Resubmitted {
        /// The run.
        run: RunId,
    },
    /// All jobs of the run have ended, or report had started, but the email is not sent: report
    /// checks the run.
    JobsEnded {
        /// The run.
        run: RunId,
    },
    /// A job of the run has waited for a long time while nothing runs. It may be waiting for
    /// capacity, so this only logs it for the operator.
    JobWaits {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
        /// The reason that Batch gives. Empty if it gives none.
        why: String,
    },
    /// Batch says that a job of the run can never start: it is terminated, and report gets its end
    /// like any other.
    JobGivenUp {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
    },
    /// The run had ended, but its temporary data still existed.
    Cleaned {
        /// The run.
        run: RunId,
    },
    /// A table that belongs to no run, or to a cleaned run, was dropped.
    TableDropped {
        /// The run in its name.
        run: RunId,
    },
    /// Temporary objects that belong to no run, or to a cleaned run, were deleted.
    ObjectsDeleted {
        /// The run in their names.
        run: RunId,
    },
    /// A job definition that no live run uses was deregistered.
    DefinitionRemoved {
        /// Its ARN.
        arn: String,
    },
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// What the sweep did, in order.
    pub actions: Vec<SweepAction>,
    /// What failed. The next sweep tries again.
    pub errors: Vec<CleanupError>,
}

impl Swept {
    pub(crate) fn take(&mut self, result: Result<Vec<SweepAction>, CleanupError>) {
        match result {
            Ok(actions) => self.actions.extend(actions),
            Err(error) => {
                tracing::warn!(%error, "the sweep of this part failed");
                self.errors.push(error);
            }
        }
    }
}
