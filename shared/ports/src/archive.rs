use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};

use crate::{Location, Result};

/// The temporary copy of an archived object that a restore makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchivedCopy {
    /// There is none: the object cannot be read.
    None,
    /// It is being made.
    InProgress,
    /// The object can be read until then.
    Until(DateTime<Utc>),
}

/// How an object is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// The storage class. `None`: not archived.
    pub class: Option<ArchiveClass>,
    /// The size in bytes.
    pub size: u64,
    /// A checksum of the content, which does not depend on the class. `None`: the service has none of
    /// the whole object.
    pub checksum: Option<String>,
    /// The copy that can be read. [`ArchivedCopy::None`] if the object is not archived, and for classes
    /// that are read without a restore.
    pub copy: ArchivedCopy,
}

/// An object of a listing with its storage class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The storage class. `None`: not archived.
    pub class: Option<ArchiveClass>,
}

/// A page of a listing with storage classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePage {
    /// Objects, in the order of their keys' UTF-8 bytes.
    pub objects: Vec<StoredObject>,
    /// The `after` of the next page. `None` at the end.
    pub next: Option<String>,
}

/// The answer to a request to restore an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreAnswer {
    /// The restore has started. An event says when it is complete.
    Started,
    /// It was requested before, with whatever speed, and is not complete.
    InProgress,
    /// It is complete: the object can be read until then.
    Restored(DateTime<Utc>),
    /// The object can be read: it is not archived, or in a class that needs no restore.
    NotNeeded,
    /// The service has no capacity for this speed at the moment
    /// (`GlacierExpeditedRetrievalNotAvailable`). A slower one is never refused for that.
    NoCapacity,
    /// The class does not offer this speed.
    WrongSpeed,
}

/// The storage classes of objects: S3, or a directory with the same rules.
///
/// An archived object cannot be read through [`Objects`](crate::Objects), except in
/// [`ArchiveClass::InstantRetrieval`]: a read fails with
/// [`ErrorKind::Archived`](crate::ErrorKind::Archived). After a restore, a temporary copy can be read
/// for some days. Putting an object again, or deleting it, works in every class.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Returns up to 1,000 objects whose keys start with `prefix` and come after the key `after`. Sees
    /// all changes that returned before it started.
    async fn stored(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<ArchivePage>;
    /// Returns how an object is stored.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    async fn status(&self, at: &Location) -> Result<ArchiveStatus>;
    /// Moves an object into a storage class: it is copied onto itself, with its metadata, and the
    /// checksum of the copy is compared with the one of the original. Does nothing if the object is in
    /// an archive class already.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    /// [`Conflict`](crate::ErrorKind::Conflict) if it was put again meanwhile.
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is larger than
    /// [`COPY_MAX`](rowmill_domain::limits::COPY_MAX), or the service has no checksum of its content.
    async fn archive(&self, at: &Location, class: ArchiveClass) -> Result<()>;
    /// Requests a temporary copy that can be read for `days`, at least 1. All answers are final except
    /// for [`RestoreAnswer::NoCapacity`], and repeating a request has no effect and no cost.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    async fn restore(&self, at: &Location, speed: RestoreSpeed, days: u32)
    -> Result<RestoreAnswer>;
    /// Moves a restored object out of its archive class for good, with the same check as
    /// [`Archive::archive`]. Does nothing if it is not archived.
    ///
    /// # Errors
    /// [`Archived`](crate::ErrorKind::Archived) if there is no copy to read: the restore is not complete,
    /// or the copy has expired. [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    async fn copy_back(&self, at: &Location) -> Result<()>;
}
