//! The model: each run has a state and jobs. A change is legal in the states of the table, which
//! `docs/states.md` shows. The ledger in memory and the one in SQLite get the same calls.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::run::UploadSource;
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_local::SqliteLedger;
use rowmill_ports::{ErrorKind, RunPatch, Runs};
use rowmill_runs::Transition;
use rowmill_tests_storm::memory::MemoryRuns;
use tempfile::TempDir;

use super::call;

/// Few, so that calls meet.
const RUNS: u8 = 3;
const JOBS: u8 = 3;

#[derive(Clone, Debug)]
struct Run {
    state: RunState,
    /// The value that the last change wrote.
    written: Option<u32>,
    /// By name: the id, and whether the job has ended.
    jobs: BTreeMap<u8, (u8, bool)>,
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<u8, Run>);

#[derive(Clone, Debug)]
enum Call {
    Create(u8),
    /// Changes a run, and writes this value.
    Change(u8, Transition, u32),
    /// Records a job of a run: its name and its id.
    Record(u8, u8, u8),
    /// A job of a run has ended.
    Ended(u8, u8, u8),
}

impl Call {
    fn run(&self) -> u8 {
        match self {
            Call::Create(run)
            | Call::Change(run, ..)
            | Call::Record(run, ..)
            | Call::Ended(run, ..) => *run,
        }
    }
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Changed(bool),
    /// The number of jobs that have ended.
    Count(u32),
    Failed(ErrorKind),
}

impl Model {
    /// Makes a call, and returns what it answers.
    fn make(&mut self, made: &Call) -> Answer {
        if let Call::Create(run) = made {
            let created = !self.0.contains_key(run);
            self.0.entry(*run).or_insert(Run {
                state: RunState::Splitting,
                written: None,
                jobs: BTreeMap::new(),
            });
            return Answer::Changed(created);
        }
        let Some(run) = self.0.get_mut(&made.run()) else {
            return Answer::Failed(ErrorKind::NotFound);
        };
        match *made {
            Call::Create(_) => unreachable!(),
            Call::Change(_, change, value) => {
                let legal = change.from().contains(&run.state);
                if legal {
                    run.state = change.to().unwrap_or(run.state);
                    run.written = Some(value);
                }
                Answer::Changed(legal)
            }
            Call::Record(_, name, id) => match run.jobs.entry(name).or_insert((id, false)).0 {
                recorded if recorded == id => Answer::Changed(true),
                _ => Answer::Failed(ErrorKind::Conflict),
            },
            Call::Ended(_, name, id) => {
                let job = run.jobs.entry(name).or_insert((id, false));
                job.1 |= job.0 == id;
                let ended = run.jobs.values().filter(|(_, ended)| *ended).count();
                Answer::Count(ended as u32)
            }
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Call> {
        let change = prop::sample::select(Transition::ALL.to_vec());
        prop_oneof![
            1 => (0..RUNS).prop_map(Call::Create),
            6 => (0..RUNS, change, any::<u32>())
                .prop_map(|(run, change, value)| Call::Change(run, change, value)),
            1 => (0..RUNS, 0..JOBS, 0..2_u8)
                .prop_map(|(run, name, id)| Call::Record(run, name, id)),
            1 => (0..RUNS, 0..JOBS, 0..2_u8)
                .prop_map(|(run, name, id)| Call::Ended(run, name, id)),
        ]
        .boxed()
    }

    fn preconditions(model: &Model, made: &Call) -> bool {
        // Jobs are recorded only of runs that exist.
        match made {
            Call::Record(run, ..) | Call::Ended(run, ..) => model.0.contains_key(run),
            Call::Create(_) | Call::Change(..) => true,
        }
    }

    fn apply(mut model: Model, made: &Call) -> Model {
        model.make(made);
        model
    }
}

fn key(run: u8) -> String {
    format!("p/{run}.csv")
}

fn run_id(run: u8) -> RunId {
    RunId::new("inbox", &key(run), "1", DateTime::UNIX_EPOCH, "p")
}

fn job_name(run: u8, name: u8) -> JobName {
    JobName::new(&run_id(run), u32::from(name), 0)
}

fn job_id(id: u8) -> JobId {
    JobId(format!("job-{id}"))
}

/// Makes a call of a ledger.
fn make(runs: &dyn Runs, made: &Call) -> Answer {
    let now = DateTime::UNIX_EPOCH;
    let id = run_id(made.run());
    let answer = match *made {
        Call::Create(run) => {
            let source = UploadSource {
                bucket: "inbox".to_owned(),
                key: key(run),
                version: "1".to_owned(),
                size: 1,
                uploaded: now,
            };
            call(runs.create_run(&RunItem::new(id, source, now))).map(Answer::Changed)
        }
        Call::Change(_, change, value) => {
            let fields = RunPatch {
                jobs: Some(value),
                ..RunPatch::default()
            };
            call(change.apply(runs, &id, fields, now)).map(Answer::Changed)
        }
        Call::Record(run, name, job) => {
            let recorded = call(runs.record_job(&id, &job_name(run, name), &job_id(job)));
            recorded.map(|()| Answer::Changed(true))
        }
        Call::Ended(run, name, job) => {
            call(runs.job_ended(&id, &job_name(run, name), &job_id(job))).map(Answer::Count)
        }
    };
    answer.unwrap_or_else(|error| Answer::Failed(error.kind))
}

struct Ledgers {
    memory: MemoryRuns,
    sqlite: SqliteLedger,
    before: Model,
    _state: TempDir,
}

impl Ledgers {
    fn all(&self) -> [&dyn Runs; 2] {
        [&self.memory, &self.sqlite]
    }
}

impl StateMachineTest for Ledgers {
    type SystemUnderTest = Ledgers;
    type Reference = Model;

    fn init_test(model: &Model) -> Ledgers {
        let state = TempDir::new().expect("a folder");
        Ledgers {
            memory: MemoryRuns::default(),
            sqlite: SqliteLedger::open(state.path()).expect("a ledger"),
            before: model.clone(),
            _state: state,
        }
    }

    fn apply(mut test: Ledgers, model: &Model, made: Call) -> Ledgers {
        let expected = test.before.make(&made);
        for ledger in test.all() {
            assert_eq!(make(ledger, &made), expected, "{made:?}");
            // Everything arrives at least once.
            if let Call::Record(..) | Call::Ended(..) = made {
                assert_eq!(make(ledger, &made), expected, "{made:?}, repeated");
            }
        }
        test.before = model.clone();
        test
    }

    fn check_invariants(test: &Ledgers, model: &Model) {
        for ledger in test.all() {
            for number in 0..RUNS {
                let found = call(ledger.find_run(&run_id(number))).expect("found");
                let expected = model.0.get(&number);
                assert_eq!(
                    found.map(|run| (run.state, run.jobs)),
                    expected.map(|run| (run.state, run.written))
                );
                let Some(run) = expected else { continue };
                let jobs = call(ledger.jobs(&run_id(number))).expect("jobs");
                let jobs: Vec<(JobName, JobId, bool)> = jobs
                    .into_iter()
                    .map(|job| (job.name, job.id, job.ended))
                    .collect();
                let expected = run
                    .jobs
                    .iter()
                    .map(|(name, (id, ended))| (job_name(number, *name), job_id(*id), *ended));
                assert_eq!(jobs, expected.collect::<Vec<_>>());
            }
        }
    }
}

prop_state_machine! {
    // Each writes to disk.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_run_follows_the_table_in_every_ledger(sequential 1..40 => Ledgers);
}
