//! A job: its fixed specification, and the states of itself and its children. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowmill_domain::job::{JobDetail, JobId, JobName, JobStateChange, RetryStrategy};
use serde::{Deserialize, Serialize};

use super::exit::{CHILD_FAILED, DEPENDENCY_FAILED};
use super::unit::{StateChange, Unit, UnitState};

/// An entry of `dependsOn` with the job number instead of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DependsOn {
    /// The other job's number.
    pub(super) on: i64,
    /// The index, if it is a child.
    pub(super) index: Option<u32>,
    /// Whether each child depends on the child with the same index (N_TO_N).
    pub(super) each: bool,
}

impl DependsOn {
    /// The unit that a unit of the dependent job waits for.
    pub(super) fn of(&self, unit: Unit) -> Unit {
        Unit {
            job: self.on,
            index: if self.each { unit.index } else { self.index },
        }
    }
}

/// The part of a job that does not change after its submission.
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
    pub(super) after: Vec<DependsOn>,
    pub(super) sequential: bool,
    /// Memory of an attempt in MiB. `None`: no limit.
    #[serde(default)]
    pub(super) memory_mib: Option<u32>,
    #[serde(default)]
    pub(super) priority: u32,
}

/// A job with the states of itself and its children.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) spec: Arc<Spec>,
    pub(super) own: UnitState,
    pub(super) children: Vec<UnitState>,
    /// Children that have not ended.
    pub(super) open: u32,
    /// Children that failed.
    pub(super) failed: u32,
    /// Jobs that depend on this job or on one of its children.
    pub(super) dependents: Vec<(i64, DependsOn)>,
}

/// Everything needed to start an attempt.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) unit: Unit,
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) spec: Arc<Spec>,
}

impl Job {
    /// The units that run: the children of an array, or the job itself.
    pub(super) fn run_units(&self, number: i64) -> impl Iterator<Item = Unit> + use<> {
        let children = self.spec.size.unwrap_or(0);
        let own = (children == 0).then_some(None);
        own.into_iter()
            .chain((0..children).map(Some))
            .map(move |index| Unit { job: number, index })
    }

    /// The state of the job itself or of an existing child.
    pub(super) fn state(&self, index: Option<u32>) -> &UnitState {
        match index {
            None => &self.own,
            Some(index) => &self.children[index as usize],
        }
    }

    /// The `statusReason` of an array that failed.
    pub(super) fn failure_reason(&self) -> Arc<str> {
        let never_ran =
            |child: &UnitState| child.status_reason.as_deref() == Some(DEPENDENCY_FAILED);
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

    /// The event for a change of state of the job or a child.
    pub(super) fn event(&self, change: &StateChange) -> JobStateChange {
        JobStateChange {
            id: self.id(change.unit.index),
            name: self.spec.name.clone(),
            queue: self.spec.queue.clone(),
            status: change.status,
            status_reason: change.status_reason.as_ref().map(|text| text.to_string()),
            array_index: change.unit.index,
        }
    }

    /// The answer of DescribeJobs for the job or a child.
    pub(super) fn described(&self, index: Option<u32>) -> JobDetail {
        let mut detail = self.detail(index);
        if index.is_none() {
            for child in &self.children {
                *detail.children.entry(child.status).or_default() += 1;
            }
        }
        detail
    }

    /// The answer of ListJobs for the job or a child.
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
            children: BTreeMap::new(),
            exit_code: state.exit_code,
            reason: text(&state.reason),
            attempts: state.attempts,
            created_at: Some(state.created_at),
            started_at: state.started_at,
            stopped_at: state.stopped_at,
            log: None,
        }
    }
}
