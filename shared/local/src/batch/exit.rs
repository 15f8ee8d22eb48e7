//! How an attempt ended, and what a retry strategy makes of it. Pure.

use rowmill_domain::job::{self, ExitAction, RetryStrategy};

/// `statusReason` of an attempt whose program ended, with whatever code.
pub(super) const EXITED: &str = "Essential container in task exited";
/// `statusReason` of an attempt that ran longer than its limit.
pub(super) const TIMED_OUT: &str = "Job attempt duration exceeded timeout";
/// `statusReason` of an attempt whose program could not be started.
pub(super) const NOT_STARTED: &str = "Task failed to start";
/// `statusReason` of an attempt whose host was taken away.
pub(super) const HOST_TERMINATED: &str = "Host EC2 (instance i-local) terminated.";
/// `statusReason` of a job that never ran because another one failed.
pub(super) const DEPENDENCY_FAILED: &str = "Dependent Job failed";
/// `statusReason` of an array of which a child failed.
pub(super) const CHILD_FAILED: &str = "Array Child Job failed";

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// The program ended by itself: its exit code, or 128 + the signal's number.
    Exited(i32),
    /// It was ended for running too long, and left with that code. Never tried again. Source:
    /// AWS Batch user guide, "Job timeouts".
    TimedOut(i32),
    /// The program could not be started, for that reason.
    NotStarted(String),
    /// Its host was taken away: no exit code.
    HostTerminated,
}

impl AttemptEnd {
    /// The container's exit code, where there was one.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self {
            AttemptEnd::Exited(code) | AttemptEnd::TimedOut(code) => Some(*code),
            AttemptEnd::NotStarted(_) | AttemptEnd::HostTerminated => None,
        }
    }

    /// The attempt's `statusReason`.
    pub(super) fn status_reason(&self) -> &'static str {
        match self {
            AttemptEnd::Exited(_) => EXITED,
            AttemptEnd::TimedOut(_) => TIMED_OUT,
            AttemptEnd::NotStarted(_) => NOT_STARTED,
            AttemptEnd::HostTerminated => HOST_TERMINATED,
        }
    }

    /// The container's `reason`.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            AttemptEnd::NotStarted(why) => Some(format!("CannotStartContainerError: {why}")),
            _ => None,
        }
    }

    /// Whether the job is done.
    pub(super) fn succeeded(&self) -> bool {
        *self == AttemptEnd::Exited(0)
    }

    /// Whether a job that failed so, after `attempts` attempts with this one, is tried again.
    pub(super) fn retried(&self, retry: &RetryStrategy, attempts: u32) -> bool {
        let reason = self.reason();
        let end = job::AttemptEnd {
            status_reason: self.status_reason(),
            reason: reason.as_deref(),
            exit_code: self.exit_code(),
        };
        attempts < retry.attempts
            && !matches!(self, AttemptEnd::TimedOut(_))
            && retry.action(end) == ExitAction::Retry
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::job::EvaluateOnExit;

    use super::*;

    fn rule(
        status: Option<&str>,
        reason: Option<&str>,
        code: Option<&str>,
        action: ExitAction,
    ) -> EvaluateOnExit {
        EvaluateOnExit {
            on_status_reason: status.map(str::to_owned),
            on_reason: reason.map(str::to_owned),
            on_exit_code: code.map(str::to_owned),
            action,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        use ExitAction::{Exit, Retry};
        let spot = || rule(Some("Host EC2*"), None, None, Retry);
        let all = || rule(None, Some("*"), None, Exit);
        let lost = || AttemptEnd::HostTerminated;
        let absent = || AttemptEnd::NotStarted("no such file".into());
        let table = [
            // No rule, or none that matches: again.
            (vec![], AttemptEnd::Exited(1), true),
            (
                vec![rule(None, None, Some("2"), Exit)],
                AttemptEnd::Exited(1),
                true,
            ),
            (
                vec![rule(None, None, Some("2"), Exit)],
                AttemptEnd::Exited(2),
                false,
            ),
            // Exact unless it ends in *.
            (
                vec![rule(None, None, Some("1"), Exit)],
                AttemptEnd::Exited(137),
                true,
            ),
            (
                vec![rule(None, None, Some("1*"), Exit)],
                AttemptEnd::Exited(137),
                false,
            ),
            (vec![spot(), all()], lost(), true),
            (vec![spot(), all()], AttemptEnd::Exited(1), false),
            (vec![all(), spot()], lost(), false),
            (
                vec![rule(Some("host ec2*"), None, None, Exit)],
                lost(),
                false,
            ),
            (vec![rule(Some("Host EC2"), None, None, Exit)], lost(), true),
            (
                vec![rule(None, Some("cannotstartcontainererror:*"), None, Exit)],
                absent(),
                false,
            ),
            // All that is given must match.
            (
                vec![rule(Some("Essential*"), None, Some("3"), Exit)],
                AttemptEnd::Exited(4),
                true,
            ),
            (
                vec![rule(Some("Essential*"), None, Some("3"), Exit)],
                AttemptEnd::Exited(3),
                false,
            ),
            // Without an exit code only * matches one.
            (vec![rule(None, None, Some("0"), Exit)], lost(), true),
            (vec![rule(None, None, Some("*"), Exit)], lost(), false),
            // Too long is never tried again.
            (vec![], AttemptEnd::TimedOut(143), false),
            (
                vec![rule(None, Some("*"), None, Retry)],
                AttemptEnd::TimedOut(143),
                false,
            ),
        ];
        for (i, (rules, end, again)) in table.into_iter().enumerate() {
            let retry = RetryStrategy {
                attempts: 2,
                evaluate_on_exit: rules,
            };
            assert_eq!(end.retried(&retry, 1), again, "case {i}: {end:?} {retry:?}");
            assert!(!end.retried(&retry, 2), "case {i}: no attempt is left");
        }
    }
}
