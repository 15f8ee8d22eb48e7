//! Why an attempt failed, and what that says about the host.

use std::error::Error as _;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use rowmill_domain::secret::Secrets;
use rowmill_pipeline::RETRY_ON;

use super::host_limiter::HostSignal;
use super::response::HttpResponse;
use super::retry;
use crate::guard::Refused;
use crate::redacting::redact;

/// Why an attempt failed.
pub(super) struct AttemptError {
    pub(super) reason: String,
    /// Whether another attempt may succeed.
    pub(super) retryable: bool,
    /// What the error shows about the host.
    pub(super) signal: HostSignal,
}

impl AttemptError {
    /// The host answered, and would answer the same again.
    pub(super) fn permanent(reason: impl Into<String>) -> AttemptError {
        AttemptError {
            reason: reason.into(),
            retryable: false,
            signal: HostSignal::Healthy,
        }
    }

    /// The request was not sent.
    pub(super) fn not_sent(reason: impl Into<String>) -> AttemptError {
        AttemptError {
            reason: reason.into(),
            retryable: false,
            signal: HostSignal::Unknown,
        }
    }

    /// The host or the network failed. `connect`: no connection was made.
    pub(super) fn transient(reason: impl Into<String>, connect: bool) -> AttemptError {
        let reason = reason.into();
        AttemptError {
            signal: HostSignal::Failing {
                connect,
                reason: reason.clone(),
            },
            reason,
            retryable: true,
        }
    }

    /// Replaces the values of secrets.
    pub(super) fn redacted(mut self, secrets: &Secrets) -> AttemptError {
        redact(secrets, &mut self.reason);
        if let HostSignal::Failing { reason, .. } = &mut self.signal {
            redact(secrets, reason);
        }
        self
    }

    /// The response has a status that is not a success.
    pub(super) fn status(
        response: &HttpResponse,
        reason: String,
        retry_on: &[u16],
    ) -> AttemptError {
        if !retry_on.contains(&response.status.as_u16()) {
            return AttemptError::permanent(reason);
        }
        let pause = response.headers.get(RETRY_AFTER);
        let pause = pause.and_then(|h| retry::retry_after(h.to_str().ok()?, chrono::Utc::now()));
        if response.status == StatusCode::TOO_MANY_REQUESTS || pause.is_some() {
            return AttemptError {
                reason,
                retryable: true,
                signal: HostSignal::Throttled(pause),
            };
        }
        if response.status.is_client_error() && !RETRY_ON.contains(&response.status.as_u16()) {
            // The pipeline expects it, for example until a job at the source is done.
            return AttemptError {
                retryable: true,
                ..AttemptError::permanent(reason)
            };
        }
        AttemptError::transient(reason, false)
    }

    /// Reqwest returned no response.
    pub(super) fn of(error: &reqwest::Error) -> AttemptError {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(refused) = cause.downcast_ref::<Refused>() {
                return AttemptError::not_sent(refused.to_string());
            }
            source = cause.source();
        }
        if error.is_builder() {
            return AttemptError::not_sent(innermost(error));
        }
        let what = if error.is_connect() {
            "cannot connect"
        } else if error.is_body() || error.is_decode() {
            "the connection was lost while reading the response"
        } else {
            "the request failed"
        };
        let reason = format!("{what}: {}", innermost(error));
        AttemptError::transient(reason, error.is_connect())
    }
}

/// The last cause, which is the specific one.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
