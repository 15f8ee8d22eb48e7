//! Storage classes of objects: a record beside the object, with the rules of S3.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_ports::{
    ArchivePage, ArchiveStatus, ArchivedCopy, ErrorKind, RestoreAnswer, StoredObject,
};
use serde::{Deserialize, Serialize};

use super::{Content, Result, Store, StoreError, install, is_absent, path, prune, write_temporary};

/// Seconds of a restore on one machine for each hour on AWS, and the least. The longest, 48 hours, takes
/// 48 seconds: less than messages may be delayed.
const RESTORE_SECONDS: (f64, f64) = (1.0, 1.0);

/// How an object is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Archived {
    class: ArchiveClass,
    /// The temporary copy, if one was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy: Option<Copy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Copy {
    /// When it can be read.
    from: DateTime<Utc>,
    /// When it expires.
    until: DateTime<Utc>,
}

impl Archived {
    fn copy(self, now: DateTime<Utc>) -> ArchivedCopy {
        match self.copy {
            Some(copy) if now < copy.from => ArchivedCopy::InProgress,
            Some(copy) if now < copy.until => ArchivedCopy::Until(copy.until),
            _ => ArchivedCopy::None,
        }
    }
}

impl Store {
    fn archive_path(&self, key: &str) -> PathBuf {
        let mut path = self
            .internal("archive")
            .join(path::of_key(key))
            .into_os_string();
        path.push(".json");
        path.into()
    }

    fn archived(&self, key: &str) -> Result<Option<Archived>> {
        let path = self.archive_path(key);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
                StoreError::new(ErrorKind::Invalid, format!("{}: {error}", path.display()))
            }),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StoreError::local(&path)(error)),
        }
    }

    fn record_archive(&self, key: &str, archived: Archived) -> Result<()> {
        let json = serde_json::to_vec(&archived)
            .map_err(|error| StoreError::new(ErrorKind::Invalid, error.to_string()))?;
        let temporary = self.temporary();
        write_temporary(&temporary.0, Content::Bytes(&json))?;
        install(&temporary.0, &self.archive_path(key))
    }

    /// Removes the record: the object is no longer archived.
    pub(super) fn forget_archive(&self, key: &str) -> Result<()> {
        let path = self.archive_path(key);
        match fs::remove_file(&path) {
            Ok(()) => prune(&path, &self.internal("archive")),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(StoreError::local(&path)(error)),
        }
        Ok(())
    }

    /// Refuses to read an archived object without a copy.
    pub(in crate::objects) fn readable(&self, key: &str) -> Result<()> {
        let Some(archived) = self.archived(key)? else {
            return Ok(());
        };
        let needs_copy = !archived.class.speeds().is_empty();
        match archived.copy((self.clock)()) {
            ArchivedCopy::None | ArchivedCopy::InProgress if needs_copy => Err(not_restored()),
            _ => Ok(()),
        }
    }

    pub(super) fn open_to_read(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<super::OpenObject> {
        self.readable(key)?;
        self.open_object(key, version)
    }

    pub(in crate::objects) fn stored(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ArchivePage> {
        let page = self.list(prefix, after)?;
        let objects = page.objects.into_iter().map(|info| {
            Ok(StoredObject {
                class: self.archived(&info.key)?.map(|archived| archived.class),
                key: info.key,
                size: info.size,
            })
        });
        Ok(ArchivePage {
            objects: objects.collect::<Result<_>>()?,
            next: page.next,
        })
    }

    pub(in crate::objects) fn status(&self, key: &str) -> Result<ArchiveStatus> {
        let info = self.head(key, None)?;
        let archived = self.archived(key)?;
        Ok(ArchiveStatus {
            class: archived.map(|archived| archived.class),
            size: info.size,
            checksum: Some(info.etag),
            copy: archived.map_or(ArchivedCopy::None, |archived| archived.copy((self.clock)())),
        })
    }

    /// The content stays where it is, so there is no copy to compare.
    pub(in crate::objects) fn archive(&self, key: &str, class: ArchiveClass) -> Result<()> {
        let _lock = self.lock()?;
        self.exists(key)?;
        match self.archived(key)? {
            Some(_) => Ok(()),
            None => self.record_archive(key, Archived { class, copy: None }),
        }
    }

    /// Returns the answer, and when a restore that it started is complete.
    pub(in crate::objects) fn restore(
        &self,
        key: &str,
        speed: RestoreSpeed,
        days: u32,
    ) -> Result<(RestoreAnswer, Option<DateTime<Utc>>)> {
        let _lock = self.lock()?;
        self.exists(key)?;
        let Some(archived) = self.archived(key)? else {
            return Ok((RestoreAnswer::NotNeeded, None));
        };
        let class = archived.class;
        if class.speeds().is_empty() {
            return Ok((RestoreAnswer::NotNeeded, None));
        }
        let now = (self.clock)();
        match archived.copy(now) {
            ArchivedCopy::InProgress => return Ok((RestoreAnswer::InProgress, None)),
            ArchivedCopy::Until(until) => return Ok((RestoreAnswer::Restored(until), None)),
            ArchivedCopy::None => {}
        }
        let Some(within) = class.restored_within(speed) else {
            return Ok((RestoreAnswer::WrongSpeed, None));
        };
        let (per_hour, least) = RESTORE_SECONDS;
        let seconds = (within.as_secs_f64() / 3600.0 * per_hour).max(least);
        let from = now + TimeDelta::milliseconds((seconds * 1000.0) as i64);
        let copy = Some(Copy {
            from,
            until: from + TimeDelta::days(i64::from(days)),
        });
        self.record_archive(key, Archived { class, copy })?;
        Ok((RestoreAnswer::Started, Some(from)))
    }

    pub(in crate::objects) fn copy_back(&self, key: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.exists(key)?;
        self.readable(key)?;
        self.forget_archive(key)
    }

    fn exists(&self, key: &str) -> Result<()> {
        let path: &Path = &self.path(key)?;
        match fs::metadata(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::io(path)(error)),
        }
    }
}

fn not_restored() -> StoreError {
    let message = "the object is archived and has no restored copy: restore it first";
    StoreError::new(ErrorKind::Archived, message)
}
