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
pub(crate) async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
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

#[cfg(test)]
mod tests {
    use rowmill_ports::ErrorKind;

    use super::*;

    fn error(kind: ErrorKind) -> PortError {
        PortError::new("GetObject", "s3://b/k", kind, "no")
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        for (kind, calls) in [
            (ErrorKind::Throttled, 2),
            (ErrorKind::Unavailable, 2),
            (ErrorKind::NotFound, 1),
            (ErrorKind::Denied, 1),
        ] {
            let mut made = 0;
            let result = retry(|| {
                made += 1;
                std::future::ready(match made {
                    1 => Err(error(kind)),
                    n => Ok(n),
                })
            })
            .await;
            assert_eq!(made, calls, "{kind:?}");
            assert_eq!(result.is_ok(), calls == 2, "{kind:?}");
        }
    }
}
