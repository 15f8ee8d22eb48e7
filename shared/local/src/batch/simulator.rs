//! A run on the local Batch with a virtual clock: every task is scheduled by the same [`Machine`] as
//! in a real run, but is not started. It takes as long as its records, and waits for launches,
//! capacity, sources and interruptions as it would on AWS.
//!
//! It shares only prices and limits with the planner, whose estimates a test compares with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rowmill_domain::job::{JobId, JobName, RetryStrategy};
use rowmill_domain::limits::SUBMIT_PER_SECOND;
use rowmill_planning::{Quotas, Usage, Work, prices};

use super::exit::AttemptExit;
use super::job::{DependsOn, Spec};
use super::machine::Machine;
use super::unit::Unit;

/// What happened in a simulated run.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Seconds from the first submission to the end of the last job.
    pub makespan_seconds: f64,
    /// What the run used.
    pub usage: Usage,
    /// Interrupted attempts.
    pub interruptions: u64,
    /// The most tasks that ran at the same time.
    pub most_running: usize,
}

/// Simulates a run with these chunks, as records and children.
pub fn simulate(
    work: &Work,
    quotas: &Quotas,
    chunks: impl IntoIterator<Item = (u32, u32)>,
    seed: u64,
) -> Simulation {
    let mut run = Run::new(work, quotas, seed);
    let phases = work.phases.len();
    let mut jobs: Vec<(u32, u32, usize)> = Vec::new();
    for (records, children) in chunks {
        jobs.extend((0..phases).map(|phase| (records, children, phase)));
    }
    run.usage.jobs = jobs.len() as f64;
    let mut jobs = jobs.into_iter();
    let interval = 1.0 / f64::from(SUBMIT_PER_SECOND);
    let mut next_submit = 0.0;
    loop {
        while run.now + 1e-9 >= next_submit
            && let Some((records, children, phase)) = jobs.next()
        {
            run.submit(records, children, phase);
            next_submit += interval;
        }
        run.launch();
        let open = jobs.len() > 0;
        if !run.advance(open.then_some(next_submit)) {
            break;
        }
    }
    run.usage.outcomes = run.outcomes;
    run.usage.table_writes = work.table_writes;
    Simulation {
        makespan_seconds: run.now,
        usage: run.usage,
        interruptions: run.interruptions,
        most_running: run.most_running,
    }
}

/// A time or an amount of work, ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct At(f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &At) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &At) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A running task.
#[derive(Clone, Copy, Debug)]
struct Task {
    phase: usize,
    launched: f64,
    /// The progress of its phase when its first record begins and when its last one ends; `None` while
    /// it starts.
    works: Option<(f64, f64)>,
    /// When Spot takes it back.
    interrupted: f64,
}

/// The progress of the tasks of one phase. They are equally fast at any time, so one number says how
/// far each has come since it began.
#[derive(Debug, Default)]
struct PhaseClock {
    progress: f64,
    ends: BTreeSet<(At, Unit)>,
    speed: f64,
}

struct Run<'a> {
    work: &'a Work,
    quotas: &'a Quotas,
    machine: Machine,
    random: StdRng,
    now: f64,
    tokens: f64,
    /// vCPUs of the running tasks.
    vcpus: f64,
    phases: Vec<PhaseClock>,
    tasks: HashMap<Unit, Task>,
    starting: BinaryHeap<Reverse<(At, Unit)>>,
    spot: BinaryHeap<Reverse<(At, Unit)>>,
    /// Seconds of work left, for tasks that were interrupted.
    left: HashMap<Unit, f64>,
    /// Records, children and phase of each job.
    jobs: HashMap<i64, (u32, u32, usize)>,
    usage: Usage,
    outcomes: f64,
    interruptions: u64,
    most_running: usize,
}

impl<'a> Run<'a> {
    fn new(work: &'a Work, quotas: &'a Quotas, seed: u64) -> Run<'a> {
        Run {
            work,
            quotas,
            machine: Machine::default(),
            random: StdRng::seed_from_u64(seed),
            now: 0.0,
            tokens: quotas.launch_burst,
            vcpus: 0.0,
            phases: work.phases.iter().map(|_| PhaseClock::default()).collect(),
            tasks: HashMap::new(),
            starting: BinaryHeap::new(),
            spot: BinaryHeap::new(),
            left: HashMap::new(),
            jobs: HashMap::new(),
            usage: Usage {
                billed_seconds: vec![0.0; work.phases.len()],
                ..Usage::default()
            },
            outcomes: 0.0,
            interruptions: 0,
            most_running: 0,
        }
    }

    fn millis(&self) -> i64 {
        (self.now * 1000.0) as i64
    }

    fn submit(&mut self, records: u32, children: u32, phase: usize) {
        let number = self.jobs.len() as i64 + 1;
        let after = DependsOn {
            on: number - 1,
            index: None,
            each: children > 1,
        };
        let spec = Spec {
            id: JobId(format!("simulated-{number}")),
            name: JobName(format!("simulated-{number}")),
            queue: String::new(),
            size: (children > 1).then_some(children),
            command: Vec::new(),
            environment: BTreeMap::new(),
            retry: RetryStrategy {
                attempts: u32::MAX,
                evaluate_on_exit: Vec::new(),
            },
            timeout_seconds: None,
            after: if phase > 0 { vec![after] } else { Vec::new() },
            sequential: false,
            memory_mib: None,
            priority: 0,
        };
        self.jobs.insert(number, (records, children, phase));
        self.machine.submit(spec, self.millis());
        self.machine.take_changes();
    }

    /// Starts the tasks that quotas and launch rate allow.
    fn launch(&mut self) {
        let most = (self.tokens + 1e-9) as usize;
        let launches = self.machine.launches(most, |_| false);
        for unit in launches.into_iter().map(|launch| launch.unit) {
            // In order: a task that does not fit holds up the ones behind it.
            if !self.fits(unit) {
                break;
            }
            self.vcpus += self.vcpu(unit);
            self.machine.start(unit, self.millis());
            self.tokens -= 1.0;
            self.usage.tasks += 1.0;
            let phase = self.jobs.get(&unit.job).map_or(0, |job| job.2);
            let spot = self.random.random::<f64>() < self.quotas.spot_share;
            let rate = self.quotas.interruptions_per_hour / 3600.0;
            let interrupted = match spot && rate > 0.0 {
                true => self.now - (1.0 - self.random.random::<f64>()).ln() / rate,
                false => f64::INFINITY,
            };
            let begins = self.now + self.quotas.startup_seconds;
            self.starting.push(Reverse((At(begins), unit)));
            if interrupted.is_finite() {
                self.spot.push(Reverse((At(interrupted), unit)));
            }
            let task = Task {
                phase,
                launched: self.now,
                works: None,
                interrupted,
            };
            self.tasks.insert(unit, task);
        }
        self.machine.take_changes();
        self.most_running = self.most_running.max(self.tasks.len());
    }

    /// The number of records of a task.
    fn records(&self, unit: Unit) -> u32 {
        let (records, children, _) = self.jobs.get(&unit.job).copied().unwrap_or((0, 1, 0));
        let index = u64::from(unit.index.unwrap_or(0));
        let at = |i: u64| i * u64::from(records) / u64::from(children);
        (at(index + 1) - at(index)) as u32
    }

    /// Seconds that a task works if nothing slows it down: its workers take one record after another.
    fn seconds(&self, unit: Unit, phase: usize) -> f64 {
        let each = self.work.phases[phase].seconds_per_record;
        let mut left = self.records(unit);
        let mut seconds = 0.0;
        while left > 0 {
            left -= left.min(self.work.concurrency);
            seconds += each;
        }
        seconds
    }

    /// How fast the tasks of each phase are, given what sources and ledger allow.
    fn set_speeds(&mut self) {
        let concurrency = f64::from(self.work.concurrency);
        let mut writes = 0.0;
        for (clock, phase) in self.phases.iter_mut().zip(&self.work.phases) {
            let wanted = clock.ends.len() as f64 * concurrency / phase.seconds_per_record;
            let allowed = phase.source_rate.unwrap_or(f64::INFINITY);
            clock.speed = if wanted > allowed {
                allowed / wanted
            } else {
                1.0
            };
            writes += wanted * clock.speed;
        }
        let allowed = f64::from(self.work.table_writes);
        if writes > allowed {
            for clock in &mut self.phases {
                clock.speed *= allowed / writes;
            }
        }
    }

    /// Moves to the next event and handles it. Returns `false` at the end.
    fn advance(&mut self, next_submit: Option<f64>) -> bool {
        self.set_speeds();
        let mut next = next_submit.unwrap_or(f64::INFINITY);
        let waiting = self.machine.runnable().next();
        if waiting.is_some_and(|unit| self.fits(unit)) {
            let wait = (1.0 - self.tokens).max(0.0) / self.quotas.launches_per_second;
            next = next.min(self.now + wait);
        }
        if let Some(Reverse((At(at), _))) = self.starting.peek() {
            next = next.min(*at);
        }
        if let Some(Reverse((At(at), _))) = self.spot.peek() {
            next = next.min(*at);
        }
        for clock in &self.phases {
            if let Some((At(at), _)) = clock.ends.first() {
                next = next.min(self.now + (at - clock.progress).max(0.0) / clock.speed);
            }
        }
        if self.tasks.is_empty()
            && self.machine.runnable().next().is_none()
            && next_submit.is_none()
        {
            return false;
        }
        let passed = (next - self.now).max(0.0);
        self.now += passed;
        let refill = passed * self.quotas.launches_per_second;
        self.tokens = (self.tokens + refill).min(self.quotas.launch_burst);
        for clock in &mut self.phases {
            clock.progress += passed * clock.speed;
        }
        self.begin();
        self.end();
        self.interrupt();
        self.machine.take_changes();
        true
    }

    /// Tasks whose start-up is over begin with their first record.
    fn begin(&mut self) {
        while let Some(Reverse((At(at), unit))) = self.starting.peek().copied() {
            if at > self.now + 1e-9 {
                return;
            }
            self.starting.pop();
            let Some(task) = self.tasks.get(&unit) else {
                continue;
            };
            // The entry of an attempt that was interrupted while it started.
            if task.works.is_some() || at < task.launched + self.quotas.startup_seconds - 1e-9 {
                continue;
            }
            let (phase, progress) = (task.phase, self.phases[task.phase].progress);
            let left = self.left.get(&unit).copied();
            let ends = progress + left.unwrap_or_else(|| self.seconds(unit, phase));
            if let Some(task) = self.tasks.get_mut(&unit) {
                task.works = Some((progress, ends));
            }
            self.phases[phase].ends.insert((At(ends), unit));
        }
    }

    /// Tasks that have done their work end.
    fn end(&mut self) {
        for phase in 0..self.phases.len() {
            while let Some((At(at), unit)) = self.phases[phase].ends.first().copied() {
                if at > self.phases[phase].progress + 1e-9 {
                    break;
                }
                self.phases[phase].ends.pop_first();
                self.bill(unit);
                self.outcomes += f64::from(self.records(unit));
                self.left.remove(&unit);
                let end = AttemptExit::Exited(0);
                self.machine.ended(unit, &end, self.millis());
            }
        }
    }

    /// Spot takes tasks back: what they finished is stored, the records in work are lost.
    fn interrupt(&mut self) {
        while let Some(Reverse((At(at), unit))) = self.spot.peek().copied() {
            if at > self.now + 1e-9 {
                return;
            }
            self.spot.pop();
            let Some(task) = self.tasks.get(&unit).copied() else {
                continue;
            };
            if task.interrupted != at {
                continue;
            }
            if let Some((begun, ends)) = task.works {
                let clock = &mut self.phases[task.phase];
                clock.ends.remove(&(At(ends), unit));
                let each = self.work.phases[task.phase].seconds_per_record;
                let done = ((clock.progress - begun) / each).floor() * each;
                self.left.insert(unit, ends - begun - done);
            }
            self.bill(unit);
            self.interruptions += 1;
            let end = AttemptExit::HostTerminated;
            self.machine.ended(unit, &end, self.millis());
        }
    }

    /// Whether the quotas allow one more task. One is always allowed.
    fn fits(&self, unit: Unit) -> bool {
        let enough_vcpus = self.vcpus + self.vcpu(unit) <= self.quotas.max_vcpus + 1e-9;
        let enough_addresses = self.tasks.len() < self.quotas.addresses as usize;
        self.tasks.is_empty() || (enough_vcpus && enough_addresses)
    }

    fn vcpu(&self, unit: Unit) -> f64 {
        let phase = self.jobs.get(&unit.job).map_or(0, |job| job.2);
        self.work.phases[phase].resources.vcpu
    }

    fn bill(&mut self, unit: Unit) {
        if let Some(task) = self.tasks.remove(&unit) {
            let seconds = self.now - task.launched;
            self.usage.billed_seconds[task.phase] += seconds.max(prices::BILLED_SECONDS_MIN);
            self.vcpus -= self.vcpu(unit);
        }
    }
}
