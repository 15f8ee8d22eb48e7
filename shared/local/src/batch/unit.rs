//! A unit of a job (the job itself, or one child of an array) and its state. Pure.

use std::sync::Arc;

use rowmill_domain::job::JobStatus;

/// A plain job or an array's parent (`index` is `None`), or a child of an array. Ordered by
/// submission; the children of an array by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Unit {
    /// The job's number, in the order of submission.
    pub(super) job: i64,
    /// The index of a child.
    pub(super) index: Option<u32>,
}

/// The state of a unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UnitState {
    pub(super) status: JobStatus,
    pub(super) status_reason: Option<Arc<str>>,
    /// The exit code of the last attempt that ended.
    pub(super) exit_code: Option<i32>,
    /// The container reason of the last attempt that ended.
    pub(super) reason: Option<Arc<str>>,
    /// Attempts that ended, without lost ones.
    pub(super) attempts: u32,
    pub(super) created_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) stopped_at: Option<i64>,
    /// Why the unit is being terminated or cancelled, if it is.
    pub(super) stop: Option<Arc<str>>,
}

impl UnitState {
    pub(super) fn new(status: JobStatus, now: i64) -> UnitState {
        UnitState {
            status,
            status_reason: None,
            exit_code: None,
            reason: None,
            attempts: 0,
            created_at: now,
            started_at: None,
            stopped_at: None,
            stop: None,
        }
    }

    /// Whether an attempt is running.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.status, JobStatus::Starting | JobStatus::Running)
    }
}

/// A change of state, which becomes an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StateChange {
    pub(super) unit: Unit,
    pub(super) status: JobStatus,
    pub(super) status_reason: Option<Arc<str>>,
    pub(super) at: i64,
}

/// Whether AWS Batch allows this transition.
pub(super) fn can_follow(from: JobStatus, to: JobStatus) -> bool {
    use JobStatus::*;
    match to {
        Submitted => false,
        Pending => from == Submitted,
        Runnable => matches!(from, Submitted | Pending | Starting | Running),
        Starting => from == Runnable,
        Running => from == Starting,
        // The parent of an array goes from PENDING directly to its end.
        Succeeded => matches!(from, Running | Pending),
        Failed => !from.is_terminal(),
    }
}
