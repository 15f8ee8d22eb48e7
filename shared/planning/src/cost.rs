//! What a run costs at list prices.

use rowmill_domain::limits::{CHUNK_RECORDS, NEW_TABLE_WRITES};

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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tasks, each attempt counted.
    pub tasks: f64,
    /// Billed seconds of all tasks, at least [`prices::BILLED_SECONDS_MIN`] each.
    pub billed_seconds: f64,
    /// Outcomes stored.
    pub outcomes: f64,
    /// Jobs: chunks times phases.
    pub jobs: f64,
    /// Writes per second for which the table is prepared.
    pub table_writes: u32,
}

/// The cost of a run in USD.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// vCPUs, at the mix of Spot and On-Demand.
    pub vcpu: f64,
    /// Memory, at the mix of Spot and On-Demand.
    pub memory: f64,
    /// Public addresses.
    pub addresses: f64,
    /// Logs.
    pub logs: f64,
    /// DynamoDB.
    pub ledger: f64,
    /// Lambda.
    pub functions: f64,
    /// S3.
    pub objects: f64,
    /// vCPUs and memory, if all of it were On-Demand.
    pub on_demand: f64,
}

impl Cost {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.vcpu + self.memory + self.besides()
    }

    /// The sum if no task runs on Spot.
    pub fn total_on_demand(&self) -> f64 {
        self.on_demand + self.besides()
    }

    fn besides(&self) -> f64 {
        self.addresses + self.logs + self.ledger + self.functions + self.objects
    }
}

/// Prices what a run uses.
pub fn cost(work: &Work, quotas: &Quotas, usage: &Usage) -> Cost {
    let fargate = prices::fargate(quotas.architecture);
    let hours = usage.billed_seconds / 3600.0;
    let vcpu = hours * work.vcpu * fargate.vcpu_hour;
    let memory = hours * f64::from(work.memory_mib) / 1024.0 * fargate.gib_hour;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Phase;

    #[test]
    fn only_writes_above_the_free_ones_cost() {
        let work = Work {
            records: 1,
            phases: vec![Phase {
                seconds_per_record: 1.0,
                source_rate: None,
            }],
            concurrency: 1,
            vcpu: 0.25,
            memory_mib: 512,
            timeout_seconds: 3600,
            max_children: None,
            table_writes: 40_000,
            records_per_child: None,
            within_seconds: None,
        };
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
}
