use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::Result;

/// The location of an object.
///
/// ```
/// use rowmill_ports::Location;
///
/// let at = Location::new("work", "runs/r/manifest.json");
/// assert_eq!(at.to_string(), "s3://work/runs/r/manifest.json");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The key, not encoded.
    pub key: String,
    /// A version, in a versioned bucket. `None`: the latest.
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

/// An object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// Changes with the content. Without quotes. Can be empty in listings.
    pub etag: String,
    /// The version, in a versioned bucket.
    pub version: Option<String>,
    /// When the object was put.
    pub modified: DateTime<Utc>,
    /// User metadata, with names in lower case. Empty in listings.
    pub metadata: BTreeMap<String, String>,
}

/// An object with its content.
#[derive(Clone, Debug)]
pub struct Object {
    /// Key, size, version and metadata.
    pub info: ObjectInfo,
    /// The content.
    pub body: Bytes,
}

/// A file, or a part of it, to put as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The file.
    pub path: PathBuf,
    /// The bytes of the part. `None`: the whole file.
    pub range: Option<Range<u64>>,
    /// Whether the file is never written to again. A store on the same file system may then share its
    /// content instead of copying it. Deleting it is allowed.
    pub is_final: bool,
}

impl FileRange {
    /// A whole file that is never written to again.
    pub fn of_final(path: impl Into<PathBuf>) -> FileRange {
        FileRange {
            path: path.into(),
            range: None,
            is_final: true,
        }
    }
}

impl<P: AsRef<Path>> From<P> for FileRange {
    fn from(path: P) -> FileRange {
        FileRange {
            path: path.as_ref().to_owned(),
            range: None,
            is_final: false,
        }
    }
}

/// Options of a put.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// The media type.
    pub content_type: Option<String>,
    /// User metadata, with names in lower case. Replaces all previous metadata.
    pub metadata: BTreeMap<String, String>,
    /// Put only if no object has the key. Otherwise the put fails with
    /// [`Conflict`](crate::ErrorKind::Conflict).
    pub if_absent: bool,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Objects, in the order of their keys' UTF-8 bytes.
    pub objects: Vec<ObjectInfo>,
    /// The `after` of the next page. `None` at the end.
    pub next: Option<String>,
}

/// Objects in buckets: S3, or a directory.
///
/// A put is atomic: readers see the previous object or the complete new one. Every get and list
/// that starts after a put or delete returned sees its effect. Puts and deletes can be repeated.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Returns an object without its content.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    async fn head(&self, at: &Location) -> Result<ObjectInfo>;
    /// Reads a whole object into memory. For objects that are known to be small.
    ///
    /// # Errors
    /// As [`Objects::head`].
    async fn get(&self, at: &Location) -> Result<Object>;
    /// Reads these bytes of an object, or fewer if it is shorter. The range is not empty.
    ///
    /// # Errors
    /// As [`Objects::head`], and [`Invalid`](crate::ErrorKind::Invalid) if the range starts at or after
    /// the end of the object.
    async fn get_range(&self, at: &Location, bytes: Range<u64>) -> Result<Bytes>;
    /// Writes an object to the file `to`, replacing what is there. The file is complete or unchanged.
    ///
    /// # Errors
    /// As [`Objects::head`].
    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo>;
    /// Puts bytes.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the key or the metadata is too long.
    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo>;
    /// Puts a file or a part of one, of any size.
    ///
    /// # Errors
    /// As [`Objects::put`].
    async fn upload(
        &self,
        bucket: &str,
        key: &str,
        from: &FileRange,
        put: Put,
    ) -> Result<ObjectInfo>;
    /// Puts a copy of an object of at most [`COPY_MAX`](rowmill_domain::limits::COPY_MAX) bytes, without
    /// reading it here. Its media type and metadata are those of `put`.
    ///
    /// # Errors
    /// As [`Objects::head`] of `from` and as [`Objects::put`].
    async fn copy(&self, from: &Location, bucket: &str, key: &str, put: Put) -> Result<ObjectInfo>;
    /// Returns up to 1,000 objects whose keys start with `prefix` and come after the key `after`.
    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page>;
    /// Returns all objects in the bucket that were put at or after `since`, with their versions and without
    /// metadata, in the order of their keys. Leaves out versions that are deleted or replaced.
    async fn put_since(&self, bucket: &str, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>>;
    /// Deletes any number of objects. Keys without an object are ignored.
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()>;
    /// Returns a link that lets anyone who has it download the object as `file_name`, for `valid`.
    async fn link(&self, at: &Location, file_name: &str, valid: Duration) -> Result<String>;
}
