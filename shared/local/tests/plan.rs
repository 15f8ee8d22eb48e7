//! The planner's estimates agree with the local Batch on a virtual clock.
#![allow(clippy::print_stdout, reason = "tests")]

use rowmill_domain::job::Resources;
use rowmill_local::batch::{Simulation, simulate};
use rowmill_planning::{Phase, Quotas, Work, cost, plan};

/// How far an estimate may be from the simulation, as a share of the simulation.
const WITHIN: f64 = 0.10;
/// The same for the time of runs whose phases have children of different sizes: the planner counts with
/// their average.
const WITHIN_OF_MIXED: f64 = 0.35;

fn work(records: u64, seconds: f64, concurrency: u32, phases: usize) -> Work {
    let phase = Phase {
        seconds_per_record: seconds,
        source_rate: None,
        resources: Resources::SMALLEST,
    };
    Work {
        records,
        phases: vec![phase; phases],
        concurrency,
        timeout_seconds: 3600,
        max_children: None,
        table_writes: 4000,
        records_per_child: None,
        within_seconds: None,
    }
}

/// The cases: every combination of a few values of each quantity, as long as a case has few enough
/// tasks for a test.
fn grid() -> Vec<(Work, Quotas)> {
    let mut cases = Vec::new();
    let mut add = |work: Work, quotas: &Quotas| cases.push((work, quotas.clone()));
    let default = Quotas::default();
    for records in [1, 150, 3_000, 45_000, 300_000] {
        for (seconds, concurrency) in [(0.01, 16), (0.5, 4), (2.0, 1), (2.0, 16), (20.0, 4)] {
            for max_vcpus in [16.0, 128.0, 2048.0] {
                let interrupted = |per_hour: f64| Quotas {
                    max_vcpus,
                    interruptions_per_hour: per_hour,
                    ..default.clone()
                };
                add(work(records, seconds, concurrency, 1), &interrupted(0.05));
                add(work(records, seconds, concurrency, 2), &interrupted(0.0));
                // A second phase that needs four times the vCPUs.
                let mut large = work(records, seconds, concurrency, 2);
                large.phases[1].resources.vcpu = 1.0;
                large.phases[1].resources.memory_mib = 2048;
                add(large, &interrupted(0.0));
                // A given size of children, other than the best.
                let small = Work {
                    records_per_child: Some(((records / 2000) as u32).max(1)),
                    ..work(records, seconds, concurrency, 1)
                };
                add(small, &interrupted(0.3));
                // A source that allows a third of what all slots would do.
                let slots = max_vcpus * 4.0 * f64::from(concurrency) / seconds;
                let mut limited = work(records, seconds, concurrency, 1);
                limited.phases[0].source_rate = Some(slots / 3.0);
                add(limited, &interrupted(0.05));
            }
        }
    }
    cases
}

#[test]
fn plans_agree_with_the_simulation() {
    let mut far = Vec::new();
    let (mut worst, mut worst_mixed) = ((0.0f64, 0.0f64), 0.0f64);
    let cases = grid();
    for (n, (work, quotas)) in cases.iter().enumerate() {
        let plan = plan(work, quotas);
        // An estimate is a mean, so small runs are simulated several times.
        let times = match quotas.interruptions_per_hour > 0.0 {
            true => (12_000 / plan.chosen.children.max(1)).clamp(1, 40),
            false => 1,
        };
        let simulations: Vec<_> = (0..times)
            .map(|time| simulate(work, quotas, plan.chunks(), n as u64 * 1000 + time))
            .collect();
        let mean = |of: &dyn Fn(&Simulation) -> f64| {
            simulations.iter().map(of).sum::<f64>() / times as f64
        };
        let makespan = mean(&|simulation| simulation.makespan_seconds);
        let simulated_cost = mean(&|s| cost(work, quotas, &s.usage).total());
        let time = plan.chosen.makespan_seconds / makespan - 1.0;
        let price = plan.chosen.cost.total() / simulated_cost - 1.0;
        let sizes = work.phases.iter().map(|phase| phase.resources.vcpu);
        let mixed = sizes.clone().fold(0.0, f64::max) > sizes.fold(f64::MAX, f64::min);
        worst.1 = worst.1.max(price.abs());
        let time_within = match mixed {
            true => WITHIN_OF_MIXED,
            false => WITHIN,
        };
        match mixed {
            true => worst_mixed = worst_mixed.max(time.abs()),
            false => worst.0 = worst.0.max(time.abs()),
        }
        if time.abs() > time_within || price.abs() > WITHIN {
            far.push(format!(
                "{n}: time {:.1} s, simulated {:.1} ({:+.0}%); cost {:.4}, simulated {simulated_cost:.4} ({:+.0}%); {} children at {} vCPU, {times} runs: {work:?}",
                plan.chosen.makespan_seconds,
                makespan,
                time * 100.0,
                plan.chosen.cost.total(),
                price * 100.0,
                plan.chosen.children,
                quotas.max_vcpus,
            ));
        }
    }
    println!(
        "{} cases, largest difference: time {:.3} ({worst_mixed:.3} with sizes that differ), cost {:.3}",
        cases.len(),
        worst.0,
        worst.1
    );
    assert!(cases.len() >= 200);
    assert!(
        far.is_empty(),
        "{} of {}:\n{}",
        far.len(),
        cases.len(),
        far.join("\n")
    );
}
