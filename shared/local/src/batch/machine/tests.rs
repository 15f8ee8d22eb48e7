use proptest::prelude::*;
use rowmill_domain::job::{EvaluateOnExit, ExitAction, JobName, RetryStrategy};

use super::super::exit::{CHILD_FAILED, EXITED, HOST_TERMINATED, TIMED_OUT};
use super::*;

fn after(id: &str) -> Dependency {
    Dependency {
        job_id: Some(JobId(id.into())),
        kind: None,
    }
}

fn each(id: &str) -> Dependency {
    Dependency {
        kind: Some(DependencyType::NToN),
        ..after(id)
    }
}

fn sequential() -> Dependency {
    Dependency {
        job_id: None,
        kind: Some(DependencyType::Sequential),
    }
}

/// A machine and its events so far. Every change is taken at once, like the store does.
#[derive(Default)]
struct Fixture {
    machine: Machine,
    events: Vec<(String, JobStatus, Option<String>)>,
    now: i64,
}

impl Fixture {
    fn submit(
        &mut self,
        id: &str,
        size: Option<u32>,
        attempts: u32,
        depends_on: &[Dependency],
    ) -> Result<(), Violation> {
        let (after, sequential) = self.machine.resolve(size, depends_on)?;
        let spec = Spec {
            id: JobId(id.into()),
            name: JobName(id.into()),
            queue: "main".into(),
            memory_mib: None,
            priority: 0,
            size,
            command: Vec::new(),
            environment: BTreeMap::new(),
            retry: RetryStrategy {
                attempts,
                evaluate_on_exit: vec![EvaluateOnExit {
                    on_status_reason: None,
                    on_reason: None,
                    on_exit_code: Some("2".into()),
                    action: ExitAction::Exit,
                }],
            },
            timeout_seconds: None,
            after,
            sequential,
        };
        self.machine.submit(spec, self.now);
        self.take();
        Ok(())
    }

    fn take(&mut self) {
        self.now += 1;
        let changes = self.machine.take_changes();
        for change in changes.events {
            assert!(changes.units.contains(&change.unit));
            let job = self.machine.job(change.unit.job).unwrap();
            self.events.push((
                job.id(change.unit.index).0,
                change.status,
                change.status_reason.map(|r| r.to_string()),
            ));
        }
    }

    fn unit(&self, id: &str) -> Unit {
        self.machine.find(&JobId(id.into())).unwrap()
    }

    fn status(&self, id: &str) -> JobStatus {
        self.machine.status(self.unit(id)).unwrap()
    }

    fn reason(&self, id: &str) -> String {
        let state = self.machine.state(self.unit(id)).unwrap();
        state.status_reason.as_deref().unwrap_or_default().into()
    }

    fn runnable(&self) -> Vec<String> {
        let id = |unit: Unit| self.machine.job(unit.job).unwrap().id(unit.index).0;
        self.machine.runnable().map(id).collect()
    }

    fn start(&mut self, id: &str) {
        assert!(self.machine.start(self.unit(id), self.now), "{id}");
        self.take();
    }

    fn end(&mut self, id: &str, end: AttemptExit) {
        self.machine.ended(self.unit(id), &end, self.now);
        self.take();
    }

    fn run(&mut self, id: &str, code: i32) {
        self.start(id);
        self.end(id, AttemptExit::Exited(code));
    }

    fn end_events(&self, id: &str) -> usize {
        let ended = |(event_id, status, _): &&(String, JobStatus, Option<String>)| {
            event_id == id && status.is_terminal()
        };
        self.events.iter().filter(ended).count()
    }
}

#[test]
fn a_plain_job_goes_through_its_states() {
    let mut b = Fixture::default();
    b.submit("a", None, 2, &[]).unwrap();
    assert_eq!(b.status("a"), JobStatus::Runnable);
    b.run("a", 1);
    assert_eq!(b.status("a"), JobStatus::Runnable);
    b.run("a", 0);
    let states: Vec<_> = b.events.iter().map(|(_, s, _)| s.name()).collect();
    assert_eq!(
        states,
        [
            "RUNNABLE",
            "STARTING",
            "RUNNING",
            "RUNNABLE",
            "STARTING",
            "RUNNING",
            "SUCCEEDED"
        ]
    );
    let detail = b.machine.job(1).unwrap().detail(None);
    assert_eq!((detail.attempts, detail.exit_code), (2, Some(0)));
    assert_eq!(b.reason("a"), EXITED);
}

#[test]
fn the_end_of_an_attempt_determines_the_state() {
    // attempts allowed, end, state after the first attempt, statusReason
    let lost = || AttemptExit::HostTerminated;
    for (attempts, end, status, reason) in [
        (1, AttemptExit::Exited(0), JobStatus::Succeeded, EXITED),
        (1, AttemptExit::Exited(1), JobStatus::Failed, EXITED),
        (2, AttemptExit::Exited(1), JobStatus::Runnable, EXITED),
        (2, AttemptExit::Exited(2), JobStatus::Failed, EXITED),
        (2, AttemptExit::TimedOut(143), JobStatus::Failed, TIMED_OUT),
        (2, lost(), JobStatus::Runnable, HOST_TERMINATED),
        (1, lost(), JobStatus::Failed, HOST_TERMINATED),
    ] {
        let mut b = Fixture::default();
        b.submit("a", None, attempts, &[]).unwrap();
        b.start("a");
        b.end("a", end.clone());
        assert_eq!(b.status("a"), status, "{attempts} {end:?}");
        assert_eq!(b.reason("a"), reason, "{attempts} {end:?}");
    }
}

#[test]
fn a_lost_attempt_does_not_count() {
    let mut b = Fixture::default();
    b.submit("a", None, 1, &[]).unwrap();
    for _ in 0..3 {
        b.start("a");
        b.machine.lost(b.unit("a"), 0);
    }
    b.run("a", 0);
    assert_eq!(b.machine.job(1).unwrap().detail(None).attempts, 1);
    assert_eq!(b.status("a"), JobStatus::Succeeded);
}

#[test]
fn dependents_wait_and_fail_without_running() {
    let mut b = Fixture::default();
    b.submit("a", None, 1, &[]).unwrap();
    b.submit("b", None, 1, &[after("a")]).unwrap();
    b.submit("c", Some(2), 1, &[after("b")]).unwrap();
    b.submit("d", None, 1, &[after("c"), after("a")]).unwrap();
    assert_eq!(b.runnable(), ["a"]);
    assert_eq!(b.status("b"), JobStatus::Pending);
    b.run("a", 0);
    assert_eq!(b.runnable(), ["b"]);
    b.run("b", 1);
    assert!(b.runnable().is_empty());
    for id in ["c", "c:0", "c:1", "d"] {
        assert_eq!(b.status(id), JobStatus::Failed, "{id}");
        assert_eq!(b.reason(id), DEPENDENCY_FAILED, "{id}");
        assert_eq!(b.end_events(id), 1, "{id}");
    }
    // A job that is submitted after the failure fails, too.
    b.submit("e", Some(3), 1, &[after("b"), sequential()])
        .unwrap();
    assert_eq!(b.status("e"), JobStatus::Failed);
    assert_eq!(b.status("e:2"), JobStatus::Failed);
    assert_eq!(b.end_events("e:2"), 1);
    // A job that depends on a success runs at once.
    b.submit("f", None, 1, &[after("a")]).unwrap();
    assert_eq!(b.runnable(), ["f"]);
}

#[test]
fn an_array_follows_its_children() {
    let mut b = Fixture::default();
    b.submit("a", Some(3), 1, &[]).unwrap();
    assert_eq!(b.status("a"), JobStatus::Pending);
    assert_eq!(b.runnable(), ["a:0", "a:1", "a:2"]);
    b.run("a:2", 0);
    b.run("a:0", 1);
    assert_eq!(b.status("a"), JobStatus::Pending);
    b.run("a:1", 0);
    assert_eq!(b.status("a"), JobStatus::Failed);
    assert_eq!(b.reason("a"), CHILD_FAILED);

    b.submit("b", Some(2), 1, &[]).unwrap();
    b.run("b:0", 0);
    b.run("b:1", 0);
    assert_eq!(b.status("b"), JobStatus::Succeeded);
}

#[test]
fn n_to_n_pairs_children() {
    let mut b = Fixture::default();
    b.submit("a", Some(3), 1, &[]).unwrap();
    b.submit("b", Some(3), 1, &[each("a")]).unwrap();
    assert_eq!(b.runnable(), ["a:0", "a:1", "a:2"]);
    b.run("a:1", 0);
    assert_eq!(b.runnable(), ["a:0", "a:2", "b:1"]);
    b.run("a:0", 1);
    assert_eq!(b.reason("b:0"), DEPENDENCY_FAILED);
    b.run("a:2", 0);
    b.run("b:1", 0);
    b.run("b:2", 0);
    assert_eq!(b.status("b"), JobStatus::Failed);
    assert_eq!(b.reason("b"), CHILD_FAILED);

    for (size, on) in [(Some(2), "a"), (None, "a")] {
        let refused = b.submit("x", size, 1, &[each(on)]);
        assert!(refused.is_err(), "{size:?} on {on}");
    }
    b.submit("p", None, 1, &[]).unwrap();
    assert!(b.submit("x", Some(3), 1, &[each("p")]).is_err());
    assert!(b.submit("x", None, 1, &[after("unknown")]).is_err());
    assert!(b.submit("x", None, 1, &[after("a:3")]).is_err());
}

#[test]
fn sequential_children_run_one_after_the_other() {
    let mut b = Fixture::default();
    b.submit("a", Some(3), 2, &[sequential()]).unwrap();
    assert_eq!(b.runnable(), ["a:0"]);
    b.run("a:0", 0);
    assert_eq!(b.runnable(), ["a:1"]);
    b.run("a:1", 2);
    assert_eq!(b.reason("a:2"), DEPENDENCY_FAILED);
    assert_eq!(b.status("a"), JobStatus::Failed);
    assert_eq!(b.end_events("a"), 1);
}

#[test]
fn terminate_ends_all_units_and_cancel_those_that_have_not_started() {
    let mut b = Fixture::default();
    b.submit("a", Some(3), 5, &[sequential()]).unwrap();
    b.submit("b", None, 1, &[after("a")]).unwrap();
    b.start("a:0");
    let active = b.machine.terminate(b.unit("a"), "enough", b.now);
    b.take();
    assert_eq!(active, [b.unit("a:0")]);
    for id in ["a:1", "a:2"] {
        assert_eq!(
            (b.status(id), b.reason(id)),
            (JobStatus::Failed, "enough".into())
        );
    }
    assert_eq!(b.status("a"), JobStatus::Pending);
    // FAILED even with exit code 0, and without another attempt.
    b.end("a:0", AttemptExit::Exited(0));
    for id in ["a:0", "a"] {
        assert_eq!(
            (b.status(id), b.reason(id)),
            (JobStatus::Failed, "enough".into())
        );
    }
    assert_eq!(b.reason("b"), DEPENDENCY_FAILED);

    b.submit("c", Some(2), 1, &[]).unwrap();
    b.start("c:0");
    b.machine.cancel(b.unit("c"), "no more", b.now);
    b.take();
    assert_eq!(b.status("c:0"), JobStatus::Running);
    assert_eq!(b.reason("c:1"), "no more");
    b.end("c:0", AttemptExit::Exited(0));
    assert_eq!(b.status("c:0"), JobStatus::Succeeded);
    assert_eq!(
        (b.status("c"), b.reason("c")),
        (JobStatus::Failed, "no more".into())
    );

    // Cancel does not change running and ended jobs; terminate does not change ended ones.
    b.submit("d", None, 1, &[]).unwrap();
    b.start("d");
    b.machine.cancel(b.unit("d"), "no", b.now);
    b.end("d", AttemptExit::Exited(0));
    assert!(b.machine.terminate(b.unit("d"), "no", b.now).is_empty());
    assert_eq!(b.status("d"), JobStatus::Succeeded);
}

/// A step of the property test.
#[derive(Clone, Debug)]
enum Move {
    Submit {
        size: Option<u32>,
        attempts: u32,
        sequential: bool,
        /// Which earlier job, and whether with N_TO_N if possible.
        on: Vec<(prop::sample::Index, bool)>,
    },
    Work {
        which: prop::sample::Index,
        end: u8,
    },
    Terminate(prop::sample::Index),
    Cancel(prop::sample::Index),
    Restart,
}

fn a_move() -> impl Strategy<Value = Move> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (
            prop::option::of(2u32..5),
            1u32..4,
            any::<bool>(),
            prop::collection::vec((index(), any::<bool>()), 0..3),
        )
            .prop_map(|(size, attempts, sequential, on)| Move::Submit {
                size,
                attempts,
                sequential,
                on,
            }),
        8 => (index(), 0u8..8).prop_map(|(which, end)| Move::Work { which, end }),
        1 => index().prop_map(Move::Terminate),
        1 => index().prop_map(Move::Cancel),
        1 => Just(Move::Restart),
    ]
}

fn play(b: &mut Fixture, ran: &mut Vec<Unit>, step: Move) {
    match step {
        Move::Submit {
            size,
            attempts,
            sequential: one_by_one,
            on,
        } => {
            let jobs = b.machine.jobs.len();
            let mut depends_on: Vec<Dependency> = Vec::new();
            for (which, pair) in on {
                if jobs == 0 {
                    break;
                }
                let other = &b.machine.jobs[&(which.index(jobs) as i64 + 1)].spec;
                let fits = pair && size.is_some() && other.size == size;
                depends_on.push(if fits {
                    each(&other.id.0)
                } else {
                    after(&other.id.0)
                });
            }
            if one_by_one && size.is_some() {
                depends_on.push(sequential());
            }
            b.submit(&format!("j{jobs}"), size, attempts, &depends_on)
                .unwrap();
        }
        Move::Work { which, end } => {
            let runnable = b.machine.runnable().collect::<Vec<_>>();
            if runnable.is_empty() {
                return;
            }
            let unit = *which.get(&runnable);
            // Nothing runs before its dependencies have succeeded.
            assert_eq!(b.machine.dependencies(unit), Readiness::Ready);
            assert!(b.machine.start(unit, b.now));
            ran.push(unit);
            b.take();
            match end {
                0 => b.machine.lost(unit, b.now),
                1 => b.machine.ended(unit, &AttemptExit::HostTerminated, b.now),
                2 => b.machine.ended(unit, &AttemptExit::TimedOut(143), b.now),
                3 => b.machine.ended(unit, &AttemptExit::Exited(1), b.now),
                // Keeps running.
                4 => {}
                _ => b.machine.ended(unit, &AttemptExit::Exited(0), b.now),
            }
            b.take();
        }
        Move::Terminate(which) | Move::Cancel(which) if b.machine.jobs.is_empty() => {
            let _ = which;
        }
        Move::Terminate(which) => {
            let job = which.index(b.machine.jobs.len()) as i64 + 1;
            let unit = Unit { job, index: None };
            for unit in b.machine.terminate(unit, "enough", b.now) {
                b.machine.ended(unit, &AttemptExit::Exited(143), b.now);
            }
            b.take();
        }
        Move::Cancel(which) => {
            let job = which.index(b.machine.jobs.len()) as i64 + 1;
            b.machine.cancel(Unit { job, index: None }, "no", b.now);
            b.take();
        }
        Move::Restart => {
            let kept = b.machine.jobs.iter().map(|(number, job)| {
                (
                    *number,
                    job.spec.as_ref().clone(),
                    job.own.clone(),
                    job.children.clone(),
                )
            });
            let again = Machine::load(kept);
            assert_eq!(again.runnable, b.machine.runnable);
            for (number, job) in &b.machine.jobs {
                let other = &again.jobs[number];
                assert_eq!((job.open, job.failed), (other.open, other.failed));
                assert_eq!(job.dependents, other.dependents);
            }
            b.machine = again;
            b.machine.lose_all(b.now);
            b.take();
        }
    }
}

proptest! {
    #[test]
    fn every_job_ends_once_and_correctly(moves in prop::collection::vec(a_move(), 1..40)) {
        let mut b = Fixture::default();
        let mut ran = Vec::new();
        for step in moves {
            play(&mut b, &mut ran, step);
        }
        // Run everything to its end.
        for unit in b.machine.active_units() {
            b.machine.ended(unit, &AttemptExit::Exited(0), b.now);
            b.take();
        }
        while let Some(unit) = first(&b.machine) {
            assert!(b.machine.start(unit, b.now));
            ran.push(unit);
            b.machine.ended(unit, &AttemptExit::Exited(0), b.now);
            b.take();
        }
        for (&number, job) in &b.machine.jobs {
            for index in [None].into_iter().chain((0..job.children.len() as u32).map(Some)) {
                let unit = Unit { job: number, index };
                let id = job.id(index).0;
                let state = job.state(index);
                prop_assert!(state.status.is_terminal(), "{id} is {:?}", state.status);
                prop_assert_eq!(b.end_events(&id), 1, "{}", id);
                prop_assert!(state.attempts <= job.spec.retry.attempts);
                if state.status_reason.as_deref() == Some(DEPENDENCY_FAILED) {
                    prop_assert!(!ran.contains(&unit), "{} ran", id);
                }
            }
            if !job.children.is_empty() {
                let failed = job.children.iter().any(|c| c.status == JobStatus::Failed);
                prop_assert_eq!(job.own.status == JobStatus::Failed, failed);
            }
        }
    }
}

fn first(machine: &Machine) -> Option<Unit> {
    machine.runnable().next()
}
