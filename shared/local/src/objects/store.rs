//! One bucket's directory: the blocking work below [`super::DirObjects`].
//!
//! | below the bucket | what |
//! |---|---|
//! | the key's path ([`path::of_key`]) | the object; in a versioned bucket a link to its latest version |
//! | `.store/versions/<path>/<version>` | a version's bytes |
//! | `.store/meta/<path>/<version or etag>.json` | user metadata, where there is any |
//! | `.store/tmp/<pid>-<random>` | a file being written |
//! | `.store/lock` | held by whoever changes the bucket |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, ObjectInfo, Page, Put};

use super::path;

/// Objects of a page. As S3's.
const PAGE: usize = 1000;

const STORE: &str = ".store";

/// Why a call failed, before it is known which call it was.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: message.into(),
        }
    }

    /// What the system said of an object's file.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Fault {
        move |error| {
            if is_absent(&error) {
                return Fault::new(ErrorKind::NotFound, "no such object");
            }
            Fault::local(path)(error)
        }
    }

    /// What the system said of any other file.
    fn local(path: &Path) -> impl FnOnce(io::Error) -> Fault {
        move |error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::Denied
                }
                _ => ErrorKind::Unavailable,
            };
            Fault::new(kind, format!("{}: {error}", path.display()))
        }
    }
}

/// What is put: bytes at hand, or a file.
pub(super) enum Source<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    versioned: bool,
}

/// An object opened for reading.
struct Opened {
    file: File,
    path: PathBuf,
    version: Option<String>,
}

impl Store {
    /// Opens the bucket, creating its directory, and removes what killed processes left half
    /// written.
    pub(super) fn open(root: &Path, versioned: bool) -> io::Result<Store> {
        let root = std::path::absolute(root)?;
        let store = Store { root, versioned };
        let temporaries = store.own("tmp");
        fs::create_dir_all(&temporaries)?;
        for entry in fs::read_dir(&temporaries)? {
            let entry = entry?;
            if !writer_lives(&entry.file_name().to_string_lossy()) {
                // Another process that opens the bucket may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(store)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.root.join(STORE).join(name)
    }

    /// Where the latest object of the key lies.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf> {
        if key.is_empty() || key.len() > limits::OBJECT_KEY_MAX {
            let message = format!(
                "a key has 1 to {} bytes, this one has {}",
                limits::OBJECT_KEY_MAX,
                key.len()
            );
            return Err(Fault::new(ErrorKind::Invalid, message));
        }
        Ok(self.root.join(path::of_key(key)))
    }

    /// Where that version of the object lies.
    pub(super) fn version_path(&self, key: &str, version: &str) -> Result<PathBuf> {
        self.path(key)?;
        // Whatever else it is, it names no version, and must not become part of a path.
        if !self.versioned || !is_version(version) {
            return Err(Fault::new(ErrorKind::NotFound, "no such version"));
        }
        Ok(self.own("versions").join(path::of_key(key)).join(version))
    }

    fn open_object(&self, key: &str, version: Option<&str>) -> Result<Opened> {
        let (path, version) = match version {
            Some(version) => (self.version_path(key, version)?, Some(version.to_owned())),
            None if self.versioned => {
                // The link is read once, so that name and bytes are of one version.
                let link = self.path(key)?;
                let target = fs::read_link(&link).map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidInput => {
                        Fault::new(ErrorKind::NotFound, "there is a file that was not put here")
                    }
                    _ => Fault::io(&link)(error),
                })?;
                let version = target
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                (self.version_path(key, &version)?, Some(version))
            }
            None => (self.path(key)?, None),
        };
        let file = File::open(&path).map_err(Fault::io(&path))?;
        Ok(Opened {
            file,
            path,
            version,
        })
    }

    fn info(&self, key: &str, opened: &Opened, etag: String, size: u64) -> Result<ObjectInfo> {
        let id = opened.version.as_deref().unwrap_or(&etag);
        let metadata = self.metadata(key, id)?;
        let modified = opened.file.metadata().and_then(|m| m.modified());
        let modified = modified.map_err(Fault::io(&opened.path))?;
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
            copy(&mut opened.file, &mut io::sink()).map_err(Fault::io(&opened.path))?;
        self.info(key, &opened, etag, size)
    }

    pub(super) fn get(&self, key: &str, version: Option<&str>) -> Result<(ObjectInfo, Vec<u8>)> {
        let mut opened = self.open_object(key, version)?;
        let mut body = Vec::new();
        opened
            .file
            .read_to_end(&mut body)
            .map_err(Fault::io(&opened.path))?;
        let etag = blake3::hash(&body).to_string();
        let info = self.info(key, &opened, etag, body.len() as u64)?;
        Ok((info, body))
    }

    pub(super) fn download(
        &self,
        key: &str,
        version: Option<&str>,
        to: &Path,
    ) -> Result<ObjectInfo> {
        let mut opened = self.open_object(key, version)?;
        // Replaced whole: who has the old file open keeps it.
        match fs::remove_file(to) {
            Err(error) if !is_absent(&error) => return Err(Fault::local(to)(error)),
            _ => {}
        }
        let mut file = File::create_new(to).map_err(Fault::local(to))?;
        let (etag, size) = copy(&mut opened.file, &mut file).map_err(Fault::local(to))?;
        self.info(key, &opened, etag, size)
    }

    pub(super) fn put(&self, key: &str, source: Source<'_>, put: &Put) -> Result<ObjectInfo> {
        let target = self.path(key)?;
        let bytes: usize = put.metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
        if bytes > limits::OBJECT_METADATA_MAX {
            let message = format!(
                "user metadata has {bytes} bytes, and at most {} are taken",
                limits::OBJECT_METADATA_MAX
            );
            return Err(Fault::new(ErrorKind::Invalid, message));
        }
        let temporary = self.temporary();
        let (etag, size) = write_temporary(&temporary.0, source)?;

        let _lock = self.lock()?;
        if put.if_absent && target.symlink_metadata().is_ok() {
            return Err(Fault::new(ErrorKind::Conflict, "an object has this key"));
        }
        let version = self.versioned.then(|| version_id(&etag, &put.metadata));
        // Metadata first: bytes without their metadata would be half an object.
        self.write_metadata(key, version.as_deref().unwrap_or(&etag), &put.metadata)?;
        match &version {
            None => install(&temporary.0, &target)?,
            Some(version) => {
                let path = self.version_path(key, version)?;
                if !path.exists() {
                    install(&temporary.0, &path)?;
                }
                self.point(&target, key, version)?;
            }
        }
        let path = match &version {
            Some(version) => self.version_path(key, version)?,
            None => target,
        };
        let file = File::open(&path).map_err(Fault::local(&path))?;
        let opened = Opened {
            file,
            path,
            version,
        };
        self.info(key, &opened, etag, size)
    }

    /// Makes the version the latest.
    fn point(&self, target: &Path, key: &str, version: &str) -> Result<()> {
        let relative = path::of_key(key);
        let mut link: PathBuf = relative.components().skip(1).map(|_| "..").collect();
        link.extend([STORE, "versions"]);
        link.push(&relative);
        link.push(version);
        let temporary = self.temporary();
        std::os::unix::fs::symlink(&link, &temporary.0).map_err(Fault::local(&temporary.0))?;
        install(&temporary.0, target)
    }

    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let _lock = self.lock()?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            // The metadata may still be there, where an earlier delete was killed.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(Fault::local(&path)(error)),
        }
        prune(&path, &self.root);
        if !self.versioned {
            let meta = self.own("meta");
            let path = meta.join(path::of_key(key));
            match fs::remove_dir_all(&path) {
                Err(error) if !is_absent(&error) => return Err(Fault::local(&path)(error)),
                _ => prune(&path, &meta),
            }
        }
        Ok(())
    }

    /// Objects after `after` whose keys start with `prefix`, in the order of keys; at most
    /// [`PAGE`].
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let mut keys = Vec::new();
        let walk = Walk {
            root: &self.root,
            prefix,
            after,
        };
        walk.collect(Path::new(""), "", &mut keys)?;
        keys.sort_unstable();
        let more = keys.len() > PAGE;
        keys.truncate(PAGE);
        let next = keys.last().filter(|_| more).cloned();
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            match self.head(&key, None) {
                Ok(info) => objects.push(ObjectInfo {
                    metadata: BTreeMap::new(),
                    ..info
                }),
                // Deleted since it was seen.
                Err(fault) if fault.kind == ErrorKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Page { objects, next })
    }

    /// Every version of every object, of deleted ones too; in a bucket without versions every
    /// object.
    pub(super) fn versions(&self) -> Result<Vec<ObjectInfo>> {
        let root = match self.versioned {
            true => self.own("versions"),
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

    fn metadata_path(&self, key: &str, id: &str) -> PathBuf {
        let directory = self.own("meta").join(path::of_key(key));
        directory.join(format!("{id}.json"))
    }

    fn metadata(&self, key: &str, id: &str) -> Result<BTreeMap<String, String>> {
        let path = self.metadata_path(key, id);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| {
                Fault::new(ErrorKind::Invalid, format!("{}: {error}", path.display()))
            }),
            Err(error) if is_absent(&error) => Ok(BTreeMap::new()),
            Err(error) => Err(Fault::local(&path)(error)),
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
                Err(error) if !is_absent(&error) => Err(Fault::local(&path)(error)),
                _ => Ok(()),
            };
        }
        let json = serde_json::to_vec(metadata)
            .map_err(|error| Fault::new(ErrorKind::Invalid, error.to_string()))?;
        let temporary = self.temporary();
        write_temporary(&temporary.0, Source::Bytes(&json))?;
        install(&temporary.0, &path)
    }

    fn temporary(&self) -> Temporary {
        // Random, since a process in a container has the id that a killed one had before it.
        let name = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        Temporary(self.own("tmp").join(name))
    }

    /// Held until the file is dropped; also by other processes.
    fn lock(&self) -> Result<File> {
        let path = self.own("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Fault::local(&path))?;
        file.lock().map_err(Fault::local(&path))?;
        Ok(file)
    }
}

/// A walk through a bucket's directory that leaves out what a listing cannot show.
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

/// Names of a directory, and whether each is one, without the hidden ones.
fn names(directory: &Path) -> Result<Vec<(String, bool)>> {
    let entries = match fs::read_dir(directory) {
        // Pruned since it was seen.
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        entries => entries.map_err(Fault::local(directory))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Fault::local(directory))?;
        let is_directory = entry.file_type().map_err(Fault::local(directory))?.is_dir();
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

/// The name of a file being written; what is still there when this is dropped is removed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the process that made this temporary name still runs.
fn writer_lives(name: &str) -> bool {
    let pid = name.split('-').next().and_then(|pid| pid.parse().ok());
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| {
            // Anything but "no such process" means that there is one.
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
}

fn write_temporary(path: &Path, source: Source<'_>) -> Result<(String, u64)> {
    let mut file = File::create_new(path).map_err(Fault::local(path))?;
    let written = match source {
        Source::Bytes(bytes) => {
            file.write_all(bytes).map_err(Fault::local(path))?;
            (blake3::hash(bytes).to_string(), bytes.len() as u64)
        }
        Source::File(from) => {
            let mut input = File::open(from).map_err(Fault::local(from))?;
            copy(&mut input, &mut file).map_err(Fault::local(from))?
        }
    };
    file.sync_all().map_err(Fault::local(path))?;
    Ok(written)
}

/// Moves a written file to its place, for good: a power cut keeps it there.
fn install(temporary: &Path, target: &Path) -> Result<()> {
    if let Some(directory) = target.parent() {
        create_directories(directory).map_err(Fault::local(directory))?;
        fs::rename(temporary, target).map_err(Fault::local(target))?;
        sync_directory(directory).map_err(Fault::local(directory))?;
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

/// Removes directories above `path` that are empty now, up to `root`.
fn prune(path: &Path, root: &Path) {
    for directory in path.ancestors().skip(1) {
        // Refused where it holds anything: the point at which to stop.
        if directory == root || fs::remove_dir(directory).is_err() {
            break;
        }
    }
}

/// Copies all bytes, and gives their hash and number.
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

/// A version is what was put: the same bytes with the same metadata are the same version.
fn version_id(etag: &str, metadata: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(etag.as_bytes());
    for (name, value) in metadata {
        for part in [name, value] {
            // The length before each part keeps ("ab", "c") and ("a", "bc") apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_string()
}

fn is_version(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Absent, or below something that is no directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// S3 keeps no finer times, and events carry milliseconds.
fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time)
}
