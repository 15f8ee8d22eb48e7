//! The ports on AWS. The only code that knows an SDK.

#[cfg(feature = "batch")]
mod batch;
mod config;
mod error;
#[cfg(feature = "lambda")]
mod image;
mod ledger;
#[cfg(feature = "ses")]
mod mailer;
mod objects;
#[cfg(feature = "scheduler")]
mod scheduler;
#[cfg(feature = "secrets")]
mod secret;
#[cfg(feature = "sns")]
mod topic;
#[cfg(feature = "translate")]
mod translate;

pub use aws_config::SdkConfig;
#[cfg(feature = "batch")]
pub use batch::{Architecture, BatchConfig, BatchJobs, Capacity, UnknownName};
pub use config::{retries, sdk_config, timeouts};
#[cfg(feature = "lambda")]
pub use image::function_image;
pub use ledger::DynamoLedger;
#[cfg(feature = "ses")]
pub use mailer::SesMailer;
pub use objects::S3Objects;
#[cfg(feature = "scheduler")]
pub use scheduler::EventBridgeScheduler;
#[cfg(feature = "secrets")]
pub use secret::secret;
#[cfg(feature = "sns")]
pub use topic::SnsTopic;
#[cfg(feature = "translate")]
pub use translate::AmazonTranslate;
