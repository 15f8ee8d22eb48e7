//! The claim protocol.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use rowmill_domain::RunId;
use rowmill_domain::event::Invocation;
use rowmill_domain::limits::CLAIM_LEASE;
use rowmill_domain::run::Work;
use rowmill_ports::{Claim, Coordination, ErrorKind, Holder, PortError};
use tokio::time::{Instant, sleep_until};

/// The result of [`with_claim`].
#[derive(Clone, Debug, PartialEq)]
pub enum Claimed<T> {
    /// The work ran and returned this.
    Worked(T),
    /// Another invocation holds the claim. The work did not run.
    Held(Holder),
    /// The work was completed before. It did not run.
    Done,
}

impl<T> Claimed<T> {
    /// What the work returned, if it ran.
    pub fn worked(self) -> Option<T> {
        match self {
            Claimed::Worked(value) => Some(value),
            Claimed::Held(_) | Claimed::Done => None,
        }
    }
}

/// What happens to the claim once the work has returned.
struct Policy {
    /// After success. Otherwise it is released, and the work can run any number of times.
    complete: bool,
    /// After an error. Otherwise it is held until its lease ends, and only a retry of the same
    /// delivery can resume the work.
    release_on_error: bool,
}

fn policy(work: Work) -> Policy {
    match work {
        Work::Split | Work::Submit | Work::Cleanup => Policy {
            complete: true,
            release_on_error: false,
        },
        // Another event of the run may succeed where this one failed, such as the failure that
        // another stage publishes.
        Work::SecondRound | Work::Report => Policy {
            complete: true,
            release_on_error: true,
        },
        // Each bounce brings new addresses.
        Work::Bounce => Policy {
            complete: false,
            release_on_error: true,
        },
    }
}

/// Runs `do_work` if this invocation gets the claim on a piece of a run's work, and then
/// completes the claim. The lease is [`CLAIM_LEASE`].
///
/// `do_work` receives whether someone started the work before, perhaps an earlier attempt of this
/// delivery.
///
/// | work | after success | after an error |
/// |---|---|---|
/// | split, submit, cleanup | completed | held for the retry of the same delivery |
/// | second round, report | completed | released, because another event of the run may succeed |
/// | bounce | released, because more emails may bounce | released |
///
/// If the lease ends while the work runs, it is renewed before the work makes its next step. If another
/// invocation has taken the claim, the work is dropped where it is: it publishes nothing more. That
/// happens to a process that was suspended.
///
/// # Errors
/// The error of `do_work`, or of a call to `coordination`.
pub async fn with_claim<T, E: From<PortError>>(
    coordination: &dyn Coordination,
    run: &RunId,
    work: Work,
    cx: &Invocation,
    do_work: impl AsyncFnOnce(bool) -> Result<T, E>,
) -> Result<Claimed<T>, E> {
    let claim = coordination.claim(run, work, &cx.owner, cx.now, CLAIM_LEASE);
    let resumed = match claim.await? {
        Claim::Taken { resumed } => resumed,
        Claim::Held(holder) => {
            let Holder { owner, until } = &holder;
            tracing::info!(%run, work = work.name(), owner, %until, "held by another invocation");
            return Ok(Claimed::Held(holder));
        }
        Claim::Done => return Ok(Claimed::Done),
    };
    let policy = policy(work);
    let mut doing = pin!(do_work(resumed));
    let begun = Instant::now();
    let mut until = begun + CLAIM_LEASE;
    let worked = loop {
        if let Some(worked) = before(until, doing.as_mut()).await {
            break worked;
        }
        // A process that was suspended, or a machine that is slow.
        let renewed = Instant::now();
        let now = cx.now + (renewed - begun);
        let renew = coordination.claim(run, work, &cx.owner, now, CLAIM_LEASE);
        match renew.await? {
            Claim::Taken { .. } => until = renewed + CLAIM_LEASE,
            Claim::Held(holder) => {
                let owner = &holder.owner;
                tracing::warn!(%run, work = work.name(), owner, "stopped: the lease ended, and another invocation works");
                return Ok(Claimed::Held(holder));
            }
            Claim::Done => return Ok(Claimed::Done),
        }
    };
    match worked {
        Ok(value) => {
            if policy.complete {
                complete_claim(coordination, run, work, cx).await?;
            } else {
                coordination.release(run, work, &cx.owner).await?;
            }
            Ok(Claimed::Worked(value))
        }
        Err(error) => {
            if policy.release_on_error {
                coordination.release(run, work, &cx.owner).await?;
            }
            Err(error)
        }
    }
}

/// What `work` returns, or `None` once it is `until`. Does not let it make a step after that.
async fn before<T>(until: Instant, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut timer = pin!(sleep_until(until));
    poll_fn(|cx| {
        // The timer may be late.
        if Instant::now() >= until || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Completes a piece of work if this invocation holds its claim. Does nothing otherwise.
///
/// [`with_claim`] does this. It is needed alone if an earlier attempt of the delivery finished the
/// work, but stopped before it completed the claim.
///
/// # Errors
/// A call to `coordination` failed.
pub async fn complete_claim(
    coordination: &dyn Coordination,
    run: &RunId,
    work: Work,
    cx: &Invocation,
) -> Result<(), PortError> {
    match coordination.complete(run, work, &cx.owner).await {
        Err(error) if error.kind != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use rowmill_local::SqliteLedger;
    use tempfile::TempDir;

    use super::*;

    /// A ledger for one run.
    struct Bench {
        ledger: SqliteLedger,
        run: RunId,
        _state: TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let state = TempDir::new().unwrap();
            Bench {
                ledger: SqliteLedger::open(state.path()).unwrap(),
                run: "20261121-suite-0123456789ab".parse().unwrap(),
                _state: state,
            }
        }

        /// Runs work as `owner`. Returns what the closure returns, and whether it resumed.
        async fn claim<T>(
            &self,
            work: Work,
            cx: &Invocation,
            do_work: impl AsyncFnOnce() -> Result<T, PortError>,
        ) -> Result<Claimed<(bool, T)>, PortError> {
            with_claim(&self.ledger, &self.run, work, cx, async |resumed| {
                Ok((resumed, do_work().await?))
            })
            .await
        }

        /// The owner that holds the claim.
        async fn holder(&self, work: Work, cx: &Invocation) -> Option<String> {
            let holder = self.ledger.holder(&self.run, work, cx.now).await.unwrap();
            holder.map(|holder| holder.owner)
        }
    }

    fn by(owner: &str) -> Invocation {
        Invocation {
            owner: owner.to_owned(),
            now: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    async fn succeed() -> Result<(), PortError> {
        Ok(())
    }

    async fn break_down() -> Result<(), PortError> {
        let kind = ErrorKind::Unavailable;
        Err(PortError::new("GetObject", "key", kind, "broken"))
    }

    #[tokio::test]
    async fn work_runs_once_and_is_then_done_for_everyone() {
        let (bench, work) = (Bench::new(), Work::Split);
        let cx = by("a");
        let first = bench.claim(work, &cx, async || {
            let other = bench.claim(work, &by("b"), succeed).await?;
            let Claimed::Held(holder) = other else {
                panic!("two invocations hold the same claim")
            };
            Ok(holder.owner)
        });
        let expected = Claimed::Worked((false, "a".to_owned()));
        assert_eq!(first.await.unwrap(), expected);
        for owner in ["a", "b"] {
            let again = bench.claim(work, &by(owner), succeed).await;
            assert_eq!(again.unwrap(), Claimed::Done);
        }
    }

    #[tokio::test]
    async fn after_an_error_the_kind_of_work_decides_who_may_resume() {
        for (work, others_may_resume) in [
            (Work::Split, false),
            (Work::Submit, false),
            (Work::Cleanup, false),
            (Work::Report, true),
            (Work::Bounce, true),
        ] {
            let bench = Bench::new();
            let failed = bench.claim(work, &by("a"), break_down).await;
            assert_eq!(failed.unwrap_err().message, "broken");
            let other = bench.claim(work, &by("b"), succeed).await.unwrap();
            if others_may_resume {
                assert_eq!(other, Claimed::Worked((true, ())), "{work:?}");
                continue;
            }
            assert!(matches!(other, Claimed::Held(_)), "{work:?}");
            let retry = bench.claim(work, &by("a"), succeed).await.unwrap();
            assert_eq!(retry, Claimed::Worked((true, ())), "{work:?}");
        }
    }

    #[tokio::test]
    async fn every_bounce_is_worked_on() {
        let bench = Bench::new();
        for resumed in [false, true, true] {
            let bounce = bench.claim(Work::Bounce, &by("a"), succeed).await;
            assert_eq!(bounce.unwrap(), Claimed::Worked((resumed, ())));
        }
    }

    #[tokio::test]
    async fn an_invocation_that_outlives_its_lease_succeeds_too() {
        let (bench, work) = (Bench::new(), Work::Submit);
        let cx = by("slow");
        let slow = bench.claim(work, &cx, async || {
            let late = Invocation {
                now: by("").now + CLAIM_LEASE + Duration::from_secs(1),
                ..by("other")
            };
            bench.claim(work, &late, succeed).await
        });
        let other = Claimed::Worked((true, ()));
        assert_eq!(slow.await.unwrap(), Claimed::Worked((false, other)));
    }

    #[tokio::test]
    async fn completing_work_that_someone_else_holds_changes_nothing() {
        let (bench, work) = (Bench::new(), Work::Report);
        let complete = async |owner| {
            let cx = by(owner);
            complete_claim(&bench.ledger, &bench.run, work, &cx).await
        };
        complete("a").await.unwrap();
        let cx = by("a");
        let worked = bench.claim(work, &cx, async || {
            complete("b").await?;
            Ok(bench.holder(work, &cx).await)
        });
        let holder = worked.await.unwrap().worked().unwrap().1;
        assert_eq!(holder.as_deref(), Some("a"));
    }
}
