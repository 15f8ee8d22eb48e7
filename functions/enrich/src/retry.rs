use std::time::Duration;

use rowmill_ports::PortError;

/// Waits between the attempts at a call, in addition to the retries of the adapter. They are short:
/// if they are not enough, Batch retries the child, which resumes from what it has stored.
const WAITS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1600),
    Duration::from_millis(6400),
];

/// Repeats a call while its error may be temporary, once per wait.
pub(crate) async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, PortError>
where
    F: Future<Output = Result<T, PortError>>,
{
    for wait in WAITS {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, ?wait, "a service failed; retrying");
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
    async fn only_temporary_errors_are_retried() {
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
