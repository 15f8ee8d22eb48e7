//! Archiving, restoring and deleting with a fault at every call: nothing is lost.

use std::sync::Arc;

use chrono::TimeDelta;
use rowmill_domain::result_storage::ResultState;
use rowmill_domain::storage::ArchiveClass;
use rowmill_ports::Objects;
use rowmill_ports::faulty::{Faults, Moment};
use rowmill_retention::{Retention, RetentionError};

use crate::bench::{Bench, WORK};

const CLASS: ArchiveClass = ArchiveClass::FlexibleRetrieval;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Archive,
    Restore,
    CopyBack,
    Delete,
}

impl Work {
    const ALL: [Work; 4] = [Work::Archive, Work::Restore, Work::CopyBack, Work::Delete];

    /// A bench in which the work is next.
    async fn bench(self) -> Bench {
        let bench = Bench::new().await;
        let stage = bench.stage();
        if matches!(self, Work::Restore | Work::CopyBack) {
            stage.archive(&bench.run, CLASS, &bench.cx()).await.unwrap();
        }
        if self == Work::CopyBack {
            stage
                .restore(&bench.run, None, "ana", &bench.cx())
                .await
                .unwrap();
            bench.advance(TimeDelta::minutes(1));
        }
        bench
    }

    async fn run(self, bench: &Bench, stage: &Retention) -> Result<(), RetentionError> {
        let (run, cx) = (&bench.run, bench.cx());
        match self {
            Work::Archive => stage.archive(run, CLASS, &cx).await,
            Work::Restore => stage.restore(run, None, "ana", &cx).await,
            Work::CopyBack => bench.deliver(stage).await,
            Work::Delete => stage.delete(run, &cx).await,
        }
    }

    /// The work is done: also if its event is delivered again. Then the result is restored, if it is
    /// not deleted.
    async fn check(self, bench: &Bench) {
        let stage = bench.stage();
        match self {
            Work::Archive => {
                assert_eq!(bench.state().await, ResultState::Archived);
                bench.is_archived(CLASS).await;
                stage
                    .restore(&bench.run, None, "ana", &bench.cx())
                    .await
                    .unwrap();
            }
            Work::Restore => assert_eq!(bench.state().await, ResultState::Restoring),
            Work::CopyBack => {}
            Work::Delete => {
                assert_eq!(bench.state().await, ResultState::Deleted);
                let left = bench.objects.list(WORK, "", None).await.unwrap();
                assert_eq!(left.objects, []);
                return;
            }
        }
        bench.advance(TimeDelta::minutes(1));
        // Also if the process was killed before the event was queued.
        bench.deliver(&stage).await.unwrap();
        stage.resume(&bench.run, &bench.cx()).await.unwrap();
        bench.is_hot().await;
    }

    async fn calls(self) -> u64 {
        let (bench, faults) = (self.bench().await, Faults::never());
        self.run(&bench, &bench.faulty(&faults)).await.unwrap();
        let calls = faults.calls();
        assert!(calls > 4, "{self:?} makes {calls} calls");
        calls
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_at_any_call_loses_nothing() {
    for work in Work::ALL {
        let calls = work.calls().await;
        let mut killed = 0;
        for step in 0..2 * calls {
            let (bench, faults) = (work.bench().await, Faults::never());
            faults.kill_after(step);
            let result = work.run(&bench, &bench.faulty(&faults)).await;
            killed += u64::from(faults.is_killed());
            assert_eq!(result.is_err(), faults.is_killed(), "{work:?} step {step}");
            // The event is delivered again.
            faults.restart();
            work.run(&bench, &bench.faulty(&faults)).await.unwrap();
            work.check(&bench).await;
        }
        assert!(killed >= calls, "{work:?}: killed {killed} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_once_loses_nothing() {
    for work in Work::ALL {
        for call in 0..work.calls().await {
            for moment in [Moment::Before, Moment::After] {
                let bench = work.bench().await;
                let faults = Faults::nth(call, moment);
                let stage = bench.faulty(&faults);
                if let Err(error) = work.run(&bench, &stage).await {
                    assert!(error.is_retryable(), "{work:?} {call} {moment:?}: {error}");
                    work.run(&bench, &stage).await.unwrap();
                }
                work.check(&bench).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_from_a_seed_lose_nothing() {
    for seed in 0..30 {
        let bench = Bench::new().await;
        let faults = Faults::seeded(seed, 5);
        let stage = bench.faulty(&faults);
        for work in [Work::Archive, Work::Restore, Work::CopyBack] {
            if work == Work::CopyBack {
                bench.advance(TimeDelta::minutes(1));
            }
            let mut attempts = 0;
            while let Err(error) = work.run(&bench, &stage).await {
                attempts += 1;
                assert!(
                    error.is_retryable() && attempts < 200,
                    "seed {seed}: {error}"
                );
            }
        }
        Work::CopyBack.check(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_is_refused_for_good_only_if_no_retry_helps() {
    let bench = Work::Archive.bench().await;
    let faults: Arc<Faults> = Faults::denied("rows");
    let stage = bench.faulty(&faults);
    let error = Work::Archive.run(&bench, &stage).await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    // Nothing is lost, and the next attempt goes on.
    assert_eq!(bench.state().await, ResultState::Archiving);
    Work::Archive.run(&bench, &bench.stage()).await.unwrap();
    Work::Archive.check(&bench).await;
}
