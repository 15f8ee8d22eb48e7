//! List prices of AWS in us-east-1, in USD, as of November 2026. Other Regions cost up to 30% more.

use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};

use crate::work::Architecture;

/// The month of the prices below.
pub const DATE: &str = "November 2026";
/// The Region of the prices below.
pub const REGION: &str = "us-east-1";

/// Fargate, per hour. Source: aws.amazon.com/fargate/pricing, Linux.
pub struct Fargate {
    /// One vCPU for an hour.
    pub vcpu_hour: f64,
    /// One GiB of memory for an hour.
    pub gib_hour: f64,
}

/// Returns the On-Demand price of Fargate.
pub const fn fargate(architecture: Architecture) -> Fargate {
    match architecture {
        Architecture::X86 => Fargate {
            vcpu_hour: 0.04048,
            gib_hour: 0.004_445,
        },
        Architecture::Arm => Fargate {
            vcpu_hour: 0.03238,
            gib_hour: 0.003_56,
        },
    }
}

/// What Fargate Spot costs, as a share of the On-Demand price. It changes with demand; the page above
/// says "up to 70% off".
pub const SPOT_SHARE_OF_LIST: f64 = 0.30;
pub use rowmill_domain::limits::BILLED_SECONDS_MIN;
/// One GB of ephemeral storage above the 20 GB that are included, for an hour; the same on both processors.
/// AWS lists no Spot price for it. Source: aws.amazon.com/fargate/pricing.
pub const STORAGE_GB_HOUR: f64 = 0.000_111;
/// A public IPv4 address in use, per hour; billed like the task that has it. Source:
/// aws.amazon.com/vpc/pricing.
pub const IPV4_HOUR: f64 = 0.005;
/// Logs received by CloudWatch, per GB. Source: aws.amazon.com/cloudwatch/pricing.
pub const LOGS_GB: f64 = 0.50;
/// A million write requests of a DynamoDB table on demand. Source: aws.amazon.com/dynamodb/pricing.
pub const LEDGER_WRITES_MILLION: f64 = 0.625;
/// A million read requests of a DynamoDB table on demand. Source: aws.amazon.com/dynamodb/pricing.
pub const LEDGER_READS_MILLION: f64 = 0.125;
/// A million requests of Lambda. Source: aws.amazon.com/lambda/pricing.
pub const LAMBDA_REQUESTS_MILLION: f64 = 0.20;
/// One GB of Lambda for a second, on x86. Source: aws.amazon.com/lambda/pricing.
pub const LAMBDA_GB_SECOND: f64 = 0.000_016_666_7;
/// A thousand PUT requests of S3. Source: aws.amazon.com/s3/pricing.
pub const S3_PUTS_THOUSAND: f64 = 0.005;
/// A thousand GET requests of S3. Source: aws.amazon.com/s3/pricing.
pub const S3_GETS_THOUSAND: f64 = 0.0004;
/// Each write per second above [`rowmill_domain::limits::NEW_TABLE_WRITES`] for which a table is prepared
/// when it is created: once, and as much as an hour of provisioned capacity. Source:
/// aws.amazon.com/dynamodb/pricing, warm throughput.
pub const WARM_WRITE: f64 = 0.00065;

/// Prices of a storage class of S3, in whole billionths of a USD, so that sums are exact. Source:
/// aws.amazon.com/s3/pricing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// One GB (2^30 bytes) for a month.
    pub gb_month: u64,
    /// One PUT or COPY into the class. A transition by a lifecycle rule costs the same.
    pub put: u64,
}

/// Days of a month in [`Storage::gb_month`].
pub const MONTH_DAYS: u64 = 30;

/// S3 Standard, the first 50 TB of a month.
pub const STANDARD: Storage = Storage {
    gb_month: 23_000_000,
    put: 5_000,
};
/// One GET from S3 Standard, in billionths of a USD. Source: aws.amazon.com/s3/pricing.
pub const STANDARD_GET: u64 = 400;

/// Returns the prices of a storage class for archived objects.
pub const fn archive(class: ArchiveClass) -> Storage {
    match class {
        ArchiveClass::InstantRetrieval => Storage {
            gb_month: 4_000_000,
            put: 20_000,
        },
        ArchiveClass::FlexibleRetrieval => Storage {
            gb_month: 3_600_000,
            put: 30_000,
        },
        ArchiveClass::DeepArchive => Storage {
            gb_month: 990_000,
            put: 50_000,
        },
    }
}

/// Days that an archived object is billed for at least, even if it is deleted or overwritten earlier.
/// Source: Amazon S3 User Guide, "Comparing the Amazon S3 storage classes".
pub const fn archive_days_min(class: ArchiveClass) -> u64 {
    match class {
        ArchiveClass::InstantRetrieval | ArchiveClass::FlexibleRetrieval => 90,
        ArchiveClass::DeepArchive => 180,
    }
}

/// Bytes that an archived object is billed for at least. Source: Amazon S3 User Guide, "Comparing the
/// Amazon S3 storage classes".
pub const fn archive_bytes_min(class: ArchiveClass) -> u64 {
    match class {
        ArchiveClass::InstantRetrieval => 128 * 1024,
        ArchiveClass::FlexibleRetrieval | ArchiveClass::DeepArchive => 0,
    }
}

/// Bytes that S3 adds to each archived object: in its class, and in S3 Standard. Source: Amazon S3 User
/// Guide, "Comparing the Amazon S3 storage classes": 32 KB for index and metadata, 8 KB for the name.
pub const fn archive_overhead(class: ArchiveClass) -> (u64, u64) {
    match class {
        ArchiveClass::InstantRetrieval => (0, 0),
        ArchiveClass::FlexibleRetrieval | ArchiveClass::DeepArchive => (32 * 1024, 8 * 1024),
    }
}

/// Prices of reading archived objects, in billionths of a USD. Source: aws.amazon.com/s3/pricing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retrieval {
    /// One GB (2^30 bytes).
    pub gb: u64,
    /// One request.
    pub request: u64,
}

/// Returns the prices of restoring objects. `None`: S3 does not offer this speed for the class.
pub const fn retrieval(class: ArchiveClass, speed: RestoreSpeed) -> Option<Retrieval> {
    let (gb, request) = match (class, speed) {
        (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Expedited) => (30_000_000, 10_000_000),
        (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Standard) => (10_000_000, 50_000),
        (ArchiveClass::FlexibleRetrieval, RestoreSpeed::Bulk) => (0, 0),
        (ArchiveClass::DeepArchive, RestoreSpeed::Standard) => (20_000_000, 100_000),
        (ArchiveClass::DeepArchive, RestoreSpeed::Bulk) => (2_500_000, 25_000),
        (ArchiveClass::DeepArchive, RestoreSpeed::Expedited)
        | (ArchiveClass::InstantRetrieval, _) => return None,
    };
    Some(Retrieval { gb, request })
}
