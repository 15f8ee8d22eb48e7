//! The local Batch in memory, for tests that run a whole system in one process: the same [`Machine`],
//! without a database and without processes. The test starts attempts and says how they end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::config;
use rowmill_domain::job::rules::{self, Violation};
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, SubmitJob};
use rowmill_ports::{JobFilter, Jobs, Result};
use serde_json::Value;

use super::api::{page, refused};
use super::exit::AttemptExit;
use super::machine::Machine;
use super::unit::Unit;

/// Says what time it is.
pub type Clock = Box<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The local Batch in memory.
pub struct MemoryBatch {
    queue: String,
    now: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    machine: Machine,
    submitted: u64,
    /// ARN, content and whether it is active, in the order of registration.
    definitions: Vec<(String, JobDefinition, bool)>,
    /// Running children that were terminated since the last call of `take_terminated`.
    terminated: Vec<JobId>,
}

/// An attempt that was started.
#[derive(Clone, Debug)]
pub struct StartedAttempt {
    /// The job or child.
    pub id: JobId,
    /// The number of the attempt, counted from 1.
    pub attempt: u32,
    /// The environment of its container.
    pub environment: BTreeMap<String, String>,
    /// Its time limit.
    pub timeout_seconds: Option<u32>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryExit {
    /// The program exited with this code.
    Exited(i32),
    /// It exceeded its time limit.
    TimedOut,
    /// Its host was lost, such as a Spot instance.
    HostLost,
}

impl MemoryBatch {
    /// A Batch without jobs, with one queue.
    pub fn new(queue: impl Into<String>, now: Clock) -> MemoryBatch {
        MemoryBatch {
            queue: queue.into(),
            now,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> i64 {
        (self.now)().timestamp_millis()
    }

    /// Starts up to `max` attempts of units that wait for capacity and are not `held`.
    pub fn start(&self, max: usize, held: impl Fn(&JobId) -> bool) -> Vec<StartedAttempt> {
        let now = self.millis();
        let mut state = self.state();
        let machine = &mut state.machine;
        let is_held = |unit: Unit| {
            let job = machine.job(unit.job);
            job.is_some_and(|job| held(&job.id(unit.index)))
        };
        let launches = machine.launches(max, is_held);
        let mut started = Vec::new();
        for launch in launches {
            if !machine.start(launch.unit, now) {
                continue;
            }
            let mut environment = launch.spec.environment.clone();
            if let Some(index) = launch.unit.index {
                let name = config::AWS_BATCH_JOB_ARRAY_INDEX.to_owned();
                environment.insert(name, index.to_string());
            }
            started.push(StartedAttempt {
                id: JobId(launch.id),
                attempt: launch.attempt,
                environment,
                timeout_seconds: launch.spec.timeout_seconds,
            });
        }
        started
    }

    /// Records how an attempt ended. Returns whether another one follows.
    pub fn ended(&self, id: &JobId, exit: MemoryExit) -> bool {
        let now = self.millis();
        let mut state = self.state();
        let Some(unit) = state.machine.find(id) else {
            return false;
        };
        let exit = match exit {
            MemoryExit::Exited(code) => AttemptExit::Exited(code),
            MemoryExit::TimedOut => AttemptExit::TimedOut(137),
            MemoryExit::HostLost => AttemptExit::HostTerminated,
        };
        state.machine.ended(unit, &exit, now);
        state.machine.is_runnable(unit)
    }

    /// The running children that were terminated since the last call, which get SIGTERM.
    pub fn take_terminated(&self) -> Vec<JobId> {
        std::mem::take(&mut self.state().terminated)
    }

    /// The events for report since the last call: ends of jobs, without those of children.
    pub fn take_events(&self) -> Vec<Value> {
        let mut state = self.state();
        let changes = state.machine.take_changes();
        let ends = changes
            .events
            .iter()
            .filter(|change| change.unit.index.is_none() && change.status.is_terminal());
        ends.filter_map(|change| {
            let job = state.machine.job(change.unit.job)?;
            let at = DateTime::from_timestamp_millis(change.at).unwrap_or_default();
            let detail = job.detail(None);
            let queue = &job.spec.queue;
            Some(rowmill_events::job_state_change_event(&detail, queue, at))
        })
        .collect()
    }

    /// Forgets jobs that ended before this time, as Batch does after seven days.
    pub fn forget_ended_before(&self, time: DateTime<Utc>) {
        let before = time.timestamp_millis();
        let mut state = self.state();
        state
            .machine
            .retain(|job| job.own.stopped_at.is_none_or(|at| at >= before));
        state.definitions.retain(|(.., active)| *active);
    }

    /// Forgets all jobs, as if they were never submitted.
    pub fn lose_jobs(&self) {
        self.state().machine.retain(|_| false);
    }

    /// The number of jobs that were submitted.
    pub fn submitted(&self) -> u64 {
        self.state().submitted
    }

    /// The number of jobs that have not ended.
    pub fn open_jobs(&self) -> usize {
        let state = self.state();
        let jobs = state.machine.newest_first(None);
        jobs.filter(|(_, job)| !job.own.status.is_terminal())
            .count()
    }
}

#[async_trait]
impl Jobs for MemoryBatch {
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        const OPERATION: &str = "RegisterJobDefinition";
        rules::definition(definition).map_err(|r| refused(r, OPERATION, &definition.name))?;
        let definitions = &mut self.state().definitions;
        let mut same_name = 0;
        for (arn, other, active) in definitions.iter() {
            if *active && other == definition {
                return Ok(arn.clone());
            }
            same_name += u32::from(other.name == definition.name);
        }
        let arn = format!(
            "arn:aws:batch:local:000000000000:job-definition/{}:{}",
            definition.name,
            same_name + 1
        );
        definitions.push((arn.clone(), definition.clone(), true));
        Ok(arn)
    }

    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        let state = self.state();
        let active = state
            .definitions
            .iter()
            .filter(|(_, definition, active)| *active && definition.name.starts_with(name_prefix));
        Ok(active.map(|(arn, ..)| arn.clone()).collect())
    }

    async fn deregister(&self, arn: &str) -> Result<()> {
        for (other, _, active) in &mut self.state().definitions {
            *active &= other != arn;
        }
        Ok(())
    }

    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        let refuse = |violation| refused(violation, "SubmitJob", &job.name.0);
        rules::submit(job).map_err(refuse)?;
        // There may be further queues beside it.
        if !job.queue.starts_with(&self.queue) {
            let why = format!("JobQueue {} not found", job.queue);
            return Err(refuse(Violation(why)));
        }
        let mut state = self.state();
        let definition = state
            .definitions
            .iter()
            .find(|(arn, _, active)| *active && *arn == job.definition)
            .map(|(_, definition, _)| definition.clone());
        let Some(definition) = definition else {
            let why = format!("JobDefinition {} not found or not active", job.definition);
            return Err(refuse(Violation(why)));
        };
        let number = state.submitted + 1;
        let id = JobId(format!("00000000-0000-4000-9000-{number:012x}"));
        let now = self.millis();
        let requested = state
            .machine
            .request(id.clone(), job.queue.clone(), job, definition, now);
        requested.map_err(refuse)?;
        state.submitted = number;
        Ok(id)
    }

    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        let resource = format!("{} jobs", ids.len());
        rules::describe(ids.len()).map_err(|r| refused(r, "DescribeJobs", &resource))?;
        let state = self.state();
        let described = ids.iter().filter_map(|id| {
            let unit = state.machine.find(id)?;
            Some(state.machine.job(unit.job)?.described(unit.index))
        });
        Ok(described.collect())
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        let after = after.map(str::parse::<i64>).transpose().map_err(|_| {
            let wrong = Violation("Invalid nextToken".into());
            refused(wrong, "ListJobs", &format!("{filter:?}"))
        })?;
        Ok(page(&self.state().machine, filter, after))
    }

    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        let now = self.millis();
        let mut state = self.state();
        let Some(unit) = state.machine.find(id) else {
            return Ok(());
        };
        for unit in state.machine.terminate(unit, reason, now) {
            let id = state.machine.job(unit.job).map(|job| job.id(unit.index));
            state.terminated.extend(id);
        }
        Ok(())
    }

    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        let now = self.millis();
        let machine = &mut self.state().machine;
        if let Some(unit) = machine.find(id) {
            machine.cancel(unit, reason, now);
        }
        Ok(())
    }
}
