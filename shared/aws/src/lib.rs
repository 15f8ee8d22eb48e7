//! The ports on AWS. The only code that knows an SDK.

mod batch;
mod config;
mod error;
mod ledger;
mod lookup;
mod mailer;
mod objects;
mod scheduler;
mod topic;
mod translate;

pub use batch::{Architecture, BatchConfig, BatchJobs, Capacity, UnknownName};
pub use config::{retries, sdk_config, timeouts};
pub use ledger::DynamoLedger;
pub use lookup::{function_image, secret};
pub use mailer::SesMailer;
pub use objects::S3Objects;
pub use scheduler::EventBridgeScheduler;
pub use topic::SnsTopic;
pub use translate::AmazonTranslate;
