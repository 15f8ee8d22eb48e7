//! A unit of a job (the job itself, or one child of an array) and its state. Pure.

use std::sync::Arc;

use rowmill_domain::job::JobStatus;

/// One thing that has a state: a plain job, an array's parent (`index` is `None`), or a child.
/// In the order of submission, an array's children by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Unit {
    /// The job's number, in the order of submission.
    pub(super) job: i64,
    /// Index, of a child.
    pub(super) index: Option<u32>,
}

/// What changes about a unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) status: JobStatus,
    pub(super) status_reason: Option<Arc<str>>,
    /// Of the last attempt that ended.
    pub(super) exit_code: Option<i32>,
    /// Of the last attempt that ended.
    pub(super) reason: Option<Arc<str>>,
    /// Attempts that ended and count.
    pub(super) attempts: u32,
    pub(super) created_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) stopped_at: Option<i64>,
    /// It shall end, and for this reason.
    pub(super) stop: Option<Arc<str>>,
}

impl State {
    pub(super) fn new(status: JobStatus, now: i64) -> State {
        State {
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

    /// Whether an attempt is under way.
    pub(super) fn at_work(&self) -> bool {
        matches!(self.status, JobStatus::Starting | JobStatus::Running)
    }
}

/// One change of state, to be told as an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) unit: Unit,
    pub(super) status: JobStatus,
    pub(super) status_reason: Option<Arc<str>>,
    pub(super) at: i64,
}

/// Whether Batch lets a job go from one state to the other.
pub(super) fn can_follow(from: JobStatus, to: JobStatus) -> bool {
    use JobStatus::*;
    match to {
        Submitted => false,
        Pending => from == Submitted,
        Runnable => matches!(from, Submitted | Pending | Starting | Running),
        Starting => from == Runnable,
        Running => from == Starting,
        // PENDING: an array's parent.
        Succeeded => matches!(from, Running | Pending),
        Failed => !from.is_terminal(),
    }
}
