//! The changes of a result, and resuming them.

use std::sync::Arc;
use std::time::Duration;

use rowmill_domain::event::Invocation;
use rowmill_domain::message::RunMessage;
use rowmill_domain::result_storage::{ResultRestore, ResultState, ResultStorage};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::{Archive, Runs, Scheduler};
use rowmill_runs::{ResultTransition, WorkBucket};

use crate::error::RetentionError;

/// Days that the temporary copy of a restored object exists. Copying it back takes minutes; the rest is
/// for failures that someone has to repair.
pub const COPY_DAYS: u32 = 3;
/// How long after the usual end of a restore it is checked.
const CHECKED_AFTER: Duration = Duration::from_secs(15 * 60);
/// Who restores a result of which an archived object was found.
const REPAIR: &str = "rowmill";
/// How often an invocation follows a result whose state others change.
const TURNS: usize = 8;

/// The name of the schedule that checks the result of a run. It fits into
/// [`SCHEDULE_NAME_MAX`](rowmill_domain::limits::SCHEDULE_NAME_MAX).
pub fn schedule_name(run: &RunId) -> String {
    format!("ret-{run}")
}

/// The stage, with the services it uses.
pub struct Retention {
    /// Runs, with the states of their results.
    pub runs: Arc<dyn Runs>,
    /// The storage classes of objects in the work bucket.
    pub archive: Arc<dyn Archive>,
    /// The work bucket.
    pub work: WorkBucket,
    /// Schedules the check of a restore.
    pub scheduler: Arc<dyn Scheduler>,
}

impl Retention {
    /// Archives the result of a run that has ended. Does nothing if it is archived, or being restored.
    ///
    /// # Errors
    /// [`RetentionError::NotEnded`], [`RetentionError::InUse`] if a retry of the run has not ended, and
    /// [`RetentionError::Deleted`]. Safe to repeat after any other error.
    pub async fn archive(
        &self,
        run: &RunId,
        class: ArchiveClass,
        cx: &Invocation,
    ) -> Result<(), RetentionError> {
        let item = self.find(run).await?;
        self.may_leave(&item).await?;
        let storage = storage_of(&item);
        match storage.state {
            ResultState::Hot => {
                let next = ResultStorage {
                    since: cx.now,
                    class: Some(class),
                    ..storage
                };
                ResultTransition::Archive
                    .apply(&*self.runs, run, next)
                    .await?;
            }
            ResultState::Deleted => return Err(RetentionError::Deleted(run.clone())),
            ResultState::Archiving | ResultState::Archived | ResultState::Restoring => {}
        }
        self.resume(run, cx).await
    }

    /// Restores the result of a run: at the given speed, or at the fastest that its class offers. Does
    /// nothing if it can be read or is being restored. A restore that is refused for lack of capacity
    /// becomes slower.
    ///
    /// # Errors
    /// [`RetentionError::Deleted`]. Safe to repeat after any other error.
    pub async fn restore(
        &self,
        run: &RunId,
        speed: Option<RestoreSpeed>,
        by: &str,
        cx: &Invocation,
    ) -> Result<(), RetentionError> {
        let storage = storage_of(&self.find(run).await?);
        match storage.state {
            ResultState::Archiving | ResultState::Archived => {
                let next = restoring(storage, speed, by, cx);
                ResultTransition::Restore
                    .apply(&*self.runs, run, next)
                    .await?;
            }
            ResultState::Deleted => return Err(RetentionError::Deleted(run.clone())),
            ResultState::Hot | ResultState::Restoring => {}
        }
        self.resume(run, cx).await
    }

    /// Deletes the result of a run that has ended, in every state.
    ///
    /// # Errors
    /// [`RetentionError::NotEnded`] and [`RetentionError::InUse`]. Safe to repeat after any other error.
    pub async fn delete(&self, run: &RunId, cx: &Invocation) -> Result<(), RetentionError> {
        let item = self.find(run).await?;
        self.may_leave(&item).await?;
        let storage = storage_of(&item);
        if storage.state != ResultState::Deleted {
            // First, so that readers see a deleted result and not one with missing rows.
            let next = ResultStorage {
                since: cx.now,
                ..storage
            };
            ResultTransition::Delete
                .apply(&*self.runs, run, next)
                .await?;
        }
        self.resume(run, cx).await
    }

    /// Continues what the state of a result requires, until it is done or S3 has to make copies. Safe to
    /// repeat, and to run in parallel.
    ///
    /// # Errors
    /// A service failed, or others change the state all the time.
    pub async fn resume(&self, run: &RunId, cx: &Invocation) -> Result<(), RetentionError> {
        for _ in 0..TURNS {
            let storage = storage_of(&self.find(run).await?);
            let next = ResultStorage {
                since: cx.now,
                ..storage.clone()
            };
            match storage.state {
                ResultState::Archived => return Ok(()),
                ResultState::Archiving => {
                    self.archive_objects(run, storage.class).await?;
                    // Again: unless this is applied, a restore was requested meanwhile, and has not seen
                    // the objects that this invocation archived after it.
                    if self
                        .apply(ResultTransition::FinishArchive, run, next)
                        .await?
                    {
                        return Ok(());
                    }
                }
                ResultState::Restoring => {
                    let (unread, speed) = self.restore_objects(run, &storage).await?;
                    if let Some(speed) = speed {
                        self.slower(run, storage.clone(), speed).await?;
                    }
                    if unread > 0 {
                        return self.check_later(run, storage, speed, cx).await;
                    }
                    if self
                        .apply(ResultTransition::FinishRestore, run, next)
                        .await?
                    {
                        self.scheduler.cancel(&schedule_name(run)).await?;
                    }
                    // Again: an archiving invocation that was suspended may have gone on since.
                }
                ResultState::Hot => {
                    if !self.has_archived(run).await? {
                        return Ok(());
                    }
                    tracing::warn!(%run, "archived objects of a result that was restored: restoring them");
                    let next = restoring(storage, None, REPAIR, cx);
                    self.apply(ResultTransition::Repair, run, next).await?;
                }
                ResultState::Deleted => {
                    self.work.delete_all(&keys::results_prefix(run)).await?;
                    self.scheduler.cancel(&schedule_name(run)).await?;
                    return Ok(());
                }
            }
        }
        Err(RetentionError::Contended(run.clone()))
    }

    /// The copy of an archived object is complete, or has expired.
    pub(crate) async fn copy_changed(
        &self,
        bucket: &str,
        key: &str,
        cx: &Invocation,
    ) -> Result<(), RetentionError> {
        let run = keys::result_of(key).filter(|_| bucket == self.work.name());
        let Some(run) = run else {
            tracing::info!("not an object of a result: ignored");
            return Ok(());
        };
        let Some(item) = self.runs.find_run(&run).await? else {
            tracing::info!(%run, "unknown run: ignored");
            return Ok(());
        };
        if storage_of(&item).state != ResultState::Restoring {
            return Ok(());
        }
        // Only this object, unless it is the last one: there is an event for each.
        let is_back = self.copy_back(key).await?;
        if is_back && self.has_archived(&run).await? {
            return Ok(());
        }
        self.resume(&run, cx).await
    }

    /// Records that a restore became slower. Without effect if another invocation has changed the state.
    async fn slower(
        &self,
        run: &RunId,
        storage: ResultStorage,
        speed: RestoreSpeed,
    ) -> Result<(), RetentionError> {
        let restore = storage
            .restore
            .map(|restore| ResultRestore { speed, ..restore });
        let next = ResultStorage { restore, ..storage };
        self.apply(ResultTransition::SlowRestore, run, next).await?;
        Ok(())
    }

    /// Schedules a check for the case that events are lost. `speed`: that it was changed to.
    async fn check_later(
        &self,
        run: &RunId,
        storage: ResultStorage,
        speed: Option<RestoreSpeed>,
        cx: &Invocation,
    ) -> Result<(), RetentionError> {
        let speed = speed.or(storage.restore.map(|restore| restore.speed));
        let within = storage
            .class
            .zip(speed)
            .and_then(|(class, speed)| class.restored_within(speed))
            .unwrap_or_default();
        let at = cx.now + within + CHECKED_AFTER;
        let message = RunMessage::Retain { run: run.clone() };
        self.scheduler.at(&schedule_name(run), at, &message).await?;
        Ok(())
    }

    async fn apply(
        &self,
        change: ResultTransition,
        run: &RunId,
        next: ResultStorage,
    ) -> Result<bool, RetentionError> {
        Ok(change.apply(&*self.runs, run, next).await?)
    }

    async fn find(&self, run: &RunId) -> Result<RunItem, RetentionError> {
        let found = self.runs.find_run(run).await?;
        found.ok_or_else(|| RetentionError::UnknownRun(run.clone()))
    }

    /// Refuses if the run, or a retry that reads its archived rows, has not ended.
    async fn may_leave(&self, item: &RunItem) -> Result<(), RetentionError> {
        if !item.state.is_terminal() {
            return Err(RetentionError::NotEnded {
                run: item.id.clone(),
                state: item.state,
            });
        }
        let mut next = item.id.next_retry();
        while let Some(id) = next
            && let Some(retry) = self.runs.find_run(&id).await?
        {
            if !retry.state.is_terminal() {
                return Err(RetentionError::InUse {
                    run: item.id.clone(),
                    retry: id,
                });
            }
            next = id.next_retry();
        }
        Ok(())
    }
}

/// How the result of a run is stored.
fn storage_of(item: &RunItem) -> ResultStorage {
    let hot = || ResultStorage::hot(item.updated);
    item.storage.clone().unwrap_or_else(hot)
}

fn restoring(
    storage: ResultStorage,
    speed: Option<RestoreSpeed>,
    by: &str,
    cx: &Invocation,
) -> ResultStorage {
    let speeds = storage.class.map_or(&[][..], ArchiveClass::speeds);
    let offered = speed.filter(|speed| speeds.contains(speed));
    let speed = offered.or(speeds.first().copied());
    ResultStorage {
        since: cx.now,
        restore: Some(ResultRestore {
            // Without effect if the class needs no restore.
            speed: speed.unwrap_or(RestoreSpeed::Standard),
            requested: cx.now,
            by: by.to_owned(),
        }),
        ..storage
    }
}
