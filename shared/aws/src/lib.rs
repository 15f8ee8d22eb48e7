//! The ports on AWS. The only code that knows an SDK.

mod config;
mod error;
mod lookup;
mod translate;

pub use config::{retries, sdk_config, timeouts};
pub use lookup::{function_image, secret};
pub use translate::AmazonTranslate;
