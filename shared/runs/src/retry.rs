//! Repeating calls, in addition to the retries of the adapters.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use rowmill_ports::{ErrorKind, PortError};

/// An error that may be transient.
pub trait Transient {
    /// Whether the same call may succeed later.
    fn is_transient(&self) -> bool;
    /// Whether the service asked for fewer calls.
    fn is_throttled(&self) -> bool;
}

impl Transient for PortError {
    fn is_transient(&self) -> bool {
        self.is_retryable()
    }

    fn is_throttled(&self) -> bool {
        self.kind == ErrorKind::Throttled
    }
}

/// Pauses of 0.1, 0.4, 1.6 and 6.4 seconds. They are short: if they are not enough, the caller
/// itself is retried and resumes from what it has stored.
const TRANSIENT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_factor(4.0)
    .with_max_times(4);

/// Pauses from 0.1 to 6.4 seconds, each twice as long as the one before.
const THROTTLED: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_factor(2.0)
    .with_max_times(7);

/// Makes a call, and repeats it up to 4 times within 9 seconds while its error is transient.
///
/// # Errors
/// The last error.
pub async fn retry_transient<T, E, F>(call: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Transient + std::fmt::Display,
{
    repeat(call, TRANSIENT, E::is_transient).await
}

/// Makes a call, and repeats it up to 7 times within 13 seconds while the service throttles it.
/// Use it for calls that must not be repeated after other errors, such as submitting a job.
///
/// # Errors
/// The last error.
pub async fn retry_throttled<T, E, F>(call: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Transient + std::fmt::Display,
{
    repeat(call, THROTTLED, E::is_throttled).await
}

async fn repeat<T, E, F>(
    call: impl FnMut() -> F,
    pauses: ExponentialBuilder,
    when: impl FnMut(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let warn = |error: &E, pause| tracing::warn!(%error, ?pause, "a call failed; retrying");
    call.retry(pauses).when(when).notify(warn).await
}

#[cfg(test)]
mod tests {
    use backon::BackoffBuilder;

    use super::*;

    /// Calls until `succeeds` calls are made, each failing before that, without real pauses.
    async fn made(
        pauses: ExponentialBuilder,
        when: fn(&PortError) -> bool,
        kind: ErrorKind,
        succeeds: u32,
    ) -> (Result<u32, ErrorKind>, u32) {
        let mut made = 0;
        let call = || {
            made += 1;
            std::future::ready(match made < succeeds {
                true => Err(PortError::new("GetObject", "s3://b/k", kind, "no")),
                false => Ok(made),
            })
        };
        let pauses = pauses.with_min_delay(Duration::from_micros(1));
        let result = repeat(call, pauses, when).await;
        (result.map_err(|error| error.kind), made)
    }

    #[tokio::test]
    async fn only_transient_errors_are_retried() {
        for (kind, retried) in [
            (ErrorKind::Throttled, true),
            (ErrorKind::Unavailable, true),
            (ErrorKind::NotFound, false),
            (ErrorKind::Conflict, false),
            (ErrorKind::Invalid, false),
            (ErrorKind::Denied, false),
        ] {
            let expected = if retried { (Ok(2), 2) } else { (Err(kind), 1) };
            let result = made(TRANSIENT, PortError::is_transient, kind, 2).await;
            assert_eq!(result, expected, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn only_throttled_calls_are_retried_if_a_call_must_not_be_repeated_otherwise() {
        let throttled = PortError::is_throttled;
        let kind = ErrorKind::Throttled;
        assert_eq!(made(THROTTLED, throttled, kind, 4).await, (Ok(4), 4));
        let kind = ErrorKind::Unavailable;
        assert_eq!(made(THROTTLED, throttled, kind, 4).await, (Err(kind), 1));
    }

    #[tokio::test]
    async fn retries_end_with_the_last_error() {
        let kind = ErrorKind::Throttled;
        let transient = made(TRANSIENT, PortError::is_transient, kind, u32::MAX).await;
        assert_eq!(transient, (Err(kind), 5));
        let throttled = made(THROTTLED, PortError::is_throttled, kind, u32::MAX).await;
        assert_eq!(throttled, (Err(kind), 8));
    }

    #[test]
    fn pauses_are_as_documented() {
        let millis = |pauses: ExponentialBuilder| {
            let pauses = pauses.build();
            pauses.map(|pause| pause.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(millis(TRANSIENT), [100, 400, 1600, 6400]);
        assert_eq!(millis(THROTTLED), [100, 200, 400, 800, 1600, 3200, 6400]);
    }
}
