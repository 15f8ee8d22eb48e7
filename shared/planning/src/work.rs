//! What a run has to do, and what it can use.

use rowmill_domain::job::Resources;
use rowmill_domain::limits::{CHUNK_RECORDS, FARGATE_LAUNCH_BURST, FARGATE_LAUNCHES_PER_SECOND};

/// What a run has to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The number of records.
    pub records: u64,
    /// The phases in order, at least one.
    pub phases: Vec<Phase>,
    /// How many records a child processes at the same time, at least 1.
    pub concurrency: u32,
    /// The time limit of an attempt of a child, in seconds. Plans stay below half of it where they
    /// can, because a child that exceeds it loses its records.
    pub timeout_seconds: u32,
    /// Maximum number of children of a phase. `None`: no limit.
    pub max_children: Option<u32>,
    /// The most writes per second for which the table of the run's outcomes is prepared, at least
    /// [`rowmill_domain::limits::NEW_TABLE_WRITES`].
    pub table_writes: u32,
    /// The number of records of each child. `None`: the planner chooses.
    pub records_per_child: Option<u32>,
    /// The time in which the run should end, in seconds. `None`: no target.
    pub within_seconds: Option<f64>,
}

/// One phase of the work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// Seconds to process a record, above 0.
    pub seconds_per_record: f64,
    /// The most records per second that its sources allow, all children together. `None`: no limit.
    pub source_rate: Option<f64>,
    /// What a child gets.
    pub resources: Resources,
}

/// The processor of the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86_64.
    X86,
    /// arm64.
    Arm,
}

/// What a run can use. The default is a new deployment on x86.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// vCPUs in use at the same time: `MaxVcpus` of the stack, or the quota of the account.
    pub max_vcpus: f64,
    /// Addresses in the subnets of the jobs; a task uses one.
    pub addresses: u32,
    /// Tasks that can be launched at once.
    pub launch_burst: f64,
    /// Further launches per second.
    pub launches_per_second: f64,
    /// Seconds from the launch of a task until its first record, all of them billed.
    pub startup_seconds: f64,
    /// The share of tasks that run on Spot, 0 to 1.
    pub spot_share: f64,
    /// How often a Spot task is interrupted per hour.
    pub interruptions_per_hour: f64,
    /// The processor.
    pub architecture: Architecture,
    /// Whether each task has a public IPv4 address.
    pub public_addresses: bool,
    /// The most records of a chunk, at most [`CHUNK_RECORDS`]. Less only in tests.
    pub chunk_records: u32,
}

/// `MaxVcpus` in `template.yaml`, unless the stack sets another number.
pub const MAX_VCPUS: f64 = 512.0;
/// Two subnets of 32,763 addresses: the network that the stack creates (`docs/deploy.md`).
const ADDRESSES: u32 = 2 * 32_763;
/// An assumption, which is not measured: to get an address, pull a small image and start it.
const STARTUP_SECONDS: f64 = 30.0;
/// An assumption, which is not measured: AWS publishes no rate for Fargate Spot, and "less than 5%"
/// per month for most EC2 Spot pools.
const INTERRUPTIONS_PER_HOUR: f64 = 0.05;

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            max_vcpus: MAX_VCPUS,
            addresses: ADDRESSES,
            launch_burst: f64::from(FARGATE_LAUNCH_BURST),
            launches_per_second: f64::from(FARGATE_LAUNCHES_PER_SECOND),
            startup_seconds: STARTUP_SECONDS,
            spot_share: 1.0,
            interruptions_per_hour: INTERRUPTIONS_PER_HOUR,
            architecture: Architecture::X86,
            public_addresses: true,
            chunk_records: CHUNK_RECORDS,
        }
    }
}

impl Quotas {
    /// How many children with this number of vCPUs can run at the same time, at least 1.
    pub fn slots(&self, vcpu: f64) -> u64 {
        let by_quota = (self.max_vcpus / vcpu).floor();
        by_quota.min(f64::from(self.addresses)).max(1.0) as u64
    }
}
