//! The directory of one bucket: the blocking operations of [`super::DirObjects`].
//!
//! | below the bucket | content |
//! |---|---|
//! | the key's path ([`path::of_key`]) | the object; in a versioned bucket, a link to its latest version |
//! | `.store/versions/<path>/<version>` | the content of a version |
//! | `.store/meta/<path>/<version or etag>.json` | user metadata, if there is any |
//! | `.store/archive/<path>.json` | how the object is archived, if it is ([`archive`]) |
//! | `.store/tmp/<pid>-<random>` | a file being written, or another name of one to take over |
//! | `.store/lock` | locked during a change of the bucket |

mod archive;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, FileRange, ObjectInfo, Page, Put};

use super::{Clock, path};

/// Objects per page, as in S3.
const PAGE_SIZE: usize = 1000;

const STORE: &str = ".store";

/// Why an operation failed. The caller adds the name of the operation.
#[derive(Debug)]
pub(super) struct StoreError {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> StoreError {
        StoreError {
            kind,
            message: message.into(),
        }
    }

    /// An I/O error on the file of an object.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |error| {
            if is_absent(&error) {
                return StoreError::new(ErrorKind::NotFound, "no such object");
            }
            StoreError::local(path)(error)
        }
    }

    /// An I/O error on any other file.
    fn local(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::Denied
                }
                _ => ErrorKind::Unavailable,
            };
            StoreError::new(kind, format!("{}: {error}", path.display()))
        }
    }
}

/// The content of an object to put: bytes, or a file or a part of it.
pub(super) enum Content<'a> {
    Bytes(&'a [u8]),
    File(&'a FileRange),
}

pub(super) struct Store {
    root: PathBuf,
    versioned: bool,
    /// The time by which restored copies appear and expire.
    clock: Clock,
}

/// An object opened for reading.
struct OpenObject {
    file: File,
    path: PathBuf,
    version: Option<String>,
}

impl Store {
    /// Opens the bucket. Creates its directory if necessary, and removes partial files that killed
    /// processes left behind.
    pub(super) fn open(root: &Path, versioned: bool, clock: Clock) -> io::Result<Store> {
        let root = std::path::absolute(root)?;
        let store = Store {
            root,
            versioned,
            clock,
        };
        let temporaries = store.internal("tmp");
        fs::create_dir_all(&temporaries)?;
        for entry in fs::read_dir(&temporaries)? {
            let entry = entry?;
            if !is_writer_alive(&entry.file_name().to_string_lossy()) {
                // Another process may have removed it in the meantime.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(store)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn internal(&self, name: &str) -> PathBuf {
        self.root.join(STORE).join(name)
    }

    /// The path of the latest object with this key.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf> {
        if key.is_empty() || key.len() > limits::OBJECT_KEY_MAX {
            let message = format!(
                "a key must have 1 to {} bytes; this one has {}",
                limits::OBJECT_KEY_MAX,
                key.len()
            );
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        Ok(self.root.join(path::of_key(key)))
    }

    /// The path of a version of an object.
    pub(super) fn version_path(&self, key: &str, version: &str) -> Result<PathBuf> {
        self.path(key)?;
        // Only a version id may become part of a path.
        if !self.versioned || !is_version(version) {
            return Err(StoreError::new(ErrorKind::NotFound, "no such version"));
        }
        Ok(self
            .internal("versions")
            .join(path::of_key(key))
            .join(version))
    }

    fn open_object(&self, key: &str, version: Option<&str>) -> Result<OpenObject> {
        let (path, version) = match version {
            Some(version) => (self.version_path(key, version)?, Some(version.to_owned())),
            None if self.versioned => {
                // Read the link once, so that version id and content belong together.
                let link = self.path(key)?;
                let target = fs::read_link(&link).map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidInput => StoreError::new(
                        ErrorKind::NotFound,
                        "the file is not an object of this bucket",
                    ),
                    _ => StoreError::io(&link)(error),
                })?;
                let version = target
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                (self.version_path(key, &version)?, Some(version))
            }
            None => (self.path(key)?, None),
        };
        let file = File::open(&path).map_err(StoreError::io(&path))?;
        Ok(OpenObject {
            file,
            path,
            version,
        })
    }

    /// An object as a listing has it: nothing is read, because the hash of its content and its metadata
    /// are left out.
    fn listed(&self, key: &str) -> Result<ObjectInfo> {
        let opened = self.open_object(key, None)?;
        let about = opened.file.metadata();
        let about = about.and_then(|about| Ok((about.len(), about.modified()?)));
        let (size, modified) = about.map_err(StoreError::io(&opened.path))?;
        Ok(ObjectInfo {
            key: key.to_owned(),
            size,
            etag: String::new(),
            version: opened.version,
            modified: to_millis(modified.into()),
            metadata: BTreeMap::new(),
        })
    }

    fn info(&self, key: &str, opened: &OpenObject, etag: String, size: u64) -> Result<ObjectInfo> {
        let id = opened.version.as_deref().unwrap_or(&etag);
        let metadata = self.metadata(key, id)?;
        let modified = opened.file.metadata().and_then(|m| m.modified());
        let modified = modified.map_err(StoreError::io(&opened.path))?;
        Ok(ObjectInfo {
            key: key.to_owned(),
            size,
            etag,
            version: opened.version.clone(),
            modified: to_millis(modified.into()),
            metadata,
        })
    }

    pub(super) fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo> {
        let mut opened = self.open_object(key, version)?;
        let (etag, size) =
            copy(&mut opened.file, &mut io::sink()).map_err(StoreError::io(&opened.path))?;
        self.info(key, &opened, etag, size)
    }

    pub(super) fn get(&self, key: &str, version: Option<&str>) -> Result<(ObjectInfo, Vec<u8>)> {
        let mut opened = self.open_to_read(key, version)?;
        let mut body = Vec::new();
        opened
            .file
            .read_to_end(&mut body)
            .map_err(StoreError::io(&opened.path))?;
        let etag = blake3::hash(&body).to_string();
        let info = self.info(key, &opened, etag, body.len() as u64)?;
        Ok((info, body))
    }

    pub(super) fn get_range(
        &self,
        key: &str,
        version: Option<&str>,
        bytes: Range<u64>,
    ) -> Result<Bytes> {
        let OpenObject { mut file, path, .. } = self.open_to_read(key, version)?;
        let length = bytes.end.saturating_sub(bytes.start);
        let mut body = Vec::new();
        let read = file
            .seek(io::SeekFrom::Start(bytes.start))
            .and_then(|_| file.take(length).read_to_end(&mut body));
        read.map_err(StoreError::io(&path))?;
        match body.is_empty() {
            true => Err(StoreError::new(
                ErrorKind::Invalid,
                format!("the range starts at {}, after the end", bytes.start),
            )),
            false => Ok(body.into()),
        }
    }

    pub(super) fn download(
        &self,
        key: &str,
        version: Option<&str>,
        to: &Path,
    ) -> Result<ObjectInfo> {
        let mut opened = self.open_to_read(key, version)?;
        // Replace the file, so that programs that have the old one open can keep reading it.
        match fs::remove_file(to) {
            Err(error) if !is_absent(&error) => return Err(StoreError::local(to)(error)),
            _ => {}
        }
        let mut file = File::create_new(to).map_err(StoreError::local(to))?;
        let (etag, size) = copy(&mut opened.file, &mut file).map_err(StoreError::local(to))?;
        self.info(key, &opened, etag, size)
    }

    pub(super) fn put(&self, key: &str, source: Content<'_>, put: &Put) -> Result<ObjectInfo> {
        let target = self.path(key)?;
        let bytes: usize = put.metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
        if bytes > limits::OBJECT_METADATA_MAX {
            let message = format!(
                "user metadata has {bytes} bytes; the maximum is {}",
                limits::OBJECT_METADATA_MAX
            );
            return Err(StoreError::new(ErrorKind::Invalid, message));
        }
        let temporary = self.temporary();
        let linked = match source {
            // A version may be linked to elsewhere, and its file be edited there.
            Content::File(from) if !self.versioned => link_temporary(&temporary.0, from)?,
            _ => None,
        };
        let (etag, size) = match linked {
            Some(written) => written,
            None => write_temporary(&temporary.0, source)?,
        };

        let _lock = self.lock()?;
        if put.if_absent && target.symlink_metadata().is_ok() {
            return Err(StoreError::new(
                ErrorKind::Conflict,
                "an object with this key exists",
            ));
        }
        let version = self.versioned.then(|| version_id(&etag, &put.metadata));
        self.forget_archive(key)?;
        // Write the metadata first, so that there is never an object without its metadata.
        self.write_metadata(key, version.as_deref().unwrap_or(&etag), &put.metadata)?;
        match &version {
            None => install(&temporary.0, &target)?,
            Some(version) => {
                let path = self.version_path(key, version)?;
                if !path.exists() {
                    install(&temporary.0, &path)?;
                }
                self.set_latest(&target, key, version)?;
            }
        }
        let path = match &version {
            Some(version) => self.version_path(key, version)?,
            None => target,
        };
        let file = File::open(&path).map_err(StoreError::local(&path))?;
        let opened = OpenObject {
            file,
            path,
            version,
        };
        self.info(key, &opened, etag, size)
    }

    /// Makes a version the latest.
    fn set_latest(&self, target: &Path, key: &str, version: &str) -> Result<()> {
        let relative = path::of_key(key);
        let mut link: PathBuf = relative.components().skip(1).map(|_| "..").collect();
        link.extend([STORE, "versions"]);
        link.push(&relative);
        link.push(version);
        let temporary = self.temporary();
        std::os::unix::fs::symlink(&link, &temporary.0).map_err(StoreError::local(&temporary.0))?;
        install(&temporary.0, target)
    }

    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let _lock = self.lock()?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            // The metadata may still exist if an earlier delete was killed.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(StoreError::local(&path)(error)),
        }
        prune(&path, &self.root);
        self.forget_archive(key)?;
        if !self.versioned {
            let meta = self.internal("meta");
            let path = meta.join(path::of_key(key));
            match fs::remove_dir_all(&path) {
                Err(error) if !is_absent(&error) => return Err(StoreError::local(&path)(error)),
                _ => prune(&path, &meta),
            }
        }
        Ok(())
    }

    /// At most [`PAGE_SIZE`] objects after `after` whose keys start with `prefix`, in the order of
    /// their keys.
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let mut keys = Vec::new();
        let walk = Walk {
            root: &self.root,
            prefix,
            after,
        };
        walk.collect(Path::new(""), "", &mut keys)?;
        keys.sort_unstable();
        let more = keys.len() > PAGE_SIZE;
        keys.truncate(PAGE_SIZE);
        let next = keys.last().filter(|_| more).cloned();
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            match self.listed(&key) {
                Ok(info) => objects.push(info),
                // Deleted in the meantime.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Page { objects, next })
    }

    /// All versions of all objects, including deleted ones. In a bucket without versions, all
    /// objects.
    pub(super) fn versions(&self) -> Result<Vec<ObjectInfo>> {
        let root = match self.versioned {
            true => self.internal("versions"),
            false => self.root.clone(),
        };
        let mut files = Vec::new();
        files_below(&root, Path::new(""), &mut files)?;
        files.sort_unstable();
        let mut all = Vec::new();
        for file in files {
            let (key, version) = match self.versioned {
                true => (
                    file.parent().and_then(path::key_of),
                    file.file_name().and_then(|name| name.to_str()),
                ),
                false => (path::key_of(&file), None),
            };
            if let Some(key) = key {
                all.push(self.head(&key, version)?);
            }
        }
        Ok(all)
    }

    /// The objects that were put at or after `since`, in the order of their keys.
    pub(super) fn put_since(&self, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        let mut keys = Vec::new();
        let walk = Walk {
            root: &self.root,
            prefix: "",
            after: None,
        };
        walk.collect(Path::new(""), "", &mut keys)?;
        keys.sort_unstable();
        let mut found = Vec::new();
        for key in keys {
            // Without reading the file, as `head` does.
            match fs::metadata(self.path(&key)?).and_then(|file| file.modified()) {
                Ok(put) if to_millis(put.into()) >= since => {}
                _ => continue,
            }
            match self.head(&key, None) {
                Ok(info) => found.push(ObjectInfo {
                    metadata: BTreeMap::new(),
                    ..info
                }),
                // Deleted in the meantime.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn metadata_path(&self, key: &str, id: &str) -> PathBuf {
        let directory = self.internal("meta").join(path::of_key(key));
        directory.join(format!("{id}.json"))
    }

    fn metadata(&self, key: &str, id: &str) -> Result<BTreeMap<String, String>> {
        let path = self.metadata_path(key, id);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| {
                StoreError::new(ErrorKind::Invalid, format!("{}: {error}", path.display()))
            }),
            Err(error) if is_absent(&error) => Ok(BTreeMap::new()),
            Err(error) => Err(StoreError::local(&path)(error)),
        }
    }

    fn write_metadata(
        &self,
        key: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        let path = self.metadata_path(key, id);
        if metadata.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if !is_absent(&error) => Err(StoreError::local(&path)(error)),
                _ => Ok(()),
            };
        }
        let json = serde_json::to_vec(metadata)
            .map_err(|error| StoreError::new(ErrorKind::Invalid, error.to_string()))?;
        let temporary = self.temporary();
        write_temporary(&temporary.0, Content::Bytes(&json))?;
        install(&temporary.0, &path)
    }

    fn temporary(&self) -> Temporary {
        // Random, because a process in a container may have the same id as a killed one before it.
        let name = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        Temporary(self.internal("tmp").join(name))
    }

    /// Locks the bucket for all processes until the file is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.internal("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StoreError::local(&path))?;
        file.lock().map_err(StoreError::local(&path))?;
        Ok(file)
    }
}

/// A walk through the directory of a bucket that skips directories outside the listing.
struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: Option<&'a str>,
}

impl Walk<'_> {
    fn collect(&self, below: &Path, key_so_far: &str, keys: &mut Vec<String>) -> Result<()> {
        for (name, is_directory) in names(&self.root.join(below))? {
            let path = below.join(&name);
            let Some(segment) = path::segment_of(&name) else {
                continue;
            };
            if is_directory {
                let slash = if name.ends_with("%c") { "" } else { "/" };
                let start = format!("{key_so_far}{segment}{slash}");
                let holds_prefix =
                    start.starts_with(self.prefix) || self.prefix.starts_with(&start);
                let all_before = (self.after)
                    .is_some_and(|after| start.as_str() < after && !after.starts_with(&start));
                if holds_prefix && !all_before {
                    self.collect(&path, &start, keys)?;
                }
            } else if let Some(key) = path::key_of(&path)
                && key.starts_with(self.prefix)
                && self.after.is_none_or(|after| key.as_str() > after)
            {
                keys.push(key);
            }
        }
        Ok(())
    }
}

/// The entries of a directory without hidden ones: their names, and whether each is a directory.
fn names(directory: &Path) -> Result<Vec<(String, bool)>> {
    let entries = match fs::read_dir(directory) {
        // Removed in the meantime.
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::local(directory))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::local(directory))?;
        let is_directory = entry
            .file_type()
            .map_err(StoreError::local(directory))?
            .is_dir();
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push((name, is_directory));
        }
    }
    Ok(names)
}

fn files_below(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for (name, is_directory) in names(&root.join(below))? {
        let path = below.join(name);
        if is_directory {
            files_below(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The path of a temporary file, which is removed when this is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the process that created this temporary file is still running.
fn is_writer_alive(name: &str) -> bool {
    let pid = name.split('-').next().and_then(|pid| pid.parse().ok());
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| {
            // Any answer but "no such process" means that it exists.
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
}

fn write_temporary(path: &Path, source: Content<'_>) -> Result<(String, u64)> {
    let mut file = File::create_new(path).map_err(StoreError::local(path))?;
    let written = match source {
        Content::Bytes(bytes) => {
            file.write_all(bytes).map_err(StoreError::local(path))?;
            (blake3::hash(bytes).to_string(), bytes.len() as u64)
        }
        Content::File(from) => {
            let path = &from.path;
            copy_range(from, &mut file).map_err(StoreError::local(path))?
        }
    };
    file.sync_all().map_err(StoreError::local(path))?;
    Ok(written)
}

/// Makes `path` a second name of a whole file that is never written to again, and the file durable.
/// `None` if the file may change, or is on another file system. Writing a large file once instead of
/// twice halves the time.
fn link_temporary(path: &Path, from: &FileRange) -> Result<Option<(String, u64)>> {
    if !from.is_final || from.range.is_some() || fs::hard_link(&from.path, path).is_err() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(StoreError::local(path))?;
    file.sync_all().map_err(StoreError::local(path))?;
    copy(&mut file, &mut io::sink())
        .map(Some)
        .map_err(StoreError::local(path))
}

/// Moves a written file to its place durably: it survives a power failure.
fn install(temporary: &Path, target: &Path) -> Result<()> {
    if let Some(directory) = target.parent() {
        create_directories(directory).map_err(StoreError::local(directory))?;
        fs::rename(temporary, target).map_err(StoreError::local(target))?;
        sync_directory(directory).map_err(StoreError::local(directory))?;
    }
    Ok(())
}

fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_directories(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_directory(parent)?,
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes the empty directories above `path`, up to `root`.
fn prune(path: &Path, root: &Path) {
    for directory in path.ancestors().skip(1) {
        // Fails at the first directory that is not empty.
        if directory == root || fs::remove_dir(directory).is_err() {
            break;
        }
    }
}

/// Removes the directories below this one that have no files, except for hidden ones. Returns whether it
/// is empty itself.
pub(super) fn remove_empty_below(directory: &Path) -> io::Result<bool> {
    let mut empty = true;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let removed = !hidden
            && entry.file_type()?.is_dir()
            && remove_empty_below(&entry.path())?
            // Fails if another process has put an object into it.
            && fs::remove_dir(entry.path()).is_ok();
        empty &= removed;
    }
    Ok(empty)
}

/// Copies a file or a part of it. Returns the hash and the number of bytes.
fn copy_range(from: &FileRange, to: &mut impl Write) -> io::Result<(String, u64)> {
    let mut file = File::open(&from.path)?;
    let Some(range) = &from.range else {
        return copy(&mut file, to);
    };
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end.saturating_sub(range.start);
    let (hash, size) = copy(&mut file.take(length), to)?;
    match size == length {
        true => Ok((hash, size)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Copies all bytes. Returns their hash and number.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok((hasher.finalize().to_string(), size));
        }
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        size += n as u64;
    }
}

/// The version id: the same content with the same metadata has the same id.
fn version_id(etag: &str, metadata: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(etag.as_bytes());
    for (name, value) in metadata {
        for part in [name, value] {
            // The length before each part distinguishes ("ab", "c") from ("a", "bc").
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_string()
}

fn is_version(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether the file does not exist, or a parent is not a directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Truncates to milliseconds, the precision of S3 events.
fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time)
}
