//! What happens to a result without races and faults.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use rowmill_domain::result_storage::ResultState;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::{RunState, keys};
use rowmill_ports::{
    Archive, ArchivePage, ArchiveStatus, Location, Objects, RestoreAnswer, Result,
};
use rowmill_retention::RetentionError;

use crate::bench::{Bench, WORK};

const FLEXIBLE: ArchiveClass = ArchiveClass::FlexibleRetrieval;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_archived_and_restored_at_the_fastest_speed() {
    for class in ArchiveClass::ALL {
        let bench = Bench::new().await;
        let stage = bench.stage();
        for _ in 0..2 {
            stage.archive(&bench.run, class, &bench.cx()).await.unwrap();
            assert_eq!(bench.state().await, ResultState::Archived);
            bench.is_archived(class).await;
        }
        for _ in 0..2 {
            stage
                .restore(&bench.run, None, "ana@example.com", &bench.cx())
                .await
                .unwrap();
            let storage = bench.storage().await;
            let restore = storage.restore.unwrap();
            assert_eq!(restore.by, "ana@example.com");
            match class.speeds().first() {
                None => bench.is_hot().await,
                Some(speed) => {
                    assert_eq!(
                        (storage.state, restore.speed),
                        (ResultState::Restoring, *speed)
                    );
                    assert_eq!(bench.events(), 3, "one for each archived object");
                }
            }
        }
        bench.advance(TimeDelta::minutes(1));
        for _ in 0..2 {
            bench.deliver(&stage).await.unwrap();
            bench.is_hot().await;
            assert_eq!(bench.scheduled(), None);
        }
        // It can be archived again.
        stage.archive(&bench.run, class, &bench.cx()).await.unwrap();
        bench.is_archived(class).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_events_is_finished_by_its_check() {
    let bench = Bench::new().await;
    let stage = bench.stage();
    stage
        .archive(&bench.run, FLEXIBLE, &bench.cx())
        .await
        .unwrap();
    let standard = Some(RestoreSpeed::Standard);
    stage
        .restore(&bench.run, standard, "ana", &bench.cx())
        .await
        .unwrap();
    let (due, message) = bench.scheduled().unwrap();
    let after = due - bench.now();
    assert!(
        after > TimeDelta::hours(5) && after < TimeDelta::hours(6),
        "after the longest time that S3 usually takes: {after}"
    );
    assert!(message.contains("\"retain\""), "{message}");
    bench.advance(after);
    stage.resume(&bench.run, &bench.cx()).await.unwrap();
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_result_stays_deleted() {
    for archived in [false, true] {
        let bench = Bench::new().await;
        let stage = bench.stage();
        if archived {
            stage
                .archive(&bench.run, FLEXIBLE, &bench.cx())
                .await
                .unwrap();
            stage
                .restore(&bench.run, None, "ana", &bench.cx())
                .await
                .unwrap();
        }
        for _ in 0..2 {
            stage.delete(&bench.run, &bench.cx()).await.unwrap();
            let left = bench.objects.list(WORK, "", None).await.unwrap();
            assert_eq!(left.objects, []);
        }
        assert_eq!(bench.scheduled(), None);
        let refused = [
            stage.archive(&bench.run, FLEXIBLE, &bench.cx()).await,
            stage.restore(&bench.run, None, "ana", &bench.cx()).await,
        ];
        for refused in refused {
            assert!(matches!(refused, Err(RetentionError::Deleted(_))));
        }
        bench.advance(TimeDelta::minutes(1));
        bench.deliver(&stage).await.unwrap();
        assert_eq!(bench.state().await, ResultState::Deleted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_in_use_is_neither_archived_nor_deleted() {
    let bench = Bench::new().await;
    let stage = bench.stage();
    let retry = bench.run.next_retry().unwrap();
    bench.create(&retry, RunState::Running).await;
    let cx = bench.cx();
    for refused in [
        stage.archive(&bench.run, FLEXIBLE, &cx).await,
        stage.delete(&bench.run, &cx).await,
    ] {
        assert!(matches!(refused, Err(RetentionError::InUse { .. })));
    }
    for refused in [
        stage.archive(&retry, FLEXIBLE, &cx).await,
        stage.delete(&retry, &cx).await,
    ] {
        assert!(matches!(refused, Err(RetentionError::NotEnded { .. })));
    }
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_objects_and_unknown_runs_are_ignored() {
    let bench = Bench::new().await;
    let unknown = bench.run.next_retry().unwrap();
    for (bucket, key) in [
        (WORK, "pipelines/reviews.toml".to_owned()),
        (WORK, keys::archived_rows(&unknown, 0)),
        ("other", keys::archived_rows(&bench.run, 0)),
        (WORK, keys::archived_rows(&bench.run, 7)),
    ] {
        let event = rowmill_events::restore_completed_event(bucket, &key, 1, bench.now());
        bench.stage().invoke(&event, &bench.cx()).await.unwrap();
    }
    bench.is_hot().await;
}

/// An archive without capacity for the fastest speed.
struct Busy(Arc<dyn Archive>);

#[async_trait]
impl Archive for Busy {
    async fn stored(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<ArchivePage> {
        self.0.stored(bucket, prefix, after).await
    }
    async fn status(&self, at: &Location) -> Result<ArchiveStatus> {
        self.0.status(at).await
    }
    async fn archive(&self, at: &Location, class: ArchiveClass) -> Result<()> {
        self.0.archive(at, class).await
    }
    async fn restore(
        &self,
        at: &Location,
        speed: RestoreSpeed,
        days: u32,
    ) -> Result<RestoreAnswer> {
        match speed {
            RestoreSpeed::Expedited => Ok(RestoreAnswer::NoCapacity),
            _ => self.0.restore(at, speed, days).await,
        }
    }
    async fn copy_back(&self, at: &Location) -> Result<()> {
        self.0.copy_back(at).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_refused_for_lack_of_capacity_becomes_slower() {
    let bench = Bench::new().await;
    let stage = bench.stage_with(Arc::new(Busy(bench.archive.clone())));
    stage
        .archive(&bench.run, FLEXIBLE, &bench.cx())
        .await
        .unwrap();
    let fast = Some(RestoreSpeed::Expedited);
    stage
        .restore(&bench.run, fast, "ana", &bench.cx())
        .await
        .unwrap();
    let storage = bench.storage().await;
    assert_eq!(storage.state, ResultState::Restoring);
    assert_eq!(storage.restore.unwrap().speed, RestoreSpeed::Standard);
    let (due, _) = bench.scheduled().unwrap();
    assert!(
        due - bench.now() > TimeDelta::hours(5),
        "checked later, too"
    );
    bench.advance(TimeDelta::minutes(1));
    bench.deliver(&stage).await.unwrap();
    bench.is_hot().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_archive_is_not_asked_for_a_speed_that_it_does_not_offer() {
    let bench = Bench::new().await;
    let stage = bench.stage();
    let deep = ArchiveClass::DeepArchive;
    stage.archive(&bench.run, deep, &bench.cx()).await.unwrap();
    let fast = Some(RestoreSpeed::Expedited);
    stage
        .restore(&bench.run, fast, "ana", &bench.cx())
        .await
        .unwrap();
    let restore = bench.storage().await.restore.unwrap();
    assert_eq!(restore.speed, RestoreSpeed::Standard);
    assert_eq!(bench.events(), 3);
}
