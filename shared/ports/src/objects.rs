use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::Result;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// A version, in a versioned bucket; else the latest.
    pub version: Option<String>,
}

impl Location {
    /// The latest version of an object.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Location {
        Location {
            bucket: bucket.into(),
            key: key.into(),
            version: None,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// What is known of an object without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Changes with the content; without quotes.
    pub etag: String,
    /// Its version, in a versioned bucket.
    pub version: Option<String>,
    /// When it was put.
    pub modified: DateTime<Utc>,
    /// User metadata, names in lower case. Empty in listings.
    pub metadata: BTreeMap<String, String>,
}

/// An object with its bytes.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is known of it.
    pub info: ObjectInfo,
    /// Its bytes.
    pub body: Bytes,
}

/// How an object is put.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// Its media type.
    pub content_type: Option<String>,
    /// User metadata, names in lower case.
    pub metadata: BTreeMap<String, String>,
    /// Only if no object has the key; else [`crate::ErrorKind::Conflict`].
    pub if_absent: bool,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Objects in the order of their keys' UTF-8 bytes.
    pub objects: Vec<ObjectInfo>,
    /// Hand this to the next call as `after`; `None` at the end.
    pub next: Option<String>,
}

/// Objects in buckets: S3, or a directory.
///
/// A put is whole or not at all, and seen by every later get and list. A put and a delete may be
/// done twice.
#[async_trait]
pub trait Objects: Send + Sync {
    /// What is known of an object. [`crate::ErrorKind::NotFound`] where there is none.
    async fn head(&self, at: &Location) -> Result<ObjectInfo>;
    /// An object whole; for those known to be small.
    async fn get(&self, at: &Location) -> Result<Object>;
    /// Writes an object's bytes to a new file at `to`, replacing what is there.
    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo>;
    /// Puts bytes.
    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo>;
    /// Puts a file's bytes; for large ones.
    async fn upload(&self, bucket: &str, key: &str, from: &Path, put: Put) -> Result<ObjectInfo>;
    /// Objects whose keys start with `prefix`, after the key `after`; at most 1,000 a page.
    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page>;
    /// Deletes; keys without an object are passed over. Any number of keys.
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()>;
    /// A link that lets its bearer download the object as `file_name` for so long.
    async fn link(&self, at: &Location, file_name: &str, valid: Duration) -> Result<String>;
}
