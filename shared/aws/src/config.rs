use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// Attempts per call. With the SDK's backoff (a random part of 1, 2, 4, ... seconds, at most 20
/// each) the last one starts about 30 seconds after the first. That gives a throttling service
/// time to recover, and leaves an invocation time to respond.
const ATTEMPTS: u32 = 8;

/// Loads the SDK's configuration from the environment: region, credentials, and the endpoint if
/// `AWS_ENDPOINT_URL` or `AWS_ENDPOINT_URL_<SERVICE>` is set.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(retries())
        .timeout_config(timeouts())
        .load()
        .await
}

/// How calls are retried: after throttling and after failures of the service or the network, with
/// backoff. The adaptive mode also limits the calls per second while the service throttles.
pub fn retries() -> RetryConfig {
    RetryConfig::adaptive().with_max_attempts(ATTEMPTS)
}

/// How long an attempt may take. The SDK's stalled stream protection watches transfers.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        // From the first byte of the request to that of the response: enough for a part of an
        // upload (8 MB) at 150 KB/s.
        .read_timeout(Duration::from_secs(60))
        .build()
}
