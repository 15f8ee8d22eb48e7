//! A `command` step's program from a bucket, as AWS's "fetch and run" does it: downloaded, checked
//! against its hash, put into a folder of its own that goes with the child.

use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rowmill_domain::Pipeline;
use rowmill_domain::keys::PROGRAMS;
use rowmill_domain::pipeline::{CommandStep, Fetch, FetchKind, StepKind};
use rowmill_ports::{Location, Objects, PortError};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::retry::retry;
use crate::unpack::{UnpackError, make_executable, unpack};
use crate::{Child, EnrichError, Surroundings};

/// Largest script or zip, in bytes.
const FETCHED_MAX: u64 = 256 << 20;
/// What the folders' names begin with.
const PREFIX: &str = "rowmill-fetch-";

/// Where programs may come from, and where they are put.
#[derive(Clone, Default)]
pub struct Programs {
    /// The buckets; `None` where only paths can be fetched.
    pub objects: Option<Arc<dyn Objects>>,
    /// The work bucket, of which programs have a prefix.
    pub work_bucket: String,
    /// Further buckets, by name or ARN.
    pub buckets: Vec<String>,
    /// A directory of temporary files that nothing outlives. Default: the system's.
    pub scratch: Option<PathBuf>,
}

/// Why a step has no program.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// It cannot be meant.
    Refused(String),
    /// It may be there later.
    NotFetched(String),
}

impl FetchError {
    /// The same with what was at work.
    fn at(self, what: impl std::fmt::Display) -> FetchError {
        match self {
            FetchError::Refused(why) => FetchError::Refused(format!("{what}: {why}")),
            FetchError::NotFetched(why) => FetchError::NotFetched(format!("{what}: {why}")),
        }
    }

    /// What it means for a child.
    pub(crate) fn of(self, child: &Child) -> EnrichError {
        match self.at(child) {
            FetchError::Refused(why) => EnrichError::Misconfigured(why),
            FetchError::NotFetched(why) => EnrichError::NotFetched(why),
        }
    }

    /// What to tell a person.
    pub(crate) fn told(self) -> String {
        match self {
            FetchError::Refused(why) | FetchError::NotFetched(why) => why,
        }
    }
}

impl Surroundings {
    /// For each of the steps the folder of its program, where that is fetched.
    pub(crate) async fn programs(
        &self,
        pipeline: &Pipeline,
        steps: Range<usize>,
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
            let program = self.program(fetch).await;
            programs.push(Some(program.map_err(|e| e.at(place))?));
        }
        Ok(programs)
    }

    /// The folder with the step's program. It goes when the value does; what a killed child leaves
    /// goes with its container, or locally at the next start.
    async fn program(&self, fetch: &Fetch) -> Result<TempDir, FetchError> {
        let scratch = self.programs.scratch.clone();
        let scratch = scratch.unwrap_or_else(tempfile::env::temp_dir);
        let temporary = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&scratch);
            folder.map_err(|e| FetchError::NotFetched(e.to_string()))
        };
        let (folder, packed) = (temporary()?, temporary()?);
        let file = match fetch.kind {
            FetchKind::Script => folder.path().join(fetch.file_name()),
            FetchKind::Zip => packed.path().join("zip"),
        };
        self.download(fetch, &file).await?;
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

    async fn download(&self, fetch: &Fetch, to: &Path) -> Result<(), FetchError> {
        let refused = |why: String| Err(FetchError::Refused(why));
        let too_large = |bytes: u64| {
            refused(format!(
                "it has {bytes} bytes, more than the {FETCHED_MAX} that are fetched"
            ))
        };
        let Some((bucket, key)) = fetch.location() else {
            let path = local(fetch, &self.program_directory);
            let failed = |e| FetchError::NotFetched(format!("{}: {e}", path.display()));
            let bytes = std::fs::metadata(&path).map_err(failed)?.len();
            if bytes > FETCHED_MAX {
                return too_large(bytes);
            }
            std::fs::copy(&path, to).map_err(failed)?;
            return Ok(());
        };
        let Programs {
            objects,
            work_bucket,
            buckets,
            ..
        } = &self.programs;
        let Some(objects) = objects else {
            return refused("programs in buckets are not fetched here".to_owned());
        };
        let own = bucket == work_bucket;
        // `arn:aws:s3:::name`; a name has no colon.
        let mut names = buckets.iter().filter_map(|b| b.rsplit(':').next());
        if !own && !names.any(|name| name == bucket) {
            return refused(format!(
                "programs are not fetched from the bucket {bucket}; put it under {PROGRAMS} in the bucket {work_bucket}"
            ));
        }
        if own && !key.starts_with(PROGRAMS) {
            return refused(format!(
                "in the bucket {bucket} programs lie under {PROGRAMS}"
            ));
        }
        let at = Location::new(bucket, key);
        let failed = |e: PortError| FetchError::NotFetched(e.to_string());
        let bytes = retry(|| objects.head(&at)).await.map_err(failed)?.size;
        if bytes > FETCHED_MAX {
            return too_large(bytes);
        }
        let downloaded = retry(|| objects.download(&at, to)).await;
        downloaded.map(drop).map_err(failed)
    }
}

/// Where a program that is given by its path lies.
fn local(fetch: &Fetch, directory: &Path) -> PathBuf {
    directory.join(&fetch.url)
}

/// What is wrong with a program that is given by its path, before anything runs; one in a bucket
/// only its child can look at.
pub fn check_local(fetch: &Fetch, directory: &Path) -> Result<(), String> {
    if fetch.location().is_some() {
        return Ok(());
    }
    let path = local(fetch, directory);
    check(fetch, &path).map_err(|e| format!("fetch: {}: {e}", path.display()))
}

/// Whether a file is the one that the pipeline means.
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
        "its SHA-256 is {found} and not {}; if it was meant to change, write the new one into the pipeline",
        fetch.sha256
    )))
}
