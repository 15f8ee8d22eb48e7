//! [`Archive`] on directories.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_events::restore_completed_event;
use rowmill_ports::{Archive, ArchivePage, ArchiveStatus, Location, RestoreAnswer, Result};

use super::DirObjects;
use super::store::Store;
use crate::Cloud;
use crate::bus::{self, Target};

/// Storage classes of the objects of [`DirObjects`], with the rules of S3. An hour of a restore on S3 takes
/// a second here. The event that says that a restore is complete is a message on the queue.
pub struct LocalArchive {
    objects: Arc<DirObjects>,
    cloud: Cloud,
}

impl LocalArchive {
    /// The storage classes of `objects`, with events for retention in `cloud`.
    pub fn new(objects: Arc<DirObjects>, cloud: Cloud) -> LocalArchive {
        LocalArchive { objects, cloud }
    }

    /// Queues the event that a restore is complete at that time.
    fn announce(&self, at: &Location, size: u64, complete: DateTime<Utc>) -> Result<()> {
        let payload = restore_completed_event(&at.bucket, &at.key, size, complete);
        self.cloud
            .with(|conn| bus::enqueue_at(conn, Target::Retention, &payload, complete))
            .map_err(|error| error.into_port("RestoreObject", at.to_string()))
    }
}

#[async_trait]
impl Archive for LocalArchive {
    async fn stored(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<ArchivePage> {
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        let list = move |store: &Store| store.stored(&owned, after.as_deref());
        self.objects
            .call("ListObjectsV2", bucket, prefix, list)
            .await
    }

    async fn status(&self, at: &Location) -> Result<ArchiveStatus> {
        let key = at.key.clone();
        let head = move |store: &Store| store.status(&key);
        self.objects
            .call("HeadObject", &at.bucket, &at.key, head)
            .await
    }

    async fn archive(&self, at: &Location, class: ArchiveClass) -> Result<()> {
        let key = at.key.clone();
        let copy = move |store: &Store| store.archive(&key, class);
        self.objects
            .call("CopyObject", &at.bucket, &at.key, copy)
            .await
    }

    async fn restore(
        &self,
        at: &Location,
        speed: RestoreSpeed,
        days: u32,
    ) -> Result<RestoreAnswer> {
        let key = at.key.clone();
        let restore = move |store: &Store| store.restore(&key, speed, days);
        let (answer, complete) = self
            .objects
            .call("RestoreObject", &at.bucket, &at.key, restore)
            .await?;
        if let Some(complete) = complete {
            // If the process is killed before this, the event is lost: callers look again by themselves.
            let size = self.status(at).await.map_or(0, |status| status.size);
            self.announce(at, size, complete)?;
        }
        Ok(answer)
    }

    async fn copy_back(&self, at: &Location) -> Result<()> {
        let key = at.key.clone();
        let copy = move |store: &Store| store.copy_back(&key);
        self.objects
            .call("CopyObject", &at.bucket, &at.key, copy)
            .await
    }
}
