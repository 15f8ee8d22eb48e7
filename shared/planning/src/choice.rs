//! The plan: the best of many divisions.

use rowmill_domain::limits::CHUNK_RECORDS;

use rowmill_domain::cost::Cost;

use crate::cost::{Usage, cost};
use crate::division::Division;
use crate::prices::BILLED_SECONDS_MIN;
use crate::timeline::Timeline;
use crate::work::{Quotas, Work};

/// How much more than the cheapest plan a faster one may cost, as a share.
pub const CHEAPER: f64 = 0.10;
/// What must become faster without a limit for it to be the bottleneck, as a share.
const NOTICEABLE: f64 = 0.05;

/// How long a run takes and what it costs with a given division.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The division.
    pub division: Division,
    /// The number of tasks: children of all phases.
    pub children: u64,
    /// Seconds from the first launch to the end of the last child.
    pub makespan_seconds: f64,
    /// Seconds of the longest task with its start-up, without interruptions.
    pub child_seconds: f64,
    /// Seconds until the last task may be launched, by the launch rate alone.
    pub launch_seconds: f64,
    /// The writes per second for which the table of the run's outcomes is prepared.
    pub table_writes: u32,
    /// The cost.
    pub cost: Cost,
    /// What limits the time most.
    pub bottleneck: Bottleneck,
    timeline: Timeline,
}

/// What limits the time of a run most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// The rate at which tasks are launched.
    LaunchRate,
    /// The quota of vCPUs.
    Quota,
    /// The rate that a source allows.
    Source,
    /// The rate at which outcomes can be stored.
    LedgerWrites,
    /// The addresses of the subnets.
    Addresses,
    /// None of these: the work of a child itself. More children would cost more than they save.
    Work,
}

impl Bottleneck {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Bottleneck::LaunchRate => "launch_rate",
            Bottleneck::Quota => "quota",
            Bottleneck::Source => "source",
            Bottleneck::LedgerWrites => "ledger_writes",
            Bottleneck::Addresses => "addresses",
            Bottleneck::Work => "work",
        }
    }

    const LIMITS: [Bottleneck; 5] = [
        Bottleneck::LaunchRate,
        Bottleneck::Quota,
        Bottleneck::Source,
        Bottleneck::LedgerWrites,
        Bottleneck::Addresses,
    ];

    /// Removes the limit.
    fn lift(self, work: &mut Work, quotas: &mut Quotas) {
        match self {
            Bottleneck::LaunchRate => quotas.launches_per_second = 1e9,
            Bottleneck::Quota => quotas.max_vcpus = 1e9,
            Bottleneck::Source => {
                work.phases
                    .iter_mut()
                    .for_each(|phase| phase.source_rate = None);
            }
            Bottleneck::LedgerWrites => work.table_writes = u32::MAX,
            Bottleneck::Addresses => quotas.addresses = u32::MAX,
            Bottleneck::Work => {}
        }
    }
}

/// How a run is divided, and what to expect.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The chosen division.
    pub chosen: Estimate,
    /// One record per child, for comparison.
    pub one_record_per_child: Estimate,
    /// The number of phases.
    pub phases: u16,
    /// Whether the plan meets the target, if there is one.
    pub in_time: bool,
    /// Whether a child is expected to take at most half of its time limit.
    pub within_timeout: bool,
}

impl Plan {
    /// The number of records and of children of each chunk.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, u32)> + Clone + use<> {
        self.chosen.division.chunks()
    }

    /// The number of jobs to submit. An array counts as one job.
    pub fn jobs(&self) -> u64 {
        self.chosen.division.chunk_count() * u64::from(self.phases)
    }
}

impl Estimate {
    fn new(work: &Work, quotas: &Quotas, division: Division) -> Estimate {
        let timeline = Timeline::new(work, quotas, &division);
        let children = division.children() as f64;
        let interrupted = timeline.interruptions / (timeline.tasks as f64).max(1.0);
        // Each attempt is billed at least for a minute.
        let billed: Vec<f64> = timeline
            .task_seconds
            .iter()
            .map(|seconds| seconds.max(BILLED_SECONDS_MIN * (1.0 + interrupted)) * children)
            .collect();
        let phases = work.phases.len() as f64;
        let usage = Usage {
            tasks: timeline.tasks as f64 + timeline.interruptions,
            billed_seconds: billed,
            outcomes: work.records as f64 * phases,
            jobs: division.chunk_count() as f64 * phases,
            table_writes: table_writes(work, &division),
        };
        Estimate {
            children: timeline.tasks,
            makespan_seconds: timeline.makespan,
            child_seconds: timeline.longest,
            launch_seconds: ((timeline.tasks as f64 - quotas.launch_burst)
                / quotas.launches_per_second)
                .max(0.0),
            table_writes: usage.table_writes,
            cost: cost(work, quotas, &usage),
            bottleneck: Bottleneck::Work,
            division,
            timeline,
        }
    }

    /// How many tasks run at a time, in seconds from the first launch.
    pub fn running(&self, at_seconds: f64) -> u64 {
        self.timeline.running(at_seconds)
    }

    /// Cost for 10,000 records, in USD.
    pub fn cost_per_10_000(&self, work: &Work) -> f64 {
        self.cost.total() / (work.records.max(1) as f64) * 10_000.0
    }
}

/// The writes per second that the run's table must accept: all children of a phase at the same time, each
/// as fast as expected, but no more per second than there are records, and no more than the work asks.
fn table_writes(work: &Work, division: &Division) -> u32 {
    let seconds: f64 = work
        .phases
        .iter()
        .map(|phase| phase.seconds_per_record)
        .sum();
    let per_second = division.children() as f64 * f64::from(work.concurrency) / seconds;
    // The conversion saturates.
    let wanted = per_second.min(work.records as f64).ceil() as u32;
    wanted.min(work.table_writes)
}

/// Plans a run.
///
/// ```
/// use rowmill_domain::job::Resources;
/// use rowmill_planning::{Quotas, Phase, Work, plan};
///
/// let resources = Resources::SMALLEST;
/// let work = Work {
///     records: 15_000,
///     phases: vec![Phase { seconds_per_record: 2.0, source_rate: None, resources }],
///     concurrency: 16,
///     timeout_seconds: 3600,
///     max_children: None,
///     table_writes: 4000,
///     records_per_child: None,
///     within_seconds: None,
/// };
/// let plan = plan(&work, &Quotas::default());
/// assert!(plan.chosen.cost.total() < plan.one_record_per_child.cost.total() / 50.0);
/// ```
pub fn plan(work: &Work, quotas: &Quotas) -> Plan {
    let mut chosen = choose(work, quotas);
    let without = |limit: Bottleneck| {
        let (mut work, mut quotas) = (work.clone(), quotas.clone());
        limit.lift(&mut work, &mut quotas);
        choose(&work, &quotas).makespan_seconds
    };
    chosen.bottleneck = bottleneck(chosen.makespan_seconds, without);

    let one = Division::new(work.records, 1, None);
    let mut one_record_per_child = Estimate::new(work, quotas, one);
    let without = |limit: Bottleneck| {
        let (mut work, mut quotas) = (work.clone(), quotas.clone());
        limit.lift(&mut work, &mut quotas);
        Estimate::new(&work, &quotas, one).makespan_seconds
    };
    one_record_per_child.bottleneck = bottleneck(one_record_per_child.makespan_seconds, without);
    Plan {
        in_time: work
            .within_seconds
            .is_none_or(|target| chosen.makespan_seconds <= target),
        within_timeout: is_within_timeout(work, &chosen),
        phases: u16::try_from(work.phases.len()).unwrap_or(u16::MAX),
        chosen,
        one_record_per_child,
    }
}

/// The limit whose removal saves most.
fn bottleneck(makespan: f64, without: impl Fn(Bottleneck) -> f64) -> Bottleneck {
    let all = Bottleneck::LIMITS.into_iter();
    let saved = all.map(|limit| (limit, makespan - without(limit)));
    let most = saved.max_by(|a, b| a.1.total_cmp(&b.1));
    match most {
        Some((limit, saved)) if saved > makespan * NOTICEABLE => limit,
        _ => Bottleneck::Work,
    }
}

fn is_within_timeout(work: &Work, estimate: &Estimate) -> bool {
    estimate.child_seconds <= f64::from(work.timeout_seconds) / 2.0
}

fn choose(work: &Work, quotas: &Quotas) -> Estimate {
    let division = |per_child| {
        let (chunk, most) = (quotas.chunk_records, work.max_children);
        Division::in_chunks_of(chunk, work.records, per_child, most)
    };
    let estimates: Vec<Estimate> = candidates(work)
        .into_iter()
        .map(|per_child| {
            let division = division(per_child);
            Estimate::new(work, quotas, division)
        })
        .collect();
    let safe = estimates
        .iter()
        .any(|estimate| is_within_timeout(work, estimate));
    let allowed = || {
        let all = estimates.iter();
        all.filter(|estimate| !safe || is_within_timeout(work, estimate))
    };
    let by = |key: fn(&Estimate) -> f64, keep: &dyn Fn(&Estimate) -> bool| {
        let kept = allowed().filter(|estimate| keep(estimate));
        kept.min_by(|a, b| key(a).total_cmp(&key(b))).cloned()
    };
    let cheapest = allowed()
        .map(|e| e.cost.total())
        .fold(f64::INFINITY, f64::min);
    let chosen = match work.within_seconds {
        Some(target) => by(|e| e.cost.total(), &|e| e.makespan_seconds <= target)
            .or_else(|| by(|e| e.makespan_seconds, &|_| true)),
        None => by(|e| e.makespan_seconds, &|e| {
            e.cost.total() <= cheapest * (1.0 + CHEAPER)
        }),
    };
    chosen.unwrap_or_else(|| Estimate::new(work, quotas, division(CHUNK_RECORDS)))
}

/// Numbers of records per child to try, largest first, so that of equal plans the one with fewer
/// children is chosen.
fn candidates(work: &Work) -> Vec<u32> {
    if let Some(given) = work.records_per_child {
        return vec![given];
    }
    let chunks = work.records.div_ceil(u64::from(CHUNK_RECORDS)).max(1);
    let largest = u32::try_from(work.records.div_ceil(chunks))
        .unwrap_or(CHUNK_RECORDS)
        .max(1);
    let mut all: Vec<u32> = (1..=largest.min(100)).collect();
    // Steps of 4%, and every number of children of a chunk up to 100.
    let mut next = 100.0f64;
    while next < f64::from(largest) {
        all.push(next as u32);
        next *= 1.04;
    }
    all.extend((1..=100).map(|children| largest.div_ceil(children)));
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use rowmill_domain::job::Resources;

    use super::*;
    use crate::work::Phase;

    /// A million records of 2 seconds, one at a time, in the smallest child.
    fn million(max_vcpus: f64) -> (Work, Quotas) {
        let work = Work {
            records: 1_000_000,
            phases: vec![Phase {
                seconds_per_record: 2.0,
                source_rate: None,
                resources: Resources::SMALLEST,
            }],
            concurrency: 1,
            timeout_seconds: 3600,
            max_children: None,
            table_writes: 4000,
            records_per_child: None,
            within_seconds: None,
        };
        let quotas = Quotas {
            max_vcpus,
            ..Quotas::default()
        };
        (work, quotas)
    }

    #[test]
    fn a_million_records_take_under_half_an_hour_and_10_usd() {
        let (work, quotas) = million(2048.0);
        let plan = plan(&work, &quotas);
        let chosen = &plan.chosen;
        assert!(chosen.makespan_seconds < 1800.0, "{chosen:?}");
        assert!(chosen.cost.total() < 10.0, "{chosen:?}");
        assert!(chosen.cost.total_on_demand() > chosen.cost.total());
        assert_eq!(chosen.bottleneck, Bottleneck::LaunchRate);
        assert!(plan.in_time && plan.within_timeout);
        let one = &plan.one_record_per_child;
        assert_eq!(one.children, 1_000_000);
        assert!((one.launch_seconds / 3600.0 - 13.9).abs() < 0.05, "{one:?}");
        assert!(one.cost.total_on_demand() >= 206.0, "{one:?}");
        // vCPUs and memory alone: a million minutes.
        assert!((one.cost.on_demand - 205.7).abs() < 0.5, "{one:?}");
    }

    #[test]
    fn a_target_is_met_by_the_cheapest_plan() {
        let (work, quotas) = million(2048.0);
        let free = plan(&work, &quotas).chosen;
        let within = |seconds| {
            let work = Work {
                within_seconds: Some(seconds),
                ..work.clone()
            };
            plan(&work, &quotas)
        };
        let slow = within(7200.0);
        assert!(slow.in_time);
        assert!(slow.chosen.cost.total() < free.cost.total());
        assert!(slow.chosen.makespan_seconds > free.makespan_seconds);
        let never = within(60.0);
        assert!(!never.in_time);
        assert!(never.chosen.makespan_seconds <= free.makespan_seconds);
    }

    #[test]
    fn the_limit_that_counts_is_the_bottleneck() {
        let (work, quotas) = million(64.0);
        assert_eq!(plan(&work, &quotas).chosen.bottleneck, Bottleneck::Quota);

        let few = Quotas {
            addresses: 100,
            ..quotas.clone()
        };
        let wide = Quotas {
            max_vcpus: 2048.0,
            ..few
        };
        assert_eq!(plan(&work, &wide).chosen.bottleneck, Bottleneck::Addresses);

        let mut limited = work.clone();
        limited.phases[0].source_rate = Some(50.0);
        let slow = plan(&limited, &Quotas::default());
        assert_eq!(slow.chosen.bottleneck, Bottleneck::Source);
        assert!(slow.chosen.makespan_seconds >= 1_000_000.0 / 50.0);

        let mut quick = work.clone();
        quick.phases[0].seconds_per_record = 0.001;
        quick.concurrency = 64;
        assert_eq!(
            plan(&quick, &Quotas::default()).chosen.bottleneck,
            Bottleneck::LedgerWrites
        );

        let small = Work {
            records: 300,
            ..work
        };
        assert_eq!(
            plan(&small, &Quotas::default()).chosen.bottleneck,
            Bottleneck::Work
        );
    }

    #[test]
    fn children_stay_below_half_of_their_time_limit() {
        let (mut work, quotas) = million(16.0);
        let plan_of = |work: &Work| plan(work, &quotas);
        let seconds = plan_of(&work).chosen.child_seconds;
        assert!(seconds <= 1800.0, "{seconds}");
        work.records_per_child = Some(2000);
        assert!(!plan_of(&work).within_timeout);
    }

    #[test]
    fn nothing_to_do_takes_no_time() {
        let (mut work, quotas) = million(64.0);
        work.records = 0;
        let plan = plan(&work, &quotas);
        assert_eq!(plan.chosen.children, 0);
        assert_eq!(plan.chosen.makespan_seconds, 0.0);
        assert_eq!(plan.chunks().count(), 0);
    }

    #[test]
    fn the_chart_rises_to_the_slots_and_falls() {
        let (work, quotas) = million(64.0);
        let chosen = plan(&work, &quotas).chosen;
        assert_eq!(chosen.running(-1.0), 0);
        assert_eq!(chosen.running(0.0), 100);
        assert_eq!(chosen.running(chosen.makespan_seconds / 2.0), 256);
        assert_eq!(chosen.running(chosen.makespan_seconds * 2.0), 0);
    }
}
