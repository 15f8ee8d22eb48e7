//! Adapters of the ports for AWS. The only crate that uses the AWS SDK.
//!
//! | type | port | service | feature |
//! |---|---|---|---|
//! | [`S3Objects`] | `Objects`, `Archive` | S3 | |
//! | [`DynamoLedger`] | `Runs`, `Outcomes`, `Coordination` | DynamoDB | |
//! | `BatchJobs` | `Jobs` | Batch | `batch` |
//! | `SnsTopic` | `Topic` | SNS | `sns` |
//! | `EventBridgeScheduler` | `Scheduler` | EventBridge Scheduler | `scheduler` |
//! | `SesMailer` | `Mailer` | SES | `ses` |
//! | `AmazonTranslate` | `Translator` of `rowmill-steps` | Translate | `translate` |
//!
//! `secret` (feature `secrets`) reads Secrets Manager, and `LambdaFunction` and
//! `function_image` (feature `lambda`) call Lambda. The features keep the SDK of a service out of programs that do not use it.
//!
//! All adapters are created from an [`SdkConfig`], usually that of [`sdk_config`]. They pass the
//! conformance suites of `rowmill-ports` against emulators (`tests/aws`). Errors carry the
//! operation, the resource, the service's message and the request id.
//!
//! ```no_run
//! # async fn example() -> rowmill_ports::Result<()> {
//! use rowmill_aws::{DynamoLedger, sdk_config};
//! use rowmill_ports::Outcomes;
//!
//! let ledger = DynamoLedger::new(&sdk_config().await, "rowmill");
//! for run in ledger.list_tables().await? {
//!     println!("{run}");
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "batch")]
mod batch;
mod config;
mod error;
#[cfg(feature = "lambda")]
mod functions;
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
pub use batch::{Architecture, BatchConfig, BatchJobs, UnknownArchitecture};
pub use config::{retries, sdk_config, timeouts};
#[cfg(feature = "lambda")]
pub use functions::LambdaFunction;
#[cfg(feature = "lambda")]
pub use image::function_image;
pub use ledger::DynamoLedger;
#[cfg(feature = "ses")]
pub use mailer::SesMailer;
pub use objects::{PostedObject, S3Objects, SignedPost};
#[cfg(feature = "scheduler")]
pub use scheduler::EventBridgeScheduler;
#[cfg(feature = "secrets")]
pub use secret::secret;
#[cfg(feature = "sns")]
pub use topic::SnsTopic;
#[cfg(feature = "translate")]
pub use translate::AmazonTranslate;
