//! What the sweep, or the check of one run, did.

use rowmill_domain::RunId;
use rowmill_domain::job::JobName;

use crate::error::CleanupError;

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

impl Swept {
    pub(crate) fn take(&mut self, result: Result<Vec<SweepAction>, CleanupError>) {
        match result {
            Ok(actions) => self.actions.extend(actions),
            Err(error) => {
                tracing::warn!(%error, "not swept");
                self.errors.push(error);
            }
        }
    }
}
