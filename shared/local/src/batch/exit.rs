//! How an attempt ended, and whether the retry strategy retries it. Pure.

use rowmill_domain::job::{self, ExitAction, RetryStrategy};

/// `statusReason` of an attempt whose program exited, with any code.
pub(super) const EXITED: &str = "Essential container in task exited";
/// `statusReason` of an attempt that exceeded its time limit.
pub(super) const TIMED_OUT: &str = "Job attempt duration exceeded timeout";
/// `statusReason` of an attempt whose program could not be started.
pub(super) const NOT_STARTED: &str = "Task failed to start";
/// `statusReason` of an attempt whose host was terminated.
pub(super) const HOST_TERMINATED: &str = "Host EC2 (instance i-local) terminated.";
/// `statusReason` of a job that did not run because a dependency failed.
pub(super) const DEPENDENCY_FAILED: &str = "Dependent Job failed";
/// `statusReason` of an array with a failed child.
pub(super) const CHILD_FAILED: &str = "Array Child Job failed";

/// `reason` of a container that used too much memory. Source: AWS Batch user guide, "Troubleshooting".
const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
/// The exit code of a container that was killed.
const KILLED: i32 = 137;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptExit {
    /// The program exited: its exit code, or 128 + the number of the signal.
    Exited(i32),
    /// The attempt exceeded its time limit and exited with this code. It is never retried. Source:
    /// AWS Batch user guide, "Job timeouts".
    TimedOut(i32),
    /// The attempt used more memory than its job has, and was killed.
    OutOfMemory,
    /// The program could not be started, for this reason.
    NotStarted(String),
    /// The host was terminated. There is no exit code.
    HostTerminated,
}

impl AttemptExit {
    /// The container's exit code, if there is one.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self {
            AttemptExit::Exited(code) | AttemptExit::TimedOut(code) => Some(*code),
            AttemptExit::OutOfMemory => Some(KILLED),
            AttemptExit::NotStarted(_) | AttemptExit::HostTerminated => None,
        }
    }

    /// The attempt's `statusReason`.
    pub(super) fn status_reason(&self) -> &'static str {
        match self {
            AttemptExit::Exited(_) | AttemptExit::OutOfMemory => EXITED,
            AttemptExit::TimedOut(_) => TIMED_OUT,
            AttemptExit::NotStarted(_) => NOT_STARTED,
            AttemptExit::HostTerminated => HOST_TERMINATED,
        }
    }

    /// The container's `reason`.
    pub(super) fn reason(&self) -> Option<String> {
        match self {
            AttemptExit::OutOfMemory => Some(OUT_OF_MEMORY.to_owned()),
            AttemptExit::NotStarted(why) => Some(format!("CannotStartContainerError: {why}")),
            _ => None,
        }
    }

    /// Whether the attempt succeeded.
    pub(super) fn succeeded(&self) -> bool {
        *self == AttemptExit::Exited(0)
    }

    /// Whether the job is retried after this failure, given the number of attempts so far.
    pub(super) fn is_retried(&self, retry: &RetryStrategy, attempts: u32) -> bool {
        let reason = self.reason();
        let end = job::AttemptEnd {
            status_reason: self.status_reason(),
            reason: reason.as_deref(),
            exit_code: self.exit_code(),
        };
        attempts < retry.attempts
            && !matches!(self, AttemptExit::TimedOut(_))
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
        let lost = || AttemptExit::HostTerminated;
        let absent = || AttemptExit::NotStarted("no such file".into());
        let table = [
            // Without a matching rule, the attempt is retried.
            (vec![], AttemptExit::Exited(1), true),
            (
                vec![rule(None, None, Some("2"), Exit)],
                AttemptExit::Exited(1),
                true,
            ),
            (
                vec![rule(None, None, Some("2"), Exit)],
                AttemptExit::Exited(2),
                false,
            ),
            // Patterns are exact unless they end in *.
            (
                vec![rule(None, None, Some("1"), Exit)],
                AttemptExit::Exited(137),
                true,
            ),
            (
                vec![rule(None, None, Some("1*"), Exit)],
                AttemptExit::Exited(137),
                false,
            ),
            (vec![spot(), all()], lost(), true),
            (vec![spot(), all()], AttemptExit::Exited(1), false),
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
            // All given conditions must match.
            (
                vec![rule(Some("Essential*"), None, Some("3"), Exit)],
                AttemptExit::Exited(4),
                true,
            ),
            (
                vec![rule(Some("Essential*"), None, Some("3"), Exit)],
                AttemptExit::Exited(3),
                false,
            ),
            // Without an exit code, only * matches.
            (vec![rule(None, None, Some("0"), Exit)], lost(), true),
            (vec![rule(None, None, Some("*"), Exit)], lost(), false),
            // A timeout is never retried.
            (vec![], AttemptExit::TimedOut(143), false),
            (
                vec![rule(None, Some("*"), None, Retry)],
                AttemptExit::TimedOut(143),
                false,
            ),
        ];
        for (i, (rules, end, again)) in table.into_iter().enumerate() {
            let retry = RetryStrategy {
                attempts: 2,
                evaluate_on_exit: rules,
            };
            assert_eq!(
                end.is_retried(&retry, 1),
                again,
                "case {i}: {end:?} {retry:?}"
            );
            assert!(!end.is_retried(&retry, 2), "case {i}: no attempts left");
        }
    }
}
