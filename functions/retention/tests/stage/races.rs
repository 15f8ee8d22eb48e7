//! Changes that meet: each ends in the one right state, and nothing is lost.

use chrono::TimeDelta;
use rowmill_domain::keys;
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::storage::ArchiveClass;
use rowmill_ports::{Archive, Location, Objects};
use rowmill_retention::Retention;
use rowmill_runs::ResultTransition;

use crate::bench::{Bench, WORK};

const CLASS: ArchiveClass = ArchiveClass::FlexibleRetrieval;

impl Bench {
    /// Archives the result and requests it again.
    async fn archived_and_requested(&self) -> Retention {
        let stage = self.stage();
        stage.archive(&self.run, CLASS, &self.cx()).await.unwrap();
        let restored = stage.restore(&self.run, None, "ana", &self.cx()).await;
        restored.unwrap();
        stage
    }

    /// Archives one object, as an invocation does that was suspended before it.
    async fn archive_late(&self) {
        let at = Location::new(WORK, keys::archived_rows(&self.run, 0));
        self.archive.archive(&at, CLASS).await.unwrap();
    }

    /// Lets S3 make all copies, and delivers its events.
    async fn until_copied(&self) {
        self.advance(TimeDelta::minutes(1));
        self.deliver(&self.stage()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_during_archiving_wins() {
    let bench = Bench::new().await;
    let archiving = ResultStorage {
        class: Some(CLASS),
        ..ResultStorage::hot(bench.now())
    };
    let applied = ResultTransition::Archive.apply(&*bench.runs, &bench.run, archiving);
    assert!(applied.await.unwrap());
    bench.archive_late().await;
    let stage = bench.stage();
    stage
        .restore(&bench.run, None, "ana", &bench.cx())
        .await
        .unwrap();
    assert_eq!(bench.state().await, ResultState::Restoring);
    // The archiving invocation goes on, and then finds that its change does not apply.
    let rest = Location::new(WORK, keys::index_rows(&bench.run));
    bench.archive.archive(&rest, CLASS).await.unwrap();
    stage.resume(&bench.run, &bench.cx()).await.unwrap();
    bench.until_copied().await;
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_and_restoring_at_the_same_time_ends_readable() {
    for _ in 0..10 {
        let bench = Bench::new().await;
        let (one, two, cx) = (bench.stage(), bench.stage(), bench.cx());
        let (archived, restored) = tokio::join!(
            one.archive(&bench.run, CLASS, &cx),
            two.restore(&bench.run, None, "ana", &cx),
        );
        archived.unwrap();
        restored.unwrap();
        // The restore came first, when the result was hot, or afterwards.
        let state = bench.state().await;
        if state == ResultState::Archived {
            bench.is_archived(CLASS).await;
            two.restore(&bench.run, None, "ana", &cx).await.unwrap();
        }
        bench.until_copied().await;
        bench.is_hot().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_archived_after_the_restore_is_found_and_restored() {
    let bench = Bench::new().await;
    let stage = bench.archived_and_requested().await;
    bench.until_copied().await;
    bench.is_hot().await;
    bench.archive_late().await;
    // The late invocation reads the state again, or its event is delivered again.
    stage.resume(&bench.run, &bench.cx()).await.unwrap();
    assert_eq!(bench.state().await, ResultState::Restoring);
    bench.until_copied().await;
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_expires_before_it_is_copied_back_is_requested_again() {
    let bench = Bench::new().await;
    let stage = bench.archived_and_requested().await;
    bench.advance(TimeDelta::days(5));
    // The events arrive after the copies have expired.
    bench.deliver(&stage).await.unwrap();
    assert_eq!(bench.state().await, ResultState::Restoring);
    assert!(bench.events() > 3, "requested again");
    bench.until_copied().await;
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_a_result_that_is_being_restored_changes_nothing() {
    let bench = Bench::new().await;
    let stage = bench.archived_and_requested().await;
    stage.archive(&bench.run, CLASS, &bench.cx()).await.unwrap();
    assert_eq!(bench.state().await, ResultState::Restoring);
    bench.until_copied().await;
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_the_whole_content_or_a_refusal_while_a_result_is_archived() {
    let bench = Bench::new().await;
    let (key, body) = bench.content.iter().next_back().unwrap();
    let at = Location::new(WORK, key);
    let (stage, cx) = (bench.stage(), bench.cx());
    let read = async {
        let mut answers = (0, 0);
        for _ in 0..200 {
            match bench.objects.get(&at).await {
                Ok(object) => {
                    assert_eq!(object.body, *body);
                    answers.0 += 1;
                }
                Err(error) => {
                    assert!(error.is_archived(), "{error}");
                    answers.1 += 1;
                }
            }
        }
        answers
    };
    let (archived, (_, refused)) = tokio::join!(stage.archive(&bench.run, CLASS, &cx), read);
    archived.unwrap();
    assert!(refused > 0 || bench.objects.get(&at).await.is_err());
}
