//! Why an attempt gave no outputs, and what that says of the host.

use std::error::Error as _;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use rowmill_domain::secret::Secrets;

use super::gate::Sign;
use super::response::Fetched;
use super::retry;
use crate::guard::Refused;
use crate::redacting::redact;

/// Why an attempt gave no outputs.
pub(super) struct Fault {
    pub(super) reason: String,
    /// Whether another attempt may do better.
    pub(super) again: bool,
    /// What it says of the host.
    pub(super) sign: Sign,
}

impl Fault {
    /// The host answered, and it would answer the same again.
    pub(super) fn answered(reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            again: false,
            sign: Sign::Good,
        }
    }

    /// There was nothing to be sent.
    pub(super) fn unsent(reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            again: false,
            sign: Sign::None,
        }
    }

    /// The host, or the way to it, failed.
    pub(super) fn passing(reason: impl Into<String>, connect: bool) -> Fault {
        let reason = reason.into();
        Fault {
            sign: Sign::Bad {
                connect,
                reason: reason.clone(),
            },
            reason,
            again: true,
        }
    }

    /// Without the values of secrets.
    pub(super) fn redacted(mut self, secrets: &Secrets) -> Fault {
        redact(secrets, &mut self.reason);
        if let Sign::Bad { reason, .. } = &mut self.sign {
            redact(secrets, reason);
        }
        self
    }

    /// A status that is no success.
    pub(super) fn status(fetched: &Fetched, reason: String) -> Fault {
        if !retry::is_retryable(fetched.status) {
            return Fault::answered(reason);
        }
        let asked = fetched.headers.get(RETRY_AFTER);
        let asked = asked.and_then(|h| retry::retry_after(h.to_str().ok()?, chrono::Utc::now()));
        if fetched.status == StatusCode::TOO_MANY_REQUESTS || asked.is_some() {
            return Fault {
                reason,
                again: true,
                sign: Sign::Throttled(asked),
            };
        }
        Fault::passing(reason, false)
    }

    /// Why reqwest gave no response.
    pub(super) fn of(error: &reqwest::Error) -> Fault {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(refused) = cause.downcast_ref::<Refused>() {
                return Fault::unsent(refused.to_string());
            }
            source = cause.source();
        }
        if error.is_builder() {
            return Fault::unsent(innermost(error));
        }
        let what = if error.is_connect() {
            "cannot connect"
        } else if error.is_body() || error.is_decode() {
            "the response broke off"
        } else {
            "the request failed"
        };
        let reason = format!("{what}: {}", innermost(error));
        Fault::passing(reason, error.is_connect())
    }
}

/// The last cause, which is the one that says something.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
