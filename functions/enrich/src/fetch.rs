//! Fetches the program of a `command` step, like AWS Batch's "fetch and run": downloads it, checks
//! its hash, and puts it into a temporary folder of the child.

use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rowmill_domain::keys::PROGRAMS;
use rowmill_pipeline::{CommandStep, Fetch, FetchKind, Pipeline, StepKind};
use rowmill_ports::{Location, PortError};
use rowmill_runs::{WorkBucket, retry_transient, scratch_folder_in};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::child::Child;
use crate::error::EnrichError;
use crate::unpack::{UnpackError, make_executable, unpack};

/// The largest script or zip file, in bytes.
const FETCHED_MAX: u64 = 256 << 20;
/// The prefix of the temporary folders' names.
const PREFIX: &str = "rowmill-fetch-";

/// Fetches the programs of steps into temporary folders.
#[derive(Clone, Default)]
pub struct ProgramFetcher {
    /// The work bucket, which keeps programs under a prefix of their own. `None`: only paths can be
    /// fetched.
    pub work: Option<WorkBucket>,
    /// Further buckets that programs may come from, by name or ARN.
    pub buckets: Vec<String>,
    /// The directory for temporary folders. Default: the system's.
    pub scratch: Option<PathBuf>,
}

/// Why the program of a step was not fetched.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// It must not be used: trying again cannot help.
    Refused(String),
    /// Fetching failed: trying again may help.
    NotFetched(String),
}

impl FetchError {
    /// The same error with what was being done.
    fn context(self, what: impl std::fmt::Display) -> FetchError {
        match self {
            FetchError::Refused(why) => FetchError::Refused(format!("{what}: {why}")),
            FetchError::NotFetched(why) => FetchError::NotFetched(format!("{what}: {why}")),
        }
    }

    /// The error that the child ends with.
    pub(crate) fn in_child(self, child: &Child) -> EnrichError {
        match self.context(child) {
            FetchError::Refused(why) => EnrichError::Misconfigured(why),
            FetchError::NotFetched(why) => EnrichError::NotFetched(why),
        }
    }

    /// The message alone.
    pub(crate) fn into_message(self) -> String {
        match self {
            FetchError::Refused(why) | FetchError::NotFetched(why) => why,
        }
    }
}

impl ProgramFetcher {
    /// For each of these steps, the folder of its program if that is fetched. Paths are relative to
    /// `directory`.
    pub(crate) async fn fetch_all(
        &self,
        pipeline: &Pipeline,
        steps: Range<usize>,
        directory: &Path,
    ) -> Result<Vec<Option<TempDir>>, FetchError> {
        let mut programs = Vec::with_capacity(steps.len());
        for (step, number) in pipeline.steps[steps.clone()].iter().zip(steps.start + 1..) {
            let StepKind::Command(CommandStep {
                fetch: Some(fetch), ..
            }) = &step.kind
            else {
                programs.push(None);
                continue;
            };
            let place = format_args!("step {number} (command): {}", fetch.url).to_string();
            let program = self.fetch(fetch, directory).await;
            programs.push(Some(program.map_err(|e| e.context(place))?));
        }
        Ok(programs)
    }

    /// The folder with the step's program. It is deleted when the value is dropped. Leftovers of a
    /// killed child are removed with its container, or locally at the next start.
    async fn fetch(&self, fetch: &Fetch, directory: &Path) -> Result<TempDir, FetchError> {
        let scratch = self.scratch.clone();
        let scratch = scratch.unwrap_or_else(tempfile::env::temp_dir);
        let temporary = || {
            let folder = scratch_folder_in(PREFIX, &scratch);
            folder.map_err(|e| FetchError::NotFetched(e.to_string()))
        };
        let (folder, packed) = (temporary()?, temporary()?);
        let file = match fetch.kind {
            FetchKind::Script => folder.path().join(fetch.file_name()),
            FetchKind::Zip => packed.path().join("zip"),
        };
        self.download(fetch, directory, &file).await?;
        let (fetch, into) = (fetch.clone(), folder.path().to_owned());
        let work = move || {
            check(&fetch, &file)?;
            match fetch.kind {
                FetchKind::Script => make_executable(&file).map_err(UnpackError::Io),
                FetchKind::Zip => unpack(&file, &into),
            }
        };
        let done = tokio::task::spawn_blocking(work).await;
        match done.map_err(io::Error::other) {
            Ok(Ok(())) => Ok(folder),
            Ok(Err(UnpackError::Refused(why))) => Err(FetchError::Refused(why)),
            Ok(Err(UnpackError::Io(e))) | Err(e) => Err(FetchError::NotFetched(e.to_string())),
        }
    }

    async fn download(&self, fetch: &Fetch, directory: &Path, to: &Path) -> Result<(), FetchError> {
        let refused = |why: String| Err(FetchError::Refused(why));
        let too_large = |bytes: u64| {
            refused(format!(
                "the file is {} MiB; the maximum is {} MiB",
                bytes.div_ceil(1 << 20),
                FETCHED_MAX >> 20
            ))
        };
        let Some((bucket, key)) = fetch.location() else {
            let path = local(fetch, directory);
            let failed = |e| FetchError::NotFetched(format!("{}: {e}", path.display()));
            let bytes = std::fs::metadata(&path).map_err(failed)?.len();
            if bytes > FETCHED_MAX {
                return too_large(bytes);
            }
            std::fs::copy(&path, to).map_err(failed)?;
            return Ok(());
        };
        let ProgramFetcher { work, buckets, .. } = self;
        let Some(work) = work else {
            return refused("programs in buckets cannot be fetched here; give a path".to_owned());
        };
        let own = bucket == work.name();
        // `arn:aws:s3:::name`; a name has no colon.
        let mut names = buckets.iter().filter_map(|b| b.rsplit(':').next());
        if !own && !names.any(|name| name == bucket) {
            return refused(format!(
                "programs cannot be fetched from the bucket {bucket}; put the file under {PROGRAMS} in \
                 the bucket {}, or allow this bucket (parameter FetchBuckets of the deployment)",
                work.name()
            ));
        }
        if own && !key.starts_with(PROGRAMS) {
            return refused(format!(
                "programs in the bucket {bucket} must be under {PROGRAMS}"
            ));
        }
        let (at, objects) = (Location::new(bucket, key), work.objects());
        let failed = |e: PortError| FetchError::NotFetched(e.to_string());
        let bytes = retry_transient(|| objects.head(&at))
            .await
            .map_err(failed)?
            .size;
        if bytes > FETCHED_MAX {
            return too_large(bytes);
        }
        let downloaded = retry_transient(|| objects.download(&at, to)).await;
        downloaded.map(drop).map_err(failed)
    }
}

/// The path of a program that the pipeline names by path.
fn local(fetch: &Fetch, directory: &Path) -> PathBuf {
    directory.join(&fetch.url)
}

/// Checks a program that the pipeline names by path, before anything runs. Programs in buckets are
/// checked only by the child that fetches them.
///
/// # Errors
/// The file cannot be read, or its hash is not the one in the pipeline.
pub fn check_local(fetch: &Fetch, directory: &Path) -> Result<(), String> {
    if fetch.location().is_some() {
        return Ok(());
    }
    let path = local(fetch, directory);
    check(fetch, &path).map_err(|e| format!("fetch: {}: {e}", path.display()))
}

/// Checks the hash of a file.
fn check(fetch: &Fetch, file: &Path) -> Result<(), UnpackError> {
    let mut file = std::fs::File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    if found == fetch.sha256 {
        return Ok(());
    }
    Err(UnpackError::Refused(format!(
        "the SHA-256 of the file is {found}, but the pipeline says {}; if the file was changed on \
         purpose, write the new hash into the pipeline",
        fetch.sha256
    )))
}
