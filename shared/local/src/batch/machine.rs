//! The states of all jobs, and how a change of one job affects the others. Pure: the time is an
//! argument, and [`Machine::take_changes`] returns what must be saved and published.
//!
//! ```text
//! SUBMITTED -> PENDING -> RUNNABLE -> STARTING -> RUNNING -> SUCCEEDED | FAILED
//!                            ^-----------+-----------+  another attempt
//! ```
//! Every state that is not terminal can change to FAILED. The parent of an array does not run: it
//! goes from PENDING to its end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rowmill_domain::job::rules::Violation;
use rowmill_domain::job::{Dependency, DependencyType, JobDefinition, JobId, JobStatus, SubmitJob};

use super::exit::{AttemptExit, DEPENDENCY_FAILED};
use super::job::{DependsOn, Job, Launch, Spec};
use super::unit::{StateChange, Unit, UnitState, can_follow};

/// Changes since the last call, to be saved and published in one transaction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// New jobs.
    pub(super) submitted: Vec<i64>,
    /// Units whose state must be written, including new ones.
    pub(super) units: BTreeSet<Unit>,
    /// Changes of state, in order.
    pub(super) events: Vec<StateChange>,
}

impl Changes {
    /// Whether there are no changes.
    pub(super) fn is_empty(&self) -> bool {
        self.submitted.is_empty() && self.units.is_empty() && self.events.is_empty()
    }
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Machine {
    jobs: BTreeMap<i64, Job>,
    by_id: HashMap<JobId, i64>,
    /// The units that wait for capacity, in the order in which they start.
    runnable: BTreeSet<(Reverse<u32>, Unit)>,
    changes: Changes,
}

impl Machine {
    /// Restores saved jobs, with the states of their children by index.
    pub(super) fn load(
        jobs: impl IntoIterator<Item = (i64, Spec, UnitState, Vec<UnitState>)>,
    ) -> Machine {
        let mut machine = Machine::default();
        for (number, spec, own, children) in jobs {
            machine.insert(number, spec, own, children);
        }
        machine
    }

    fn insert(&mut self, number: i64, spec: Spec, own: UnitState, children: Vec<UnitState>) {
        let count = |pick: fn(JobStatus) -> bool| {
            children.iter().filter(|child| pick(child.status)).count() as u32
        };
        let (open, failed) = (
            count(|s| !s.is_terminal()),
            count(|s| s == JobStatus::Failed),
        );
        for link in &spec.after {
            if let Some(other) = self.jobs.get_mut(&link.on) {
                other.dependents.push((number, *link));
            }
        }
        self.by_id.insert(spec.id.clone(), number);
        let job = Job {
            spec: Arc::new(spec),
            own,
            children,
            open,
            failed,
            dependents: Vec::new(),
        };
        for unit in job.run_units(number) {
            if job.state(unit.index).status == JobStatus::Runnable {
                self.runnable.insert((Reverse(job.spec.priority), unit));
            }
        }
        self.jobs.insert(number, job);
    }

    /// Forgets the jobs that are not kept.
    #[cfg(feature = "memory")]
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Job) -> bool) {
        self.jobs.retain(|_, job| keep(job));
        let jobs = &self.jobs;
        self.by_id.retain(|_, number| jobs.contains_key(number));
    }

    /// Returns the changes since the last call.
    pub(super) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// A job by its number.
    pub(super) fn job(&self, number: i64) -> Option<&Job> {
        self.jobs.get(&number)
    }

    /// The unit with this id: a job or a child.
    pub(super) fn find(&self, id: &JobId) -> Option<Unit> {
        if let Some(&job) = self.by_id.get(id) {
            return Some(Unit { job, index: None });
        }
        let (parent, index) = id.0.rsplit_once(':')?;
        let job = *self.by_id.get(&JobId(parent.to_owned()))?;
        let index: u32 = index.parse().ok()?;
        ((index as usize) < self.jobs.get(&job)?.children.len()).then_some(Unit {
            job,
            index: Some(index),
        })
    }

    /// The units that wait for capacity: those of the highest priority first, then those of the oldest
    /// job.
    pub(super) fn runnable(&self) -> impl Iterator<Item = Unit> {
        self.runnable.iter().map(|(_, unit)| *unit)
    }

    /// Whether a unit waits for capacity.
    pub(super) fn is_runnable(&self, unit: Unit) -> bool {
        self.runnable.contains(&self.turn(unit))
    }

    /// The place of a unit among those that wait for capacity.
    fn turn(&self, unit: Unit) -> (Reverse<u32>, Unit) {
        let job = self.jobs.get(&unit.job);
        let priority = job.map_or(0, |job| job.spec.priority);
        (Reverse(priority), unit)
    }

    /// Whether a unit has ended, or is no longer stored.
    pub(super) fn is_over(&self, unit: Unit) -> bool {
        self.status(unit).is_none_or(JobStatus::is_terminal)
    }

    /// The first `max` units that wait for capacity and are not `held`, with what is needed to
    /// start them.
    pub(super) fn launches(&self, max: usize, held: impl Fn(Unit) -> bool) -> Vec<Launch> {
        let launch = |unit: Unit| {
            let job = self.jobs.get(&unit.job)?;
            Some(Launch {
                unit,
                id: job.id(unit.index).0,
                attempt: job.state(unit.index).attempts + 1,
                spec: job.spec.clone(),
            })
        };
        let free = self.runnable().filter(|unit| !held(*unit));
        free.take(max).filter_map(launch).collect()
    }

    /// Jobs with their numbers, newest first, older than `before`.
    pub(super) fn newest_first(&self, before: Option<i64>) -> impl Iterator<Item = (i64, &Job)> {
        let jobs = self.jobs.range(..before.unwrap_or(i64::MAX));
        jobs.rev().map(|(number, job)| (*number, job))
    }

    /// Units with a running attempt.
    fn active_units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for (&number, job) in &self.jobs {
            if !job.own.status.is_terminal() {
                units.extend(job.run_units(number).filter(|unit| {
                    matches!(
                        job.state(unit.index).status,
                        JobStatus::Starting | JobStatus::Running
                    )
                }));
            }
        }
        units
    }

    /// Resolves the dependencies of a request. Returns them, and whether its children run
    /// sequentially.
    pub(super) fn resolve(
        &self,
        size: Option<u32>,
        depends_on: &[Dependency],
    ) -> Result<(Vec<DependsOn>, bool), Violation> {
        let mut after = Vec::new();
        let mut sequential = false;
        for dependency in depends_on {
            let Some(id) = &dependency.job_id else {
                sequential = true;
                continue;
            };
            let unit = self
                .find(id)
                .ok_or_else(|| Violation(format!("Job dependency {id} does not exist")))?;
            let each = dependency.kind == Some(DependencyType::NToN);
            let other = self.jobs.get(&unit.job).and_then(|job| job.spec.size);
            if each && (unit.index.is_some() || other != size) {
                return Err(Violation(format!(
                    "An N_TO_N dependency needs two arrays of the same size: {id} has {}, this \
                     job {}",
                    sized(other.filter(|_| unit.index.is_none())),
                    sized(size)
                )));
            }
            after.push(DependsOn {
                on: unit.job,
                index: unit.index,
                each,
            });
        }
        Ok((after, sequential))
    }

    /// Adds the job of a request, with what its definition says.
    pub(super) fn request(
        &mut self,
        id: JobId,
        queue: String,
        job: &SubmitJob,
        definition: JobDefinition,
        now: i64,
    ) -> Result<(), Violation> {
        let (after, sequential) = self.resolve(job.array_size, &job.depends_on)?;
        let mut environment = definition.environment;
        environment.extend(job.environment.clone());
        let spec = Spec {
            id,
            name: job.name.clone(),
            queue,
            size: job.array_size,
            command: definition.command,
            environment,
            retry: job.retry.clone().unwrap_or(definition.retry),
            timeout_seconds: job.timeout_seconds.or(definition.timeout_seconds),
            after,
            sequential,
            memory_mib: Some(job.resources.unwrap_or(definition.resources).memory_mib),
            priority: job.priority,
        };
        self.submit(spec, now);
        Ok(())
    }

    /// Adds a job with the next number.
    pub(super) fn submit(&mut self, spec: Spec, now: i64) {
        let number = self.jobs.keys().next_back().map_or(1, |last| last + 1);
        let size = spec.size.unwrap_or(0) as usize;
        let children = vec![UnitState::new(JobStatus::Pending, now); size];
        self.insert(
            number,
            spec,
            UnitState::new(JobStatus::Submitted, now),
            children,
        );
        self.changes.submitted.push(number);
        let own = Unit {
            job: number,
            index: None,
        };
        self.changes.units.insert(own);
        if size > 0 {
            self.set(own, JobStatus::Pending, None, now);
        }
        let units = self.run_units(number);
        for unit in units.iter().filter(|unit| unit.index.is_some()) {
            // A child starts as PENDING, which is an event.
            self.emit(*unit, now);
        }
        for unit in units {
            self.admit(unit, now);
        }
    }

    /// Moves a unit that has not started to the state that its dependencies allow.
    fn admit(&mut self, unit: Unit, now: i64) {
        let status = self.status(unit);
        if !status.is_some_and(waits) {
            return;
        }
        match self.dependencies(unit) {
            Readiness::Failed => {
                self.finish(unit, JobStatus::Failed, DEPENDENCY_FAILED.into(), now);
            }
            Readiness::Ready => self.set(unit, JobStatus::Runnable, None, now),
            Readiness::Waiting if status == Some(JobStatus::Submitted) => {
                self.set(unit, JobStatus::Pending, None, now);
            }
            Readiness::Waiting => {}
        }
    }

    /// Whether the dependencies of a unit have succeeded.
    fn dependencies(&self, unit: Unit) -> Readiness {
        let Some(job) = self.jobs.get(&unit.job) else {
            return Readiness::Ready;
        };
        let others = job.spec.after.iter().map(|link| link.of(unit));
        let before = unit
            .index
            .and_then(|index| index.checked_sub(1))
            .filter(|_| job.spec.sequential)
            .map(|index| Unit {
                job: unit.job,
                index: Some(index),
            });
        let mut answer = Readiness::Ready;
        for other in others.chain(before) {
            // A job that is no longer stored had succeeded: its failure would have been propagated.
            match self.status(other).unwrap_or(JobStatus::Succeeded) {
                JobStatus::Succeeded => {}
                JobStatus::Failed => return Readiness::Failed,
                _ => answer = Readiness::Waiting,
            }
        }
        answer
    }

    /// Records that a unit's program was started. Returns `false`, without a change, if the unit no
    /// longer waits for capacity.
    pub(super) fn start(&mut self, unit: Unit, now: i64) -> bool {
        if self.status(unit) != Some(JobStatus::Runnable) {
            return false;
        }
        self.set(unit, JobStatus::Starting, None, now);
        self.set(unit, JobStatus::Running, None, now);
        true
    }

    /// Records that a unit's program could not be started.
    pub(super) fn not_started(&mut self, unit: Unit, why: String, now: i64) {
        if self.status(unit) == Some(JobStatus::Runnable) {
            self.set(unit, JobStatus::Starting, None, now);
            self.ended(unit, &AttemptExit::NotStarted(why), now);
        }
    }

    /// Records the end of an attempt. Ignored if the unit has no running attempt.
    pub(super) fn ended(&mut self, unit: Unit, end: &AttemptExit, now: i64) {
        let Some(retry) = self.jobs.get(&unit.job).map(|job| &job.spec.retry) else {
            return;
        };
        let Some(state) = self.state(unit).filter(|state| state.is_active()) else {
            return;
        };
        let attempts = state.attempts + 1;
        let again = end.is_retried(retry, attempts);
        let stop = state.stop.clone();
        if let Some(state) = self.state_mut(unit) {
            state.attempts = attempts;
            state.exit_code = end.exit_code();
            state.reason = end.reason().map(Arc::from);
        }
        let reason: Arc<str> = end.status_reason().into();
        match stop {
            Some(stop) => self.finish(unit, JobStatus::Failed, stop, now),
            None if end.succeeded() => self.finish(unit, JobStatus::Succeeded, reason, now),
            None if again => self.set(unit, JobStatus::Runnable, Some(reason), now),
            None => self.finish(unit, JobStatus::Failed, reason, now),
        }
    }

    /// Records that an attempt was lost for a reason outside the job. It does not count.
    pub(super) fn lost(&mut self, unit: Unit, now: i64) {
        let Some(state) = self.state(unit).filter(|state| state.is_active()) else {
            return;
        };
        match state.stop.clone() {
            Some(stop) => self.finish(unit, JobStatus::Failed, stop, now),
            None => self.set(unit, JobStatus::Runnable, None, now),
        }
    }

    /// Records that all running attempts were lost with their host.
    pub(super) fn lose_all(&mut self, now: i64) {
        for unit in self.active_units() {
            self.lost(unit, now);
        }
    }

    /// Ends a job, or an array with all its children. Returns the units whose programs must be
    /// stopped; they become FAILED when their programs have ended.
    pub(super) fn terminate(&mut self, unit: Unit, reason: &str, now: i64) -> Vec<Unit> {
        self.stop(unit, reason, now, |_| true)
    }

    /// Ends the units of a job that have not started.
    pub(super) fn cancel(&mut self, unit: Unit, reason: &str, now: i64) {
        self.stop(unit, reason, now, |state| !state.is_active());
    }

    fn stop(
        &mut self,
        unit: Unit,
        reason: &str,
        now: i64,
        applies: fn(&UnitState) -> bool,
    ) -> Vec<Unit> {
        let reason: Arc<str> = reason.into();
        let units = match unit.index {
            None => self.run_units(unit.job),
            Some(_) => vec![unit],
        };
        let units: Vec<Unit> = units
            .into_iter()
            .filter(|unit| {
                self.state(*unit)
                    .is_some_and(|s| !s.status.is_terminal() && applies(s))
            })
            .collect();
        if units.is_empty() {
            return units;
        }
        // Set the reason everywhere first, so that units that fail as a consequence have it, too.
        for &unit in units.iter().chain([&unit]) {
            if let Some(state) = self.state_mut(unit) {
                state.stop.get_or_insert_with(|| reason.clone());
            }
            self.changes.units.insert(unit);
        }
        let (running, waiting): (Vec<Unit>, Vec<Unit>) = units
            .into_iter()
            .partition(|unit| self.state(*unit).is_some_and(UnitState::is_active));
        for unit in waiting {
            self.finish(unit, JobStatus::Failed, reason.clone(), now);
        }
        running
    }

    /// Ends a unit, and updates its array and all its dependents.
    fn finish(&mut self, unit: Unit, status: JobStatus, reason: Arc<str>, now: i64) {
        if self.status(unit).is_none_or(JobStatus::is_terminal) {
            return;
        }
        self.set(unit, status, Some(reason), now);
        let mut ended = vec![unit];
        while let Some(unit) = ended.pop() {
            let failed = self.status(unit) == Some(JobStatus::Failed);
            if unit.index.is_some() {
                ended.extend(self.child_ended(unit, failed, now));
            }
            for dependent in self.dependents(unit) {
                if !self.status(dependent).is_some_and(waits) {
                    continue;
                }
                if failed {
                    let stop = self.state(dependent).and_then(|s| s.stop.clone());
                    let reason = stop.unwrap_or_else(|| DEPENDENCY_FAILED.into());
                    self.set(dependent, JobStatus::Failed, Some(reason), now);
                    ended.push(dependent);
                } else if self.dependencies(dependent) == Readiness::Ready {
                    self.set(dependent, JobStatus::Runnable, None, now);
                }
            }
        }
    }

    /// Counts a child that ended. Returns the parent if it was the last child.
    fn child_ended(&mut self, child: Unit, failed: bool, now: i64) -> Option<Unit> {
        let job = self.jobs.get_mut(&child.job)?;
        job.open -= 1;
        job.failed += u32::from(failed);
        if job.open > 0 {
            return None;
        }
        let parent = Unit {
            index: None,
            ..child
        };
        let (status, reason) = if job.failed == 0 {
            (JobStatus::Succeeded, None)
        } else {
            (JobStatus::Failed, Some(job.failure_reason()))
        };
        self.set(parent, status, reason, now);
        Some(parent)
    }

    /// The units that depend on this one.
    fn dependents(&self, unit: Unit) -> Vec<Unit> {
        let Some(job) = self.jobs.get(&unit.job) else {
            return Vec::new();
        };
        let mut units = Vec::new();
        for &(dependent, link) in &job.dependents {
            if link.each {
                units.extend(unit.index.map(|index| Unit {
                    job: dependent,
                    index: Some(index),
                }));
            } else if link.index == unit.index {
                units.extend(self.run_units(dependent));
            }
        }
        if let Some(index) = unit.index.filter(|_| job.spec.sequential) {
            let next = index + 1;
            units.extend(((next as usize) < job.children.len()).then_some(Unit {
                job: unit.job,
                index: Some(next),
            }));
        }
        units
    }

    /// The units of a job that run.
    fn run_units(&self, number: i64) -> Vec<Unit> {
        self.jobs
            .get(&number)
            .map(|job| job.run_units(number).collect())
            .unwrap_or_default()
    }

    fn state(&self, unit: Unit) -> Option<&UnitState> {
        Some(self.jobs.get(&unit.job)?.state(unit.index))
    }

    fn state_mut(&mut self, unit: Unit) -> Option<&mut UnitState> {
        let job = self.jobs.get_mut(&unit.job)?;
        Some(match unit.index {
            None => &mut job.own,
            Some(index) => &mut job.children[index as usize],
        })
    }

    fn status(&self, unit: Unit) -> Option<JobStatus> {
        self.state(unit).map(|state| state.status)
    }

    /// Changes a state. All changes go through this function.
    fn set(&mut self, unit: Unit, status: JobStatus, reason: Option<Arc<str>>, now: i64) {
        let Some(state) = self.state_mut(unit) else {
            return;
        };
        debug_assert!(
            can_follow(state.status, status),
            "{unit:?}: {:?} to {status:?}",
            state.status
        );
        state.status = status;
        state.status_reason = reason;
        match status {
            JobStatus::Running => state.started_at = Some(now),
            JobStatus::Succeeded | JobStatus::Failed => state.stopped_at = Some(now),
            _ => {}
        }
        let turn = self.turn(unit);
        if status == JobStatus::Runnable {
            self.runnable.insert(turn);
        } else {
            self.runnable.remove(&turn);
        }
        self.emit(unit, now);
    }

    fn emit(&mut self, unit: Unit, now: i64) {
        let Some(state) = self.state(unit) else {
            return;
        };
        let change = StateChange {
            unit,
            status: state.status,
            status_reason: state.status_reason.clone(),
            at: now,
        };
        self.changes.units.insert(unit);
        self.changes.events.push(change);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Waiting,
    Failed,
}

/// Whether a unit in this state waits for other jobs.
fn waits(status: JobStatus) -> bool {
    matches!(status, JobStatus::Submitted | JobStatus::Pending)
}

fn sized(size: Option<u32>) -> String {
    size.map_or_else(|| "no children".into(), |size| format!("{size} children"))
}

#[cfg(test)]
mod tests;
