//! The work bucket.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use rowmill_ports::{FileRange, Location, ObjectInfo, Objects, Optional, PortError, Put};

use crate::paging::{items, pages};

/// The bucket for everything except uploads: its name together with the store that has it. Cheap
/// to clone.
///
/// The methods are those of [`Objects`], with the same guarantees and errors.
#[derive(Clone)]
pub struct WorkBucket {
    name: Arc<str>,
    objects: Arc<dyn Objects>,
}

impl WorkBucket {
    /// The bucket called `name` in `objects`.
    pub fn new(name: impl Into<Arc<str>>, objects: Arc<dyn Objects>) -> WorkBucket {
        WorkBucket {
            name: name.into(),
            objects,
        }
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store, which may have other buckets too.
    pub fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// The latest version of the object with this key, whether or not it exists.
    pub fn location(&self, key: &str) -> Location {
        Location::new(&*self.name, key)
    }

    /// What is known about an object without its content.
    ///
    /// # Errors
    /// [`NotFound`](rowmill_ports::ErrorKind::NotFound) if it does not exist.
    pub async fn head(&self, key: &str) -> Result<ObjectInfo, PortError> {
        self.objects.head(&self.location(key)).await
    }

    /// Reads an object that exists.
    ///
    /// # Errors
    /// [`NotFound`](rowmill_ports::ErrorKind::NotFound) if it does not.
    pub async fn get(&self, key: &str) -> Result<Bytes, PortError> {
        Ok(self.objects.get(&self.location(key)).await?.body)
    }

    /// Reads bytes of an object.
    ///
    /// # Errors
    /// As [`Objects::get_range`].
    pub async fn get_range(&self, key: &str, bytes: Range<u64>) -> Result<Bytes, PortError> {
        self.objects.get_range(&self.location(key), bytes).await
    }

    /// Reads an object, or returns `None` if there is none.
    ///
    /// # Errors
    /// The service failed.
    pub async fn find(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.get(key).await.optional()
    }

    /// Writes an object to a new file at `to`, replacing what is there.
    ///
    /// # Errors
    /// As [`Objects::download`].
    pub async fn download(&self, key: &str, to: &Path) -> Result<ObjectInfo, PortError> {
        self.objects.download(&self.location(key), to).await
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// As [`Objects::put`].
    pub async fn put(&self, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo, PortError> {
        self.objects.put(&self.name, key, body, put).await
    }

    /// Stores the content of a file, or a part of it.
    ///
    /// # Errors
    /// As [`Objects::upload`].
    pub async fn upload(
        &self,
        key: &str,
        from: impl Into<FileRange>,
        put: Put,
    ) -> Result<ObjectInfo, PortError> {
        self.objects
            .upload(&self.name, key, &from.into(), put)
            .await
    }

    /// A link that lets anyone who has it download the object as `file_name` for `valid`.
    ///
    /// # Errors
    /// As [`Objects::link`].
    pub async fn link(
        &self,
        key: &str,
        file_name: &str,
        valid: Duration,
    ) -> Result<String, PortError> {
        let at = self.location(key);
        self.objects.link(&at, file_name, valid).await
    }

    /// One page of the objects whose keys start with `prefix`, after the key `after`, and the
    /// cursor of the next page.
    ///
    /// # Errors
    /// As [`Objects::list`].
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<ObjectInfo>, Option<String>), PortError> {
        let page = self.objects.list(&self.name, prefix, after).await?;
        Ok((page.objects, page.next))
    }

    /// All objects whose keys start with `prefix`, in the order of their keys.
    pub fn list_all(
        &self,
        prefix: &str,
    ) -> impl Stream<Item = Result<ObjectInfo, PortError>> + Send {
        items(pages(async move |after: Option<String>| {
            self.list(prefix, after.as_deref()).await
        }))
    }

    /// The objects that were put at or after `since`, with their versions.
    ///
    /// # Errors
    /// As [`Objects::put_since`].
    pub async fn put_since(&self, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>, PortError> {
        self.objects.put_since(&self.name, since).await
    }

    /// Deletes all objects whose keys start with `prefix`. Repeat it after an error.
    ///
    /// # Errors
    /// The service failed.
    pub async fn delete_all(&self, prefix: &str) -> Result<(), PortError> {
        pages(async move |after: Option<String>| self.list(prefix, after.as_deref()).await)
            .try_for_each(async |page| {
                let keys: Vec<String> = page.into_iter().map(|object| object.key).collect();
                match keys.is_empty() {
                    true => Ok(()),
                    false => self.objects.delete(&self.name, &keys).await,
                }
            })
            .await
    }
}

impl fmt::Debug for WorkBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkBucket").field(&self.name).finish()
    }
}
