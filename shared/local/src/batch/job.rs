//! A job, what is fixed about it, and the states of itself and its children. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowmill_domain::job::{JobDetail, JobId, JobName, JobStateChange, RetryStrategy};
use serde::{Deserialize, Serialize};

use super::exit::{CHILD_FAILED, DEPENDENCY_FAILED};
use super::unit::{Change, State, Unit};

/// One resolved `dependsOn` on another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// The other job's number.
    pub(super) on: i64,
    /// A child of it.
    pub(super) index: Option<u32>,
    /// N_TO_N.
    pub(super) each: bool,
}

impl Link {
    /// What a unit of the dependent job waits for.
    pub(super) fn of(&self, unit: Unit) -> Unit {
        Unit {
            job: self.on,
            index: if self.each { unit.index } else { self.index },
        }
    }
}

/// What is fixed about a job when it is submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) id: JobId,
    pub(super) name: JobName,
    pub(super) queue: String,
    pub(super) size: Option<u32>,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) retry: RetryStrategy,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) after: Vec<Link>,
    pub(super) sequential: bool,
}

/// A job with all its states.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) spec: Arc<Spec>,
    pub(super) own: State,
    pub(super) children: Vec<State>,
    /// Children that have not ended.
    pub(super) open: u32,
    /// Children that failed.
    pub(super) failed: u32,
    /// Jobs with a dependency on this one or on a child of it.
    pub(super) dependents: Vec<(i64, Link)>,
}

/// An attempt to be started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) unit: Unit,
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) spec: Arc<Spec>,
}

impl Job {
    /// What of the job runs: its children, or itself.
    pub(super) fn works(&self, number: i64) -> impl Iterator<Item = Unit> + use<> {
        let children = self.spec.size.unwrap_or(0);
        let own = (children == 0).then_some(None);
        own.into_iter()
            .chain((0..children).map(Some))
            .map(move |index| Unit { job: number, index })
    }

    /// The state of the job itself, or of a child that it has.
    pub(super) fn state(&self, index: Option<u32>) -> &State {
        match index {
            None => &self.own,
            Some(index) => &self.children[index as usize],
        }
    }

    /// Why an array failed.
    pub(super) fn why_failed(&self) -> Arc<str> {
        let never_ran = |child: &State| child.status_reason.as_deref() == Some(DEPENDENCY_FAILED);
        match &self.own.stop {
            Some(reason) => reason.clone(),
            None if self.children.iter().all(never_ran) => DEPENDENCY_FAILED.into(),
            None => CHILD_FAILED.into(),
        }
    }

    /// The id of the job or of a child.
    pub(super) fn id(&self, index: Option<u32>) -> JobId {
        match index {
            None => self.spec.id.clone(),
            Some(index) => self.spec.id.child(index),
        }
    }

    /// What an event says of a change of the job's or a child's state.
    pub(super) fn change(&self, change: &Change) -> JobStateChange {
        JobStateChange {
            id: self.id(change.unit.index),
            name: self.spec.name.clone(),
            queue: self.spec.queue.clone(),
            status: change.status,
            status_reason: change.status_reason.as_ref().map(|text| text.to_string()),
            array_index: change.unit.index,
        }
    }

    /// What DescribeJobs says.
    pub(super) fn detail(&self, index: Option<u32>) -> JobDetail {
        let state = self.state(index);
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.to_string());
        JobDetail {
            id: self.id(index),
            name: self.spec.name.clone(),
            status: state.status,
            status_reason: text(&state.status_reason),
            array_size: self.spec.size.filter(|_| index.is_none()),
            array_index: index,
            exit_code: state.exit_code,
            reason: text(&state.reason),
            attempts: state.attempts,
            created_at: Some(state.created_at),
            started_at: state.started_at,
            stopped_at: state.stopped_at,
        }
    }
}
