use std::time::Duration;

use rowmill_ports::PortError;

/// Waits between the tries of a call to a service, beyond those the adapter makes itself. Short
/// in sum: Batch tries the whole child again, from what it has stored.
const WAITS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1600),
    Duration::from_millis(6400),
];

/// Calls until it succeeds, fails for good, or has failed once more than there are waits.
pub(crate) async fn retry<T>(
    mut call: impl AsyncFnMut() -> Result<T, PortError>,
) -> Result<T, PortError> {
    for wait in WAITS {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, ?wait, "a service failed; trying again");
                tokio::time::sleep(wait).await;
            }
            other => return other,
        }
    }
    call().await
}
