//! Archiving and restoring the objects of a result.

use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::limits::COPY_MAX;
use rowmill_domain::result_storage::ResultStorage;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_domain::{RunId, keys};
use rowmill_ports::{Optional, PortError, RestoreAnswer, StoredObject};
use rowmill_runs::pages;

use crate::stage::{COPY_DAYS, Retention};

/// Objects that are worked on at a time.
const AT_ONCE: usize = 8;
/// Requests for one object: it can be refused twice, and a copy can expire before it is copied back.
const REQUESTS: usize = 6;

/// What a request to restore an object led to.
struct Requested {
    /// Whether it still is archived.
    is_archived: bool,
    /// The speed, if it had to be changed.
    speed: Option<RestoreSpeed>,
}

impl Retention {
    async fn stored(&self, run: &RunId) -> Result<Vec<StoredObject>, PortError> {
        let prefix = &keys::results_prefix(run);
        let all = pages(async move |after: Option<String>| {
            let bucket = self.work.name();
            let page = self
                .archive
                .stored(bucket, prefix, after.as_deref())
                .await?;
            Ok::<_, PortError>((page.objects, page.next))
        });
        all.try_concat().await
    }

    /// Whether an object of the result is archived.
    pub(crate) async fn has_archived(&self, run: &RunId) -> Result<bool, PortError> {
        let stored = self.stored(run).await?;
        Ok(stored.iter().any(|object| object.class.is_some()))
    }

    /// Archives all objects of a result, except for its description and for those that are too large to be
    /// copied.
    pub(crate) async fn archive_objects(
        &self,
        run: &RunId,
        class: Option<ArchiveClass>,
    ) -> Result<(), PortError> {
        let about = keys::about(run);
        let class = class.unwrap_or(ArchiveClass::FlexibleRetrieval);
        let objects = self.stored(run).await?.into_iter().filter(|object| {
            object.class.is_none() && object.key != about && object.size <= COPY_MAX
        });
        stream::iter(objects.map(|object| self.work.location(&object.key)))
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, async |at| {
                // One that was deleted meanwhile needs nothing.
                self.archive.archive(&at, class).await.optional().map(drop)
            })
            .await
    }

    /// Requests copies of all archived objects of a result, and copies back those whose copy is complete.
    /// Returns how many still are archived, and the speed if it had to be changed.
    pub(crate) async fn restore_objects(
        &self,
        run: &RunId,
        storage: &ResultStorage,
    ) -> Result<(usize, Option<RestoreSpeed>), PortError> {
        let speed = storage.restore.as_ref().map(|restore| restore.speed);
        let speed = speed.unwrap_or(RestoreSpeed::Standard);
        let objects = self.stored(run).await?.into_iter();
        let archived = objects.filter_map(|object| object.class.map(|class| (object.key, class)));
        let requested: Vec<Requested> = stream::iter(archived)
            .map(async |(key, class)| self.restore_object(&key, class, speed).await)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let unread = requested.iter().filter(|object| object.is_archived).count();
        let speed = requested
            .iter()
            .filter_map(|object| object.speed)
            .next_back();
        Ok((unread, speed))
    }

    async fn restore_object(
        &self,
        key: &str,
        class: ArchiveClass,
        mut speed: RestoreSpeed,
    ) -> Result<Requested, PortError> {
        let (at, wanted) = (self.work.location(key), speed);
        let mut is_archived = true;
        for _ in 0..REQUESTS {
            let answer = self
                .archive
                .restore(&at, speed, COPY_DAYS)
                .await
                .optional()?;
            match answer {
                // It was deleted meanwhile.
                None => is_archived = false,
                Some(RestoreAnswer::Started | RestoreAnswer::InProgress) => {}
                Some(RestoreAnswer::NotNeeded | RestoreAnswer::Restored(_)) => {
                    if !self.copy_back(key).await? {
                        continue;
                    }
                    is_archived = false;
                }
                Some(RestoreAnswer::NoCapacity) => {
                    tracing::info!(key, speed = speed.name(), "no capacity: restoring slower");
                    speed = slower(class, speed);
                    continue;
                }
                // An object in another class than the rest.
                Some(RestoreAnswer::WrongSpeed) => {
                    speed = class.speeds().first().copied().unwrap_or(speed);
                    continue;
                }
            }
            break;
        }
        Ok(Requested {
            is_archived,
            speed: Some(speed).filter(|speed| *speed != wanted),
        })
    }

    /// Copies a restored object back. Returns whether it can be read at any time: `false` if it has no
    /// copy, or the copy has expired.
    pub(crate) async fn copy_back(&self, key: &str) -> Result<bool, PortError> {
        let at = self.work.location(key);
        match self.archive.copy_back(&at).await.optional() {
            Ok(_) => Ok(true),
            Err(error) if error.is_archived() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The next slower speed that a class offers, or the slowest.
fn slower(class: ArchiveClass, speed: RestoreSpeed) -> RestoreSpeed {
    let mut speeds = class.speeds().iter().copied();
    let after = speeds.by_ref().find(|offered| *offered == speed);
    after
        .and_then(|_| speeds.next())
        .unwrap_or(RestoreSpeed::Bulk)
}
