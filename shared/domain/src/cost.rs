//! What a run costs, by what it is for.

use std::ops::{Add, Mul, Sub};

use serde::{Deserialize, Serialize};

/// The cost of a run in USD, at list prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// vCPUs, at the mix of Spot and On-Demand.
    pub vcpu: f64,
    /// Memory, at the mix of Spot and On-Demand.
    pub memory: f64,
    /// Ephemeral storage above what is included. Spot does not make it cheaper.
    pub storage: f64,
    /// Public IPv4 addresses.
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
    /// Returns the sum.
    pub fn total(&self) -> f64 {
        self.vcpu + self.memory + self.besides()
    }

    /// Returns the sum if no task runs on Spot.
    pub fn total_on_demand(&self) -> f64 {
        self.on_demand + self.besides()
    }

    fn besides(&self) -> f64 {
        self.storage + self.addresses + self.logs + self.ledger + self.functions + self.objects
    }

    /// Combines each part with the same part of another cost.
    fn with(self, other: Cost, f: impl Fn(f64, f64) -> f64) -> Cost {
        Cost {
            vcpu: f(self.vcpu, other.vcpu),
            memory: f(self.memory, other.memory),
            storage: f(self.storage, other.storage),
            addresses: f(self.addresses, other.addresses),
            logs: f(self.logs, other.logs),
            ledger: f(self.ledger, other.ledger),
            functions: f(self.functions, other.functions),
            objects: f(self.objects, other.objects),
            on_demand: f(self.on_demand, other.on_demand),
        }
    }
}

impl Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        self.with(other, |a, b| a + b)
    }
}

impl Sub for Cost {
    type Output = Cost;
    fn sub(self, other: Cost) -> Cost {
        self.with(other, |a, b| a - b)
    }
}

impl Mul<f64> for Cost {
    type Output = Cost;
    fn mul(self, times: f64) -> Cost {
        self.with(Cost::default(), |part, _| part * times)
    }
}

/// What was planned for a run before it started, to compare with what it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Seconds from the first launch of a child to the end of the last one.
    pub seconds: f64,
    /// USD.
    pub cost: f64,
    /// USD if each record had a child of its own.
    pub cost_one_per_child: f64,
}

/// What a run used and cost on AWS, or would have.
///
/// It comes from what children report about themselves ([`Tally`](crate::tally::Tally)) and from list
/// prices. It is an estimate and not the account's bill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunCost {
    /// Attempts of children that started.
    pub tasks: u64,
    /// Billed seconds of all children, at least
    /// [`BILLED_SECONDS_MIN`](crate::limits::BILLED_SECONDS_MIN) each.
    pub task_seconds: f64,
    /// vCPUs times billed seconds.
    pub vcpu_seconds: f64,
    /// GiB of memory times billed seconds.
    pub gib_seconds: f64,
    /// USD.
    pub usd: Cost,
}

/// What a run used and cost, compared with the plan and with one record per child, as `--json` and the API
/// show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostReport {
    /// USD at list prices, all parts together.
    pub usd: f64,
    /// USD for each record. `None`: the run has no records.
    pub usd_per_record: Option<f64>,
    /// USD by what they are for.
    pub usd_by: Cost,
    /// Attempts of children that started.
    pub tasks: u64,
    /// Billed seconds of all children.
    pub task_seconds: f64,
    /// vCPUs times billed seconds.
    pub vcpu_seconds: f64,
    /// GiB of memory times billed seconds.
    pub gib_seconds: f64,
    /// What the plan expected. `None`: the run is of an earlier version.
    pub planned: Option<Planned>,
}

impl CostReport {
    /// Compares what a run with this number of records used with what was planned.
    pub fn new(used: &RunCost, planned: Option<Planned>, records: u64) -> CostReport {
        let usd = used.usd.total();
        CostReport {
            usd,
            usd_per_record: (records > 0).then(|| usd / records as f64),
            usd_by: used.usd,
            tasks: used.tasks,
            task_seconds: used.task_seconds,
            vcpu_seconds: used.vcpu_seconds,
            gib_seconds: used.gib_seconds,
            planned,
        }
    }
}

/// The number of an amount of USD as people read it, with more digits the smaller it is: `1,204`, `6.18`,
/// `0.0042`, `0.00000071`.
pub fn usd(amount: f64) -> String {
    match amount {
        amount if amount >= 1000.0 => {
            let digits = format!("{amount:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        amount if amount >= 0.1 => format!("{amount:.2}"),
        amount if amount >= 0.001 || amount == 0.0 => format!("{amount:.4}"),
        // Two digits that are not 0.
        amount => {
            let places = (1.0 - amount.abs().log10().floor()) as usize;
            format!("{amount:.*}", places.min(12))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_digits_that_matter() {
        let texts = [1_203.6, 1_234_567.0, 6.181, 0.004_21, 0.0, 0.000_000_714];
        let texts = texts.map(usd);
        assert_eq!(
            texts,
            [
                "1,204",
                "1,234,567",
                "6.18",
                "0.0042",
                "0.0000",
                "0.00000071"
            ]
        );
    }

    #[test]
    fn a_report_compares_by_record() {
        let used = RunCost {
            usd: Cost {
                vcpu: 1.0,
                ledger: 0.5,
                on_demand: 9.0,
                ..Cost::default()
            },
            ..RunCost::default()
        };
        let report = CostReport::new(&used, None, 300);
        assert_eq!((report.usd, report.usd_per_record), (1.5, Some(0.005)));
        assert_eq!(CostReport::new(&used, None, 0).usd_per_record, None);
    }
}
