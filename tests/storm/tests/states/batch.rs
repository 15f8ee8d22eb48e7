//! The model: a job is a list of units with a state each, and after every call the rules of AWS Batch for
//! dependencies are applied until nothing changes. It knows neither events nor the order of calls.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rowmill_domain::job::{
    Dependency, DependencyType, JobDefinition, JobId, JobName, JobStatus, Resources, RetryStrategy,
    SubmitJob,
};
use rowmill_local::batch::{MemoryBatch, MemoryExit};
use rowmill_ports::Jobs;

use super::call;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// For the jobs it depends on.
    Waiting,
    /// For capacity.
    Runnable,
    Running {
        terminated: bool,
    },
    Succeeded,
    Failed,
}

impl Status {
    fn is_over(self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed)
    }

    fn matches(self, reported: JobStatus) -> bool {
        match self {
            Status::Waiting => matches!(reported, JobStatus::Submitted | JobStatus::Pending),
            Status::Runnable => reported == JobStatus::Runnable,
            Status::Running { .. } => reported == JobStatus::Running,
            Status::Succeeded => reported == JobStatus::Succeeded,
            Status::Failed => reported == JobStatus::Failed,
        }
    }
}

/// A plain job, or a child of an array.
#[derive(Clone, Debug)]
struct Unit {
    status: Status,
    attempts: u32,
}

#[derive(Clone, Debug)]
struct Job {
    is_array: bool,
    max_attempts: u32,
    after: Option<After>,
    units: Vec<Unit>,
}

/// What a job depends on.
#[derive(Clone, Copy, Debug)]
enum After {
    /// The whole job with this number.
    Whole(usize),
    /// Child by child.
    Each(usize),
    /// The child before it, of the same array.
    Previous,
}

impl Job {
    /// The state of the whole job.
    fn status(&self) -> Status {
        if !self.is_array {
            return self.units[0].status;
        }
        let states = || self.units.iter().map(|unit| unit.status);
        if !states().all(Status::is_over) {
            Status::Waiting
        } else if states().all(|status| status == Status::Succeeded) {
            Status::Succeeded
        } else {
            Status::Failed
        }
    }
}

/// All jobs in the order in which they were submitted.
#[derive(Clone, Debug, Default)]
struct Model(Vec<Job>);

impl Model {
    /// Applies the rules for dependencies until nothing changes.
    fn settle(&mut self) {
        loop {
            let mut changed = false;
            for job in 0..self.0.len() {
                for unit in 0..self.0[job].units.len() {
                    if self.0[job].units[unit].status != Status::Waiting {
                        continue;
                    }
                    let other = match self.0[job].after {
                        None => Status::Succeeded,
                        Some(After::Whole(on)) => self.0[on].status(),
                        Some(After::Each(on)) => self.0[on].units[unit].status,
                        Some(After::Previous) if unit == 0 => Status::Succeeded,
                        Some(After::Previous) => self.0[job].units[unit - 1].status,
                    };
                    let status = match other {
                        Status::Succeeded => Status::Runnable,
                        Status::Failed => Status::Failed,
                        _ => continue,
                    };
                    self.0[job].units[unit].status = status;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The units in a state that `picked` accepts.
    fn units(&self, picked: impl Fn(Status) -> bool) -> Vec<(usize, usize)> {
        let jobs = self.0.iter().enumerate();
        jobs.flat_map(|(number, job)| {
            let units = job.units.iter().enumerate();
            let picked = units.filter(|(_, unit)| picked(unit.status));
            picked
                .map(move |(index, _)| (number, index))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    fn running(&self) -> Vec<(usize, usize)> {
        self.units(|status| matches!(status, Status::Running { .. }))
    }
}

#[derive(Clone, Debug)]
enum Call {
    Submit {
        size: Option<u32>,
        max_attempts: u32,
        after: Option<After>,
    },
    /// Starts everything that waits for capacity.
    Start,
    /// Ends one of the running attempts.
    End(Index, MemoryExit),
    /// Terminates a job, or one of its children.
    Terminate(Index, Option<Index>),
    Cancel(Index),
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Call> {
        let sizes: Vec<Option<usize>> = model
            .0
            .iter()
            .map(|job| job.is_array.then_some(job.units.len()))
            .collect();
        let size = prop_oneof![Just(None), (2..5_u32).prop_map(Some)];
        let submit = (size, 1..4_u32, 0..4_u8, any::<Index>()).prop_map(
            move |(mut size, max_attempts, kind, on)| {
                let after = match kind {
                    1 if size.is_some() => Some(After::Previous),
                    2 | 3 if !sizes.is_empty() => {
                        let on = on.index(sizes.len());
                        match sizes[on] {
                            Some(other) if kind == 3 => {
                                size = Some(other as u32);
                                Some(After::Each(on))
                            }
                            _ => Some(After::Whole(on)),
                        }
                    }
                    _ => None,
                };
                Call::Submit {
                    size,
                    max_attempts,
                    after,
                }
            },
        );
        if model.0.is_empty() {
            return submit.boxed();
        }
        let exit = prop_oneof![
            3 => Just(MemoryExit::Exited(0)),
            2 => Just(MemoryExit::Exited(1)),
            1 => Just(MemoryExit::TimedOut),
            1 => Just(MemoryExit::HostLost),
        ];
        prop_oneof![
            3 => submit,
            3 => Just(Call::Start),
            6 => (any::<Index>(), exit).prop_map(|(which, exit)| Call::End(which, exit)),
            1 => (any::<Index>(), any::<Option<Index>>())
                .prop_map(|(job, child)| Call::Terminate(job, child)),
            1 => any::<Index>().prop_map(Call::Cancel),
        ]
        .boxed()
    }

    fn preconditions(model: &Model, call: &Call) -> bool {
        // When a failing sequence is shortened, the jobs of a later call may be gone.
        match call {
            Call::Submit { size, after, .. } => match after {
                Some(After::Whole(on)) => *on < model.0.len(),
                Some(After::Each(on)) => model
                    .0
                    .get(*on)
                    .is_some_and(|other| other.is_array && Some(other.units.len() as u32) == *size),
                _ => true,
            },
            Call::Start => true,
            Call::End(..) => !model.running().is_empty(),
            Call::Terminate(..) | Call::Cancel(_) => !model.0.is_empty(),
        }
    }

    fn apply(mut model: Model, call: &Call) -> Model {
        match call {
            Call::Submit {
                size,
                max_attempts,
                after,
            } => {
                let unit = Unit {
                    status: Status::Waiting,
                    attempts: 0,
                };
                model.0.push(Job {
                    is_array: size.is_some(),
                    max_attempts: *max_attempts,
                    after: *after,
                    units: vec![unit; size.unwrap_or(1) as usize],
                });
            }
            Call::Start => {
                for (job, unit) in model.units(|status| status == Status::Runnable) {
                    model.0[job].units[unit].status = Status::Running { terminated: false };
                }
            }
            Call::End(which, exit) => {
                let running = model.running();
                let (job, unit) = running[which.index(running.len())];
                let max_attempts = model.0[job].max_attempts;
                let unit = &mut model.0[job].units[unit];
                unit.attempts += 1;
                unit.status = match unit.status {
                    Status::Running { terminated: true } => Status::Failed,
                    _ if *exit == MemoryExit::Exited(0) => Status::Succeeded,
                    // Never retried. Source: AWS Batch user guide, "Job timeouts".
                    _ if *exit == MemoryExit::TimedOut => Status::Failed,
                    _ if unit.attempts < max_attempts => Status::Runnable,
                    _ => Status::Failed,
                };
            }
            Call::Terminate(job, child) => {
                let job = job.index(model.0.len());
                let job = &mut model.0[job];
                let child = child.filter(|_| job.is_array);
                let child = child.map(|child| child.index(job.units.len()));
                for (index, unit) in job.units.iter_mut().enumerate() {
                    if child.is_some_and(|child| child != index) || unit.status.is_over() {
                        continue;
                    }
                    unit.status = match unit.status {
                        Status::Running { .. } => Status::Running { terminated: true },
                        _ => Status::Failed,
                    };
                }
            }
            Call::Cancel(job) => {
                let job = job.index(model.0.len());
                for unit in &mut model.0[job].units {
                    if matches!(unit.status, Status::Waiting | Status::Runnable) {
                        unit.status = Status::Failed;
                    }
                }
            }
        }
        model.settle();
        model
    }
}

/// The local Batch, the ids of its jobs in the order of submission, and the model before the last call.
struct Batch {
    batch: MemoryBatch,
    definition: String,
    ids: Vec<JobId>,
    before: Model,
}

impl Batch {
    /// The id of a unit of the model.
    fn id(&self, model: &Model, (job, unit): (usize, usize)) -> JobId {
        let id = &self.ids[job];
        match model.0[job].is_array {
            true => id.child(unit as u32),
            false => id.clone(),
        }
    }
}

impl StateMachineTest for Batch {
    type SystemUnderTest = Batch;
    type Reference = Model;

    fn init_test(model: &Model) -> Batch {
        let batch = MemoryBatch::new("main", Box::new(|| DateTime::UNIX_EPOCH));
        let definition = call(batch.register(&JobDefinition {
            name: "states".to_owned(),
            image: "image".to_owned(),
            command: Vec::new(),
            resources: Resources::SMALLEST,
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            retry: RetryStrategy {
                attempts: 1,
                evaluate_on_exit: Vec::new(),
            },
            timeout_seconds: None,
        }));
        Batch {
            batch,
            definition: definition.expect("a definition"),
            ids: Vec::new(),
            before: model.clone(),
        }
    }

    fn apply(mut test: Batch, model: &Model, made: Call) -> Batch {
        let before = &test.before;
        match made {
            Call::Submit {
                size,
                max_attempts,
                after,
            } => {
                let depends_on = after.map(|after| match after {
                    After::Whole(on) => Dependency {
                        job_id: Some(test.ids[on].clone()),
                        kind: None,
                    },
                    After::Each(on) => Dependency {
                        job_id: Some(test.ids[on].clone()),
                        kind: Some(DependencyType::NToN),
                    },
                    After::Previous => Dependency {
                        job_id: None,
                        kind: Some(DependencyType::Sequential),
                    },
                });
                let id = call(test.batch.submit(&SubmitJob {
                    name: JobName(format!("job-{}", test.ids.len())),
                    queue: "main".to_owned(),
                    definition: test.definition.clone(),
                    array_size: size,
                    priority: 0,
                    resources: None,
                    depends_on: depends_on.into_iter().collect(),
                    environment: BTreeMap::new(),
                    retry: Some(RetryStrategy {
                        attempts: max_attempts,
                        evaluate_on_exit: Vec::new(),
                    }),
                    timeout_seconds: None,
                    tags: BTreeMap::new(),
                }));
                test.ids.push(id.expect("a job"));
            }
            Call::Start => {
                let runnable = before.units(|status| status == Status::Runnable);
                let started = test.batch.start(usize::MAX, |_| false);
                assert_eq!(started.len(), runnable.len());
                for attempt in started {
                    let unit = runnable
                        .iter()
                        .find(|unit| test.id(before, **unit) == attempt.id);
                    let (job, unit) = *unit.expect("a unit that waits for capacity");
                    let attempts = before.0[job].units[unit].attempts;
                    assert_eq!(attempt.attempt, attempts + 1, "{}", attempt.id);
                }
            }
            Call::End(which, exit) => {
                let running = before.running();
                let (job, unit) = running[which.index(running.len())];
                let again = test.batch.ended(&test.id(before, (job, unit)), exit);
                let runnable = model.0[job].units[unit].status == Status::Runnable;
                assert_eq!(again, runnable);
            }
            Call::Terminate(job, child) => {
                let number = job.index(before.0.len());
                let job = &before.0[number];
                let child = child.filter(|_| job.is_array);
                let id = match child.map(|child| child.index(job.units.len())) {
                    Some(child) => test.id(before, (number, child)),
                    None => test.ids[number].clone(),
                };
                call(test.batch.terminate(&id, "terminated")).expect("terminated");
                // Each gets SIGTERM once for this call.
                for id in test.batch.take_terminated() {
                    let running = model.running();
                    assert!(running.iter().any(|unit| test.id(model, *unit) == id));
                }
            }
            Call::Cancel(job) => {
                let id = &test.ids[job.index(before.0.len())];
                call(test.batch.cancel(id, "canceled")).expect("canceled");
                assert!(test.batch.take_terminated().is_empty());
            }
        }
        test.before = model.clone();
        test
    }

    fn check_invariants(test: &Batch, model: &Model) {
        for (number, job) in model.0.iter().enumerate() {
            let described = |id: JobId| {
                let found = call(test.batch.describe(std::slice::from_ref(&id)));
                let found = found.expect("described").pop();
                found.unwrap_or_else(|| panic!("{id} is unknown"))
            };
            let own = described(test.ids[number].clone());
            assert!(
                job.status().matches(own.status),
                "{}: {:?}, reported as {:?}",
                own.id,
                job.status(),
                own.status
            );
            for (index, unit) in job.units.iter().enumerate() {
                let detail = described(test.id(model, (number, index)));
                assert!(
                    unit.status.matches(detail.status),
                    "{}: {unit:?}, reported as {:?}",
                    detail.id,
                    detail.status
                );
                assert_eq!(detail.attempts, unit.attempts, "{}", detail.id);
            }
            // The parent of an array counts its children.
            let counted: u32 = own.children.values().sum();
            let children = if job.is_array { job.units.len() } else { 0 };
            assert_eq!(counted as usize, children, "{}", own.id);
        }
        let open = model.0.iter().filter(|job| !job.status().is_over()).count();
        assert_eq!(test.batch.open_jobs(), open);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn the_local_batch_follows_the_model(sequential 1..60 => Batch);
}
