//! Buckets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rowmill_domain::limits::{OBJECT_KEY_MAX, OBJECT_METADATA_MAX};
use rowmill_ports::{
    ErrorKind, FileRange, Location, Object, ObjectInfo, Objects, Page, PortError, Put, Result,
};

use super::{Clock, lock};

/// Objects per page of a listing.
const PAGE: usize = 1000;

/// Buckets in memory.
pub struct MemoryObjects {
    now: Clock,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

#[derive(Default)]
struct Bucket {
    versioned: bool,
    puts: u64,
    /// The versions of each key, oldest first; `None` where the object was deleted.
    keys: BTreeMap<String, Vec<Option<Object>>>,
}

impl Bucket {
    fn latest(&self, key: &str) -> Option<&Object> {
        self.keys.get(key)?.last()?.as_ref()
    }

    fn find(&self, at: &Location) -> Option<&Object> {
        match &at.version {
            None => self.latest(&at.key),
            version => {
                let mut versions = self.keys.get(&at.key)?.iter().flatten();
                versions.find(|object| object.info.version == *version)
            }
        }
    }
}

fn error(
    operation: &'static str,
    at: &Location,
    kind: ErrorKind,
    what: impl std::fmt::Display,
) -> PortError {
    PortError::new(operation, at.to_string(), kind, what)
}

impl MemoryObjects {
    /// Empty buckets, each with its name and whether it is versioned.
    pub fn new(now: Clock, buckets: &[(&str, bool)]) -> MemoryObjects {
        let bucket = |(name, versioned): &(&str, bool)| {
            let bucket = Bucket {
                versioned: *versioned,
                ..Bucket::default()
            };
            (name.to_string(), bucket)
        };
        MemoryObjects {
            now,
            buckets: Mutex::new(buckets.iter().map(bucket).collect()),
        }
    }

    /// The keys of all objects of a bucket, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = lock(&self.buckets);
        let keys = buckets[bucket].keys.iter();
        let present = keys.filter(|(_, versions)| versions.last().is_some_and(Option::is_some));
        present.map(|(key, _)| key.clone()).collect()
    }

    /// The content of an object.
    pub fn read(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let object = lock(&self.buckets)[bucket].latest(key).cloned();
        object.map(|object| object.body)
    }

    /// Removes all objects and versions whose keys start with `prefix`, as a lifecycle rule does.
    pub fn expire(&self, bucket: &str, prefix: &str) {
        let mut buckets = lock(&self.buckets);
        let keys = buckets.get_mut(bucket).map(|bucket| &mut bucket.keys);
        keys.into_iter()
            .for_each(|keys| keys.retain(|key, _| !key.starts_with(prefix)));
    }

    fn find(&self, operation: &'static str, at: &Location) -> Result<Object> {
        let buckets = lock(&self.buckets);
        let bucket = buckets.get(&at.bucket);
        let found = bucket.and_then(|bucket| bucket.find(at)).cloned();
        found.ok_or_else(|| error(operation, at, ErrorKind::NotFound, "no such object"))
    }

    fn store(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        let at = Location::new(bucket, key);
        let metadata: usize = put.metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
        let invalid = |what| Err(error("PutObject", &at, ErrorKind::Invalid, what));
        if key.is_empty() || key.len() > OBJECT_KEY_MAX {
            return invalid("the key is empty or too long");
        }
        if metadata > OBJECT_METADATA_MAX {
            return invalid("the metadata is too long");
        }
        let modified = (self.now)();
        let mut buckets = lock(&self.buckets);
        let Some(bucket) = buckets.get_mut(bucket) else {
            return Err(error(
                "PutObject",
                &at,
                ErrorKind::NotFound,
                "no such bucket",
            ));
        };
        if put.if_absent && bucket.latest(key).is_some() {
            return Err(error(
                "PutObject",
                &at,
                ErrorKind::Conflict,
                "the object exists",
            ));
        }
        bucket.puts += 1;
        let info = ObjectInfo {
            key: key.to_owned(),
            size: body.len() as u64,
            etag: blake3::hash(&body).to_hex()[..32].to_owned(),
            version: bucket.versioned.then(|| format!("v{}", bucket.puts)),
            modified,
            metadata: put.metadata,
        };
        let object = Object {
            info: info.clone(),
            body,
        };
        let versions = bucket.keys.entry(key.to_owned()).or_default();
        if !bucket.versioned {
            versions.clear();
        }
        versions.push(Some(object));
        Ok(info)
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn head(&self, at: &Location) -> Result<ObjectInfo> {
        Ok(self.find("HeadObject", at)?.info)
    }

    async fn get(&self, at: &Location) -> Result<Object> {
        self.find("GetObject", at)
    }

    async fn get_range(&self, at: &Location, range: Range<u64>) -> Result<Bytes> {
        let body = self.find("GetObject", at)?.body;
        let size = body.len() as u64;
        if range.is_empty() || range.start >= size {
            return Err(error("GetObject", at, ErrorKind::Invalid, "no such range"));
        }
        Ok(body.slice(range.start as usize..range.end.min(size) as usize))
    }

    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo> {
        let object = self.find("GetObject", at)?;
        match std::fs::write(to, &object.body) {
            Ok(()) => Ok(object.info),
            Err(e) => Err(error("GetObject", at, ErrorKind::Unavailable, e)),
        }
    }

    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        self.store(bucket, key, body, put)
    }

    async fn upload(
        &self,
        bucket: &str,
        key: &str,
        from: &FileRange,
        put: Put,
    ) -> Result<ObjectInfo> {
        let read = || {
            let body = Bytes::from(std::fs::read(&from.path)?);
            let Some(range) = &from.range else {
                return Ok(body);
            };
            let range = range.start as usize..range.end as usize;
            match body.get(range.clone()) {
                Some(_) => Ok(body.slice(range)),
                None => Err(std::io::Error::other("the file is shorter")),
            }
        };
        match read() {
            Ok(body) => self.store(bucket, key, body, put),
            Err(e) => {
                let at = Location::new(bucket, key);
                Err(error("PutObject", &at, ErrorKind::Unavailable, e))
            }
        }
    }

    async fn copy(&self, from: &Location, bucket: &str, key: &str, put: Put) -> Result<ObjectInfo> {
        let body = self.find("CopyObject", from)?.body;
        self.store(bucket, key, body, put)
    }

    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page> {
        let buckets = lock(&self.buckets);
        let Some(bucket) = buckets.get(bucket) else {
            let at = Location::new(bucket, prefix);
            return Err(error(
                "ListObjectsV2",
                &at,
                ErrorKind::NotFound,
                "no such bucket",
            ));
        };
        let objects = bucket.keys.keys().filter_map(|key| bucket.latest(key));
        let listed = objects.filter(|object| {
            let key = &object.info.key;
            key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let mut objects: Vec<ObjectInfo> = listed
            .take(PAGE + 1)
            .map(|object| ObjectInfo {
                metadata: BTreeMap::new(),
                ..object.info.clone()
            })
            .collect();
        let more = objects.len() > PAGE;
        objects.truncate(PAGE);
        let next = objects.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Page { objects, next })
    }

    async fn put_since(&self, bucket: &str, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        let buckets = lock(&self.buckets);
        let keys = buckets.get(bucket).map(|bucket| bucket.keys.values());
        let latest = keys
            .into_iter()
            .flatten()
            .filter_map(|of| of.last()?.as_ref());
        let infos = latest.map(|object| ObjectInfo {
            metadata: BTreeMap::new(),
            ..object.info.clone()
        });
        Ok(infos.filter(|info| info.modified >= since).collect())
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()> {
        if let Some(bucket) = lock(&self.buckets).get_mut(bucket) {
            for key in keys {
                match bucket.versioned {
                    true => bucket.keys.entry(key.clone()).or_default().push(None),
                    false => drop(bucket.keys.remove(key)),
                }
            }
        }
        Ok(())
    }

    async fn link(&self, at: &Location, _file_name: &str, _valid: Duration) -> Result<String> {
        let key = utf8_percent_encode(&at.key, NON_ALPHANUMERIC);
        Ok(format!("memory://{}/{key}", at.bucket))
    }
}
