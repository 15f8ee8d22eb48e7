//! What the children of a run have done so far, and what that costs.

use serde::{Deserialize, Serialize};

/// What the children of a run have done so far, as they report it themselves, for limits and for a
/// display of progress.
///
/// It is an estimate and not an account. Children report every few seconds, so it lags by that much. What
/// a killed child did since its last report is not counted, and a report whose answer was lost may count
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records that a phase processed with status `ok`. A record counts once in each phase.
    pub ok: u64,
    /// Records that failed. A record counts once.
    pub failed: u64,
    /// Attempts of children that started.
    pub tasks: u64,
    /// What their time costs, in billionths of a USD. Each counts at least a minute, as AWS bills it.
    pub time_nanousd: u64,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, more: &Tally) {
        self.ok += more.ok;
        self.failed += more.failed;
        self.tasks += more.tasks;
        self.time_nanousd += more.time_nanousd;
    }

    /// Records that were processed, once in each phase.
    pub fn done(&self) -> u64 {
        self.ok + self.failed
    }
}

/// What a run costs at list prices: a base, and rates for what its children do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostRates {
    /// USD that do not depend on the children.
    pub base: f64,
    /// USD for each attempt of a child, besides its time.
    pub task: f64,
    /// USD for each billed second of a child, by phase.
    pub seconds: Vec<f64>,
    /// USD for each outcome.
    pub outcome: f64,
}

impl CostRates {
    /// What the run has cost so far, in USD.
    pub fn usd(&self, tally: &Tally) -> f64 {
        self.base
            + self.task * tally.tasks as f64
            + tally.time_nanousd as f64 / 1e9
            + self.outcome * tally.done() as f64
    }

    /// What this much time of a child in a phase costs, in billionths of a USD.
    pub fn time_nanousd(&self, phase: u16, seconds: f64) -> u64 {
        let rate = self.seconds.get(usize::from(phase)).copied();
        (rate.unwrap_or_default() * seconds * 1e9) as u64
    }
}
