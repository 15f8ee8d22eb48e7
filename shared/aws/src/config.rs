use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// Tries of a call in all. With the SDK's backoff (a random part of 1, 2, 4, ... seconds, at most
/// 20 each) the last one comes about 30 seconds after the first: a throttled service has time to
/// let go, and an invocation time to answer.
const ATTEMPTS: u32 = 8;

/// The SDK's configuration from the environment: region, credentials, and where
/// `AWS_ENDPOINT_URL` or `AWS_ENDPOINT_URL_<SERVICE>` is set, the endpoint.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(retries())
        .timeout_config(timeouts())
        .load()
        .await
}

/// How calls are tried again: throttling and failures of the service or the way to it, with
/// backoff, and by the adaptive mode fewer calls a second while the service throttles.
pub fn retries() -> RetryConfig {
    RetryConfig::adaptive().with_max_attempts(ATTEMPTS)
}

/// How long a try may take. What moves bytes is watched by the SDK's stalled stream protection.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        // From the request's first byte to the answer's: a part of an upload (8 MB) at 150 KB/s.
        .read_timeout(Duration::from_secs(60))
        .build()
}
