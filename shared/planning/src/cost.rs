//! What a run costs at list prices.

use rowmill_domain::cost::Cost;
use rowmill_domain::limits::{CHUNK_RECORDS, NEW_TABLE_WRITES};
use rowmill_domain::tally::CostRates;

use crate::prices;
use crate::work::{Quotas, Work};

/// Log of one task, in bytes: an assumption for the few lines of a task without problems.
const LOG_BYTES: f64 = 2_000.0;
/// GB-seconds of all functions for a run of any size, and for each million records: an assumption,
/// which is not measured on AWS.
const LAMBDA_GB_SECONDS: (f64, f64) = (20.0, 400.0);
/// Bytes that one DynamoDB read unit covers.
const READ_UNIT_BYTES: f64 = 4096.0;
/// The size of an outcome in the ledger: an assumption.
const OUTCOME_BYTES: f64 = 400.0;

/// What a run uses, whoever counted it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tasks, each attempt counted.
    pub tasks: f64,
    /// Billed seconds of all tasks, by phase, at least [`prices::BILLED_SECONDS_MIN`] each.
    pub billed_seconds: Vec<f64>,
    /// Outcomes stored.
    pub outcomes: f64,
    /// Jobs: chunks times phases.
    pub jobs: f64,
    /// Writes per second for which the table is prepared.
    pub table_writes: u32,
}

/// Prices what a run uses.
pub fn cost(work: &Work, quotas: &Quotas, usage: &Usage) -> Cost {
    let fargate = prices::fargate(quotas.architecture);
    let (mut hours, mut vcpu, mut memory, mut storage) = (0.0, 0.0, 0.0, 0.0);
    for (phase, seconds) in work.phases.iter().zip(&usage.billed_seconds) {
        let (of_phase, resources) = (seconds / 3600.0, &phase.resources);
        hours += of_phase;
        vcpu += of_phase * resources.vcpu * fargate.vcpu_hour;
        memory += of_phase * f64::from(resources.memory_mib) / 1024.0 * fargate.gib_hour;
        storage += of_phase * f64::from(resources.billed_storage()) * prices::STORAGE_GB_HOUR;
    }
    let mix = 1.0 - quotas.spot_share * (1.0 - prices::SPOT_SHARE_OF_LIST);
    let address = if quotas.public_addresses {
        prices::IPV4_HOUR
    } else {
        0.0
    };
    let million = 1e6;
    // Each outcome is read once by report, and most of them once more by a task that resumes.
    let reads = usage.outcomes * OUTCOME_BYTES / READ_UNIT_BYTES * 2.0;
    let (for_all, for_million) = LAMBDA_GB_SECONDS;
    let gb_seconds = for_all + for_million * usage.outcomes / million;
    // Manifest and chunk for each task; chunks, archived rows and a few others are written.
    let chunks = usage.outcomes / f64::from(CHUNK_RECORDS) + 1.0;
    Cost {
        vcpu: vcpu * mix,
        memory: memory * mix,
        storage,
        addresses: hours * address,
        logs: usage.tasks * LOG_BYTES / 1e9 * prices::LOGS_GB,
        ledger: f64::from(usage.table_writes.saturating_sub(NEW_TABLE_WRITES)) * prices::WARM_WRITE
            + usage.outcomes / million * prices::LEDGER_WRITES_MILLION
            + reads / million * prices::LEDGER_READS_MILLION,
        functions: gb_seconds * prices::LAMBDA_GB_SECOND
            + (usage.jobs + 10.0) / million * prices::LAMBDA_REQUESTS_MILLION,
        objects: usage.tasks * 2.0 / 1000.0 * prices::S3_GETS_THOUSAND
            + (chunks * 2.0 + 10.0) / 1000.0 * prices::S3_PUTS_THOUSAND,
        on_demand: vcpu + memory,
    }
}

/// What a run costs for what its children do, so that its cost is known while it runs. `jobs` and
/// `table_writes` as in [`Usage`].
pub fn rates(work: &Work, quotas: &Quotas, jobs: u64, table_writes: u32) -> CostRates {
    // The cost is linear, and so many that rounding does not matter.
    const MANY: f64 = 1e6;
    let phases = work.phases.len();
    let none = || Usage {
        billed_seconds: vec![0.0; phases],
        jobs: jobs as f64,
        table_writes,
        ..Usage::default()
    };
    let base = cost(work, quotas, &none());
    let rate = |change: &dyn Fn(&mut Usage)| {
        let mut usage = none();
        change(&mut usage);
        (cost(work, quotas, &usage) - base) * MANY.recip()
    };
    CostRates {
        base,
        task: rate(&|usage| usage.tasks = MANY),
        seconds: (0..phases)
            .map(|phase| rate(&|usage| usage.billed_seconds[phase] = MANY))
            .collect(),
        outcome: rate(&|usage| usage.outcomes = MANY),
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::job::Resources;
    use rowmill_domain::tally::Tally;

    use super::*;
    use crate::work::Phase;

    fn work() -> Work {
        let resources = |vcpu| Resources {
            vcpu,
            ..Resources::SMALLEST
        };
        let phase = |vcpu| Phase {
            seconds_per_record: 1.0,
            source_rate: None,
            resources: resources(vcpu),
        };
        Work {
            records: 1,
            phases: vec![phase(0.25), phase(1.0)],
            concurrency: 1,
            timeout_seconds: 3600,
            max_children: None,
            table_writes: 40_000,
            records_per_child: None,
            within_seconds: None,
        }
    }

    #[test]
    fn rates_give_the_cost_of_the_plan() {
        let (work, quotas) = (work(), Quotas::default());
        let seconds = [123_456.0, 7_000.0];
        let usage = Usage {
            tasks: 420.0,
            billed_seconds: seconds.to_vec(),
            outcomes: 98_765.0,
            jobs: 12.0,
            table_writes: 5_000,
        };
        let planned = cost(&work, &quotas, &usage);
        let rates = rates(&work, &quotas, 12, 5_000);
        let tally = Tally {
            ok: 90_000,
            failed: 8_765,
            tasks: 420,
            billed_ms: seconds.map(|seconds| (seconds * 1000.0) as u64).to_vec(),
        };
        let rated = rates.cost(&tally);
        // Each part, and not only the sum.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.max(1e-6);
        assert!(
            close(rated.total(), planned.total()),
            "{rated:?} {planned:?}"
        );
        assert!(close(rated.vcpu, planned.vcpu) && close(rated.ledger, planned.ledger));
        assert!(close(rated.total_on_demand(), planned.total_on_demand()));
        // By hand: 0.25 vCPU and 0.5 GiB on Spot, and an address.
        let hour = (0.25 * 0.04048 + 0.5 * 0.004_445) * 0.3 + 0.005;
        let second = rates.seconds[0].total();
        assert!((second * 3600.0 / hour - 1.0).abs() < 1e-6, "{second}");
    }

    #[test]
    fn only_writes_above_the_free_ones_cost() {
        let work = work();
        let prepared = |table_writes| {
            let usage = Usage {
                table_writes,
                ..Usage::default()
            };
            cost(&work, &Quotas::default(), &usage).ledger
        };
        assert_eq!(prepared(4000), 0.0);
        assert!((prepared(40_000) - 23.4).abs() < 1e-9);
    }

    #[test]
    fn each_phase_costs_what_its_size_costs() {
        let phase = |resources| Phase {
            seconds_per_record: 1.0,
            source_rate: None,
            resources,
        };
        let large = Resources {
            vcpu: 2.0,
            memory_mib: 8192,
            storage_gib: Some(120),
        };
        let work = Work {
            records: 1,
            phases: vec![phase(Resources::SMALLEST), phase(large)],
            concurrency: 1,
            timeout_seconds: 3600,
            max_children: None,
            table_writes: 4000,
            records_per_child: None,
            within_seconds: None,
        };
        let quotas = Quotas {
            spot_share: 0.0,
            ..Quotas::default()
        };
        let of = |billed_seconds: Vec<f64>| {
            let usage = Usage {
                billed_seconds,
                ..Usage::default()
            };
            let cost = cost(&work, &quotas, &usage);
            [cost.vcpu, cost.memory, cost.storage].map(|usd| (usd * 1e6).round())
        };
        // An hour of the list prices above: 0.25 vCPU and half a GiB; 2 vCPU, 8 GiB, 100 GB of storage.
        assert_eq!(of(vec![3600.0, 0.0]), [10_120.0, 2_223.0, 0.0]);
        assert_eq!(of(vec![0.0, 3600.0]), [80_960.0, 35_560.0, 11_100.0]);
        assert_eq!(of(vec![3600.0, 3600.0]), [91_080.0, 37_783.0, 11_100.0]);
    }
}
