//! What the children of a run have done so far, and what that costs.

use serde::{Deserialize, Serialize};

use crate::cost::{Cost, RunCost};
use crate::job::Resources;

/// What the children of a run have done so far, as they report it themselves, for limits and for a
/// display of progress.
///
/// It is an estimate and not an account. Children report every few seconds, so it lags by that much. What
/// a killed child did since its last report is not counted, and a report whose answer was lost may count
/// twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records that a phase processed with status `ok`. A record counts once in each phase.
    pub ok: u64,
    /// Records that failed. A record counts once.
    pub failed: u64,
    /// Attempts of children that started.
    pub tasks: u64,
    /// The billed time of children in milliseconds, by phase. Each child counts at least a minute, as AWS
    /// bills it. Phases after the last one that started are left out.
    pub billed_ms: Vec<u64>,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, more: &Tally) {
        self.ok += more.ok;
        self.failed += more.failed;
        self.tasks += more.tasks;
        for (phase, ms) in more.billed_ms.iter().enumerate() {
            self.add_billed(phase, *ms);
        }
    }

    /// Adds billed time of a phase.
    pub fn add_billed(&mut self, phase: usize, ms: u64) {
        if ms == 0 {
            return;
        }
        if self.billed_ms.len() <= phase {
            self.billed_ms.resize(phase + 1, 0);
        }
        self.billed_ms[phase] += ms;
    }

    /// Records that were processed, once in each phase.
    pub fn done(&self) -> u64 {
        self.ok + self.failed
    }
}

/// What a run costs at list prices: a base, and rates for what its children do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostRates {
    /// What does not depend on the children.
    pub base: Cost,
    /// Each attempt of a child, besides its time.
    pub task: Cost,
    /// Each billed second of a child, by phase.
    pub seconds: Vec<Cost>,
    /// Each outcome.
    pub outcome: Cost,
}

impl CostRates {
    /// What the run has cost so far.
    pub fn cost(&self, tally: &Tally) -> Cost {
        let time = self.seconds.iter().zip(&tally.billed_ms);
        let time = time.map(|(second, ms)| *second * (*ms as f64 / 1000.0));
        time.fold(self.base, |sum, cost| sum + cost)
            + self.task * tally.tasks as f64
            + self.outcome * tally.done() as f64
    }

    /// What the run has used and cost so far. `phases`: what a child of each phase has.
    pub fn run_cost(&self, tally: &Tally, phases: &[Resources]) -> RunCost {
        let mut used = RunCost {
            tasks: tally.tasks,
            usd: self.cost(tally),
            ..RunCost::default()
        };
        for (resources, ms) in phases.iter().zip(&tally.billed_ms) {
            let seconds = *ms as f64 / 1000.0;
            used.task_seconds += seconds;
            used.vcpu_seconds += seconds * resources.vcpu;
            used.gib_seconds += seconds * f64::from(resources.memory_mib) / 1024.0;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billed_time_is_added_by_phase() {
        let mut sum = Tally::default();
        sum.add_billed(1, 60_000);
        let mut more = Tally {
            ok: 3,
            ..Tally::default()
        };
        more.add_billed(0, 90_000);
        more.add_billed(2, 0);
        sum.add(&more);
        assert_eq!(sum.billed_ms, [90_000, 60_000]);
        let resources = |vcpu, memory_mib| Resources {
            vcpu,
            memory_mib,
            ..Resources::SMALLEST
        };
        let used =
            CostRates::default().run_cost(&sum, &[resources(0.25, 512), resources(2.0, 4096)]);
        assert_eq!(used.task_seconds, 150.0);
        assert_eq!(used.vcpu_seconds, 90.0 * 0.25 + 60.0 * 2.0);
        assert_eq!(used.gib_seconds, 90.0 * 0.5 + 60.0 * 4.0);
    }
}
