//! When the tasks of a run start and end: a closed form. A task is a child in one phase.
//!
//! Tasks are launched in order, at most [`Quotas::slots`] at once and not faster than the launch
//! rate. With tasks of equal length `d`, task `i` starts with the burst and rate of launches, or when
//! the task `slots` places before it has ended, whichever is later.

use crate::division::Division;
use crate::work::{Quotas, Work};

/// The tasks of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Timeline {
    /// All tasks: children times phases.
    pub(crate) tasks: u64,
    /// How many run at the same time at most.
    slots: u64,
    /// Seconds of a task with its start-up and what interruptions repeat, by phase: an average.
    pub(crate) task_seconds: Vec<f64>,
    /// The longest task, without interruptions, in seconds.
    pub(crate) longest: f64,
    /// Interruptions of all tasks: expected.
    pub(crate) interruptions: f64,
    /// From the first launch to the last end, in seconds.
    pub(crate) makespan: f64,
    burst: f64,
    per_second: f64,
}

impl Timeline {
    pub(crate) fn new(work: &Work, quotas: &Quotas, division: &Division) -> Timeline {
        let children = division.children();
        let phases = work.phases.len() as u64;
        let rounds = division.rounds(work.concurrency) as f64 / children.max(1) as f64;
        let most_rounds = division.most_records().div_ceil(work.concurrency);

        let startup = quotas.startup_seconds;
        let busy: Vec<f64> = work
            .phases
            .iter()
            .map(|phase| rounds * phase.seconds_per_record)
            .collect();
        let fits = quotas.slots(average_vcpu(work, startup, &busy));
        let slots = fits.min(children).max(1);
        let waves = children > fits;
        let busy = slowed(work, quotas, division, busy, slots, waves);

        // Interruptions: the records in work are lost, and the task starts again.
        let rate = quotas.interruptions_per_hour * quotas.spot_share / 3600.0;
        let mut task_seconds = Vec::with_capacity(busy.len());
        let (mut interruptions, mut longest, mut repeated) = (0.0, 0.0f64, 0.0f64);
        for (phase, busy) in work.phases.iter().zip(&busy) {
            let task = startup + busy;
            // In its start-up, a task loses the time so far; later, that and the records in work.
            let working = startup + phase.seconds_per_record.min(*busy) / 2.0;
            let lost = (startup * startup / 2.0 + busy * working) / task;
            let count = rate * task / (1.0 - (rate * lost).min(0.9));
            task_seconds.push(task + count * lost);
            interruptions += count * children as f64;
            repeated = repeated.max(lost);
            let factor = f64::from(most_rounds) / rounds.max(f64::MIN_POSITIVE);
            longest = longest.max(startup + busy * factor.min(2.0));
        }

        let tasks = children * phases;
        let mut timeline = Timeline {
            tasks,
            slots,
            task_seconds,
            longest,
            interruptions,
            makespan: 0.0,
            burst: quotas.launch_burst,
            per_second: quotas.launches_per_second,
        };
        if tasks == 0 {
            return timeline;
        }
        // Interrupted tasks are launched again.
        let launches = tasks as f64 + interruptions;
        let average = timeline.average();
        let by_launch = timeline.token(launches - 1.0) + average;
        let last_phases: f64 = timeline.task_seconds.iter().skip(1).sum();
        let in_order =
            timeline.token(children as f64 - 1.0) + timeline.task_seconds[0] + last_phases;
        let chance = (rate * average).min(0.9);
        let tail = timeline.tail(chance, repeated, children as f64);
        let by_slots = timeline.launch(last_task(&timeline, division, phases)) + average;
        let makespan = by_slots.max(by_launch).max(in_order);
        let source = slowest_source(work, division);
        timeline.makespan = (makespan + tail).max(startup + source);
        timeline
    }

    /// The expected delay of the end by interruptions, each of which repeats `lost` seconds: of the
    /// tasks that end last, some are interrupted once, fewer twice, and so on.
    fn tail(&self, chance: f64, lost: f64, children: f64) -> f64 {
        let slots = self.slots as f64;
        let mut tail = 0.0;
        let mut often = chance;
        for _ in 0..20 {
            tail += if slots <= self.burst {
                // They end at the same time.
                let last = match children % slots {
                    0.0 => slots,
                    last => last,
                };
                lost * (1.0 - (-often * last).exp())
            } else {
                // They end as they were launched, so an early end hides a repetition.
                let each_second = often * self.per_second;
                match each_second * lost > 1e-9 {
                    true => lost - (1.0 - (-each_second * lost).exp()) / each_second,
                    false => 0.0,
                }
            };
            often *= chance;
        }
        tail
    }

    fn average(&self) -> f64 {
        self.task_seconds.iter().sum::<f64>() / self.task_seconds.len() as f64
    }

    /// When the n-th launch is allowed by the rate, from 0.
    fn token(&self, n: f64) -> f64 {
        ((n + 1.0 - self.burst) / self.per_second).max(0.0)
    }

    /// When task `n` starts, from 0.
    fn launch(&self, n: f64) -> f64 {
        let slots = self.slots as f64;
        let wave = (n / slots).floor();
        let in_wave = n - wave * slots;
        self.token(n)
            .max(wave * self.average() + self.token(in_wave))
    }

    /// How many tasks run at a time, in seconds from the first launch.
    pub(crate) fn running(&self, at: f64) -> u64 {
        let launched = |at: f64| {
            let (mut low, mut high) = (0u64, self.tasks);
            while low < high {
                let middle = low + (high - low) / 2;
                match self.launch(middle as f64) <= at {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            low
        };
        let running = launched(at) - launched(at - self.average()).min(launched(at));
        running.min(self.slots)
    }
}

/// The vCPUs of a task on average over the time of the run: a phase with longer tasks counts more.
fn average_vcpu(work: &Work, startup: f64, busy: &[f64]) -> f64 {
    let (mut all, mut seconds) = (0.0, 0.0);
    for (phase, busy) in work.phases.iter().zip(busy) {
        all += phase.resources.vcpu * (startup + busy);
        seconds += startup + busy;
    }
    all / seconds
}

/// Beyond this many rounds, the slots that stay empty at the end do not matter.
const ROUNDS_COUNTED: u64 = 64;

/// The place of the last task to start. With several phases, slots stay empty at the end, while the
/// last children go through their phases one after another. So the rounds are counted, in which tasks
/// start in the order of their jobs.
fn last_task(timeline: &Timeline, division: &Division, phases: u64) -> f64 {
    let without_gaps = timeline.tasks as f64 - 1.0;
    let children = timeline.tasks / phases;
    let slots = timeline.slots;
    if phases == 1 || children <= slots || timeline.tasks / slots > ROUNDS_COUNTED {
        return without_gaps;
    }
    // Tasks that have ended, by chunk and phase.
    let phases = phases as usize;
    let mut chunks: Vec<(u64, Vec<u64>)> = division
        .chunks()
        .map(|(_, children)| (u64::from(children), vec![0; phases]))
        .collect();
    let (mut left, mut rounds) = (timeline.tasks, 0);
    loop {
        let mut free = slots;
        for (children, ended) in &mut chunks {
            // Before any starts: what starts in this round is ready for its next phase in the next.
            let ready: Vec<u64> = (0..phases)
                .map(|phase| match phase {
                    0 => *children - ended[0],
                    _ => ended[phase - 1] - ended[phase],
                })
                .collect();
            for (ended, ready) in ended.iter_mut().zip(ready) {
                let started = ready.min(free);
                *ended += started;
                free -= started;
            }
            if free == 0 {
                break;
            }
        }
        let started = slots - free;
        left -= started.min(left);
        if left == 0 || started == 0 {
            return (rounds * slots + started.max(1) - 1) as f64;
        }
        rounds += 1;
    }
}

/// The records per second that sources and ledger allow in a phase.
fn record_rate(work: &Work, phase: usize, waves: bool) -> f64 {
    let phases_at_once = if waves { work.phases.len() as f64 } else { 1.0 };
    let ledger = f64::from(work.table_writes) / phases_at_once;
    let source = work.phases[phase].source_rate.unwrap_or(f64::INFINITY);
    ledger.min(source)
}

/// The least seconds in which sources and ledger let all records through.
fn slowest_source(work: &Work, division: &Division) -> f64 {
    let records: f64 = division
        .chunks()
        .map(|(records, _)| f64::from(records))
        .sum();
    let ledger = records * work.phases.len() as f64 / f64::from(work.table_writes);
    let sources = work.phases.iter().filter_map(|phase| phase.source_rate);
    sources.map(|rate| records / rate).fold(ledger, f64::max)
}

/// The seconds that a task of each phase is busy, if the tasks that run at the same time share what
/// sources and ledger allow.
fn slowed(
    work: &Work,
    quotas: &Quotas,
    division: &Division,
    unlimited: Vec<f64>,
    slots: u64,
    waves: bool,
) -> Vec<f64> {
    let children = division.children().max(1) as f64;
    let records: f64 = division
        .chunks()
        .map(|(records, _)| f64::from(records))
        .sum();
    let each = records / children;
    let startup = quotas.startup_seconds;
    let mut busy = unlimited.clone();
    // A fixed point: slower tasks overlap with more others. It grows by at most the number of slots.
    for _ in 0..100 {
        let total: f64 = busy.iter().map(|busy| startup + busy).sum();
        let next: Vec<f64> = unlimited
            .iter()
            .zip(&busy)
            .enumerate()
            .map(|(phase, (unlimited, busy))| {
                let task = startup + busy;
                let here = if waves {
                    slots as f64 * task / total
                } else {
                    slots as f64
                };
                // The first burst, or as many as are launched while one works.
                let started = quotas.launch_burst.max(quotas.launches_per_second * busy);
                // Tasks that are launched together also wait for the source together.
                let sharing = here.min(started);
                unlimited.max(sharing * each / record_rate(work, phase, waves))
            })
            .collect();
        busy = next;
    }
    busy
}
