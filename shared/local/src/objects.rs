//! Buckets as directories.

mod archive;
mod path;
mod store;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rowmill_domain::event::ObjectCreated;
use rowmill_ports::{
    ErrorKind, FileRange, Location, Object, ObjectInfo, Objects, Page, PortError, Put, Result,
};
use serde_json::Value;

use crate::LocalError;
pub use archive::LocalArchive;
use store::{Content, Store, StoreError};

/// A bucket to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The name of the bucket.
    pub name: String,
    /// The directory of the bucket, created if it does not exist. An ordinary key is the path of its
    /// file below it.
    pub path: PathBuf,
    /// Whether the bucket is versioned. A version id is the hash of content and metadata: putting the
    /// same object again gives the same version with its original date.
    pub versioned: bool,
}

/// Says what time it is: the system's clock, or one that a test controls.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Buckets as directories. Several processes may use them at the same time.
///
/// User metadata is stored, but the media type is not, because files have none.
pub struct DirObjects {
    buckets: Vec<(String, Arc<Store>)>,
}

impl DirObjects {
    /// Opens the buckets, and creates their directories if necessary.
    ///
    /// # Errors
    /// A directory cannot be created or read.
    pub fn open(buckets: Vec<Bucket>) -> std::result::Result<DirObjects, LocalError> {
        DirObjects::with_clock(buckets, Arc::new(Utc::now))
    }

    /// The same, with a clock by which restored copies of archived objects expire.
    ///
    /// # Errors
    /// As [`DirObjects::open`].
    pub fn with_clock(
        buckets: Vec<Bucket>,
        clock: Clock,
    ) -> std::result::Result<DirObjects, LocalError> {
        let open = |bucket: Bucket| {
            let store = Store::open(&bucket.path, bucket.versioned, Arc::clone(&clock))
                .map_err(LocalError::file(&bucket.path))?;
            Ok((bucket.name, Arc::new(store)))
        };
        let buckets = buckets
            .into_iter()
            .map(open)
            .collect::<std::result::Result<_, _>>()?;
        Ok(DirObjects { buckets })
    }

    /// All versions of all objects in the bucket, including deleted objects, in the order of their
    /// paths (ListObjectVersions).
    ///
    /// # Errors
    /// There is no such bucket, or its directory cannot be read.
    pub async fn versions(&self, bucket: &str) -> Result<Vec<ObjectInfo>> {
        self.call("ListObjectVersions", bucket, "", |store| store.versions())
            .await
    }

    /// Removes directories without objects, which a process leaves that is killed between deleting an
    /// object and its directory. No other process may put objects meanwhile.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn remove_empty_directories(&self) -> std::result::Result<(), LocalError> {
        for (_, store) in &self.buckets {
            let root = store.root();
            store::remove_empty_below(root).map_err(LocalError::file(root))?;
        }
        Ok(())
    }

    /// Runs blocking work on a bucket.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        bucket: &str,
        key: &str,
        work: impl FnOnce(&Store) -> std::result::Result<T, StoreError> + Send + 'static,
    ) -> Result<T> {
        let at = Location::new(bucket, key);
        let error =
            |kind, message: String| PortError::new(operation, at.to_string(), kind, message);
        let store = self.buckets.iter().find(|(name, _)| name == bucket);
        let Some((_, store)) = store else {
            return Err(error(ErrorKind::NotFound, "no such bucket".to_owned()));
        };
        let store = Arc::clone(store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result.map_err(|e| error(e.kind, e.message)),
            Err(panicked) => Err(error(ErrorKind::Unavailable, panicked.to_string())),
        }
    }
}

#[async_trait]
impl Objects for DirObjects {
    async fn head(&self, at: &Location) -> Result<ObjectInfo> {
        let (key, version) = (at.key.clone(), at.version.clone());
        self.call("HeadObject", &at.bucket, &at.key, move |store| {
            store.head(&key, version.as_deref())
        })
        .await
    }

    async fn get(&self, at: &Location) -> Result<Object> {
        let (key, version) = (at.key.clone(), at.version.clone());
        self.call("GetObject", &at.bucket, &at.key, move |store| {
            let (info, body) = store.get(&key, version.as_deref())?;
            Ok(Object {
                info,
                body: Bytes::from(body),
            })
        })
        .await
    }

    async fn get_range(&self, at: &Location, bytes: Range<u64>) -> Result<Bytes> {
        let (key, version) = (at.key.clone(), at.version.clone());
        self.call("GetObject", &at.bucket, &at.key, move |store| {
            store.get_range(&key, version.as_deref(), bytes)
        })
        .await
    }

    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo> {
        let (key, version, to) = (at.key.clone(), at.version.clone(), to.to_owned());
        self.call("GetObject", &at.bucket, &at.key, move |store| {
            store.download(&key, version.as_deref(), &to)
        })
        .await
    }

    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        let owned = key.to_owned();
        self.call("PutObject", bucket, key, move |store| {
            store.put(&owned, Content::Bytes(&body), &put)
        })
        .await
    }

    async fn upload(
        &self,
        bucket: &str,
        key: &str,
        from: &FileRange,
        put: Put,
    ) -> Result<ObjectInfo> {
        let (owned, from) = (key.to_owned(), from.clone());
        self.call("PutObject", bucket, key, move |store| {
            store.put(&owned, Content::File(&from), &put)
        })
        .await
    }

    async fn copy(&self, from: &Location, bucket: &str, key: &str, put: Put) -> Result<ObjectInfo> {
        let info = self.head(from).await?;
        let version = from.version.clone().or(info.version);
        let source = from.key.clone();
        let path = self
            .call("CopyObject", &from.bucket, &from.key, move |store| {
                store.readable(&source)?;
                match version {
                    Some(version) => store.version_path(&source, &version),
                    None => store.path(&source),
                }
            })
            .await?;
        self.upload(bucket, key, &path.into(), put).await
    }

    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page> {
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.call("ListObjectsV2", bucket, prefix, move |store| {
            store.list(&owned, after.as_deref())
        })
        .await
    }

    async fn put_since(&self, bucket: &str, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        self.call("ListObjectVersions", bucket, "", move |store| {
            store.put_since(since)
        })
        .await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()> {
        let keys = keys.to_vec();
        self.call("DeleteObjects", bucket, "", move |store| {
            keys.iter().try_for_each(|key| store.delete(key))
        })
        .await
    }

    /// A `file://` URL. It stays valid as long as the object exists, for anyone who can read the file.
    async fn link(&self, at: &Location, _file_name: &str, _valid: Duration) -> Result<String> {
        let (key, version) = (at.key.clone(), at.version.clone());
        let path = self
            .call(
                "GetObject",
                &at.bucket,
                &at.key,
                move |store| match version {
                    Some(version) => store.version_path(&key, &version),
                    None => store.path(&key),
                },
            )
            .await?;
        let path = percent_encode(path.as_os_str().as_encoded_bytes(), URL_PATH);
        Ok(format!("file://{path}"))
    }
}

/// Characters that need no escape in the path of a URL.
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The notification that S3 sends after `object` was put into `bucket`.
pub fn inbox_event(bucket: &str, object: &ObjectInfo) -> Value {
    let created = ObjectCreated {
        bucket: bucket.to_owned(),
        key: object.key.clone(),
        version: object
            .version
            .clone()
            .unwrap_or_else(|| object.etag.clone()),
        versioned: object.version.is_some(),
        size: object.size,
        time: object.modified,
    };
    rowmill_events::s3_created_event(&created, &object.etag)
}
