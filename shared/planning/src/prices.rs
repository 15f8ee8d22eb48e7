//! List prices of AWS in us-east-1, in USD, as of November 2026. Other Regions cost up to 30% more.

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
/// The shortest time that a task is billed for, in seconds. Source: aws.amazon.com/fargate/pricing.
pub const BILLED_SECONDS_MIN: f64 = 60.0;
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
