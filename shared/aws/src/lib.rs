//! The ports on AWS. The only code that knows an SDK.

mod config;
mod error;
mod ledger;
mod lookup;
mod objects;
mod translate;

pub use config::{retries, sdk_config, timeouts};
pub use ledger::DynamoLedger;
pub use lookup::{function_image, secret};
pub use objects::S3Objects;
pub use translate::AmazonTranslate;
