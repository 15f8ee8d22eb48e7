//! Uploads a workbook to the inbox, or finds the run that it already has.
//!
//! `docs/decisions/0005-what-a-run-is-locally.md` defines when two runs are the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use bytes::Bytes;
use futures::TryStreamExt;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::{Location, ObjectInfo, Objects, Optional, PortError, Put, Runs};
use rowmill_runs::all_runs;
use rowmill_split::{LIMIT_METADATA, PARAMETER_METADATA, REEVALUATE_METADATA};

use crate::pipeline_file::PipelineFile;
use crate::stack::{INBOX, WORK};

/// Keys of the object's metadata. The metadata is part of the object's version: the same workbook
/// with a different pipeline or different options is a different upload.
mod metadata {
    /// blake3 of the workbook.
    pub(super) const CONTENT: &str = "content";
    /// blake3 of the pipeline file.
    pub(super) const PIPELINE: &str = "pipeline";
    /// blake3 of the programs and models of the pipeline's steps; absent if it has none in files.
    pub(super) const FILES: &str = "files";
    /// How many times it was uploaded before, with `--force`.
    pub(super) const AGAIN: &str = "again";
    /// The path of the workbook. Not compared: the same content is the same workbook.
    pub(super) const PATH: &str = "path";
}

/// The file of tiers, in the folder of the pipelines.
pub(crate) const TIERS_FILE: &str = "tiers.toml";

/// Metadata of a pipeline in the work bucket: the folder that contains its programs.
pub(crate) const DIRECTORY: &str = "directory";

/// What a command sets besides the pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOptions<'a> {
    /// `--limit`
    pub(crate) limit: Option<u64>,
    /// `--set`
    pub(crate) parameters: &'a ParameterValues,
}

/// What a command has to do with a workbook.
#[derive(Debug)]
pub(crate) enum Found {
    /// It has a run, which is in progress or over.
    Run {
        run: Box<RunItem>,
        /// Whether it began with the same programs and models. A run that is over did.
        same_files: bool,
        /// Whether it evaluates the archived rows of another run, so that no step runs.
        reevaluates: bool,
    },
    /// It has no run yet.
    New(NewUpload),
}

/// A workbook that is not uploaded yet.
#[derive(Debug)]
pub(crate) struct NewUpload {
    key: String,
    metadata: BTreeMap<String, String>,
    /// The runs of the same workbook with the same options and other pipelines of this name, programs or
    /// models, the newest first.
    pub(crate) earlier: Vec<Earlier>,
}

/// A run of the same workbook with the same options.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) run: RunItem,
    /// Whether it began with the same programs and models.
    pub(crate) same_files: bool,
    /// Whether it evaluates the archived rows of another run.
    reevaluates: bool,
}

/// Uploads the pipeline to the work bucket, where a deployment has it.
pub(crate) async fn pipeline(
    objects: &dyn Objects,
    pipeline: &PipelineFile,
) -> Result<(), PortError> {
    let directory = pipeline.directory.display().to_string();
    let put = Put {
        content_type: Some("application/toml".into()),
        metadata: BTreeMap::from([(DIRECTORY.to_owned(), directory)]),
        if_absent: false,
    };
    let toml = Bytes::from(pipeline.toml.clone());
    objects
        .put(WORK, &keys::pipeline(&pipeline.name), toml, put)
        .await?;
    Ok(())
}

/// Uploads the file of tiers in the folder of the pipelines to the work bucket. Without a file, nobody has
/// a tier.
pub(crate) async fn tiers(objects: &dyn Objects, folder: &Path) -> Result<(), PortError> {
    let path = folder.join(TIERS_FILE);
    match std::fs::read(&path) {
        Ok(file) => {
            let put = Put {
                content_type: Some("application/toml".into()),
                ..Put::default()
            };
            objects.put(WORK, keys::TIERS, file.into(), put).await?;
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            objects.delete(WORK, &[keys::TIERS.to_owned()]).await
        }
        Err(e) => Err(unreadable(&path, e)),
    }
}

/// Finds the run of this workbook with this pipeline and these options. With `force`, a run that is over
/// does not count.
pub(crate) async fn find(
    objects: &dyn Objects,
    runs: &dyn Runs,
    file: &Path,
    pipeline: &PipelineFile,
    options: RunOptions<'_>,
    force: bool,
) -> Result<Found, PortError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let key = format!("{}/{name}", pipeline.name);
    let content = hash(file).map_err(|e| unreadable(file, e))?;
    let mut metadata = BTreeMap::from([
        (metadata::CONTENT.to_owned(), content),
        (
            metadata::PIPELINE.to_owned(),
            blake3::hash(pipeline.toml.as_bytes()).to_hex().to_string(),
        ),
    ]);
    let files = hash_all(&pipeline.files()).map_err(|(file, e)| unreadable(&file, e))?;
    metadata.extend(files.map(|hash| (metadata::FILES.to_owned(), hash)));
    if let Some(limit) = options.limit {
        metadata.insert(LIMIT_METADATA.to_owned(), limit.to_string());
    }
    metadata.extend(
        options
            .parameters
            .iter()
            .map(|(name, value)| (format!("{PARAMETER_METADATA}{name}"), value.clone())),
    );

    let Uploaded { same, mut earlier } = runs_of(objects, runs, &key, &metadata).await?;
    let times = same.len();
    let (over, in_progress): (Vec<_>, Vec<_>) =
        same.into_iter().partition(|same| is_over(&same.run));
    // An interrupted run is resumed, with or without `--force`.
    let known = in_progress.into_iter().next().or_else(|| {
        let last = over.into_iter().max_by_key(|same| same.run.created);
        last.filter(|_| !force)
    });
    if let Some(known) = known {
        return Ok(Found::Run {
            run: Box::new(known.run),
            same_files: known.same_files,
            reevaluates: known.reevaluates,
        });
    }
    if times > 0 {
        metadata.insert(metadata::AGAIN.to_owned(), times.to_string());
    }
    let path = std::path::absolute(file).map_err(|e| unreadable(file, e))?;
    let path = path.to_string_lossy().into_owned();
    metadata.insert(metadata::PATH.to_owned(), path);
    earlier.sort_by_key(|earlier| std::cmp::Reverse(earlier.run.created));
    Ok(Found::New(NewUpload {
        key,
        metadata,
        earlier,
    }))
}

impl NewUpload {
    /// Uploads the workbook. The run starts when the upload's event is sent. `of` is the run whose
    /// archived rows it evaluates again.
    pub(crate) async fn put(
        mut self,
        objects: &dyn Objects,
        file: &Path,
        pipeline: &PipelineFile,
        of: Option<&RunId>,
    ) -> Result<(ObjectInfo, RunId), PortError> {
        if let Some(of) = of {
            let of = of.to_string();
            self.metadata.insert(REEVALUATE_METADATA.to_owned(), of);
        }
        let content = self.metadata.get(metadata::CONTENT).cloned();
        let put = Put {
            metadata: self.metadata,
            ..Put::default()
        };
        let content = content.unwrap_or_default();
        let info = store(objects, &self.key, file, put, &content).await?;
        let version = info.version.as_ref().unwrap_or(&info.etag);
        let run = RunId::new(
            INBOX,
            &info.key,
            version,
            info.modified,
            pipeline.name.as_str(),
        );
        Ok((info, run))
    }
}

/// Puts the workbook into the inbox. Refuses a file that was saved since it was hashed: its run would
/// be found under the hash of the earlier content.
async fn store(
    objects: &dyn Objects,
    key: &str,
    file: &Path,
    put: Put,
    content: &str,
) -> Result<ObjectInfo, PortError> {
    let info = objects.upload(INBOX, key, &file.into(), put).await?;
    // The local inbox uses the same hash.
    if info.etag != content {
        let why = "the file changed while it was being read; run the same command again";
        return Err(unreadable(file, why));
    }
    Ok(info)
}

fn unreadable(file: &Path, why: impl std::fmt::Display) -> PortError {
    let kind = rowmill_ports::ErrorKind::Unavailable;
    PortError::new("read", file.display().to_string(), kind, why)
}

/// Whether a run has nothing left to do.
pub(crate) fn is_over(run: &RunItem) -> bool {
    run.state.is_terminal() && run.cleaned.is_some()
}

/// The workbook that a run is about: its path, if a command uploaded it from this machine.
pub(crate) async fn workbook_of(objects: &dyn Objects, run: &RunItem) -> Result<String, PortError> {
    let at = Location {
        bucket: run.source.bucket.clone(),
        key: run.source.key.clone(),
        version: Some(run.source.version.clone()),
    };
    let info = objects.head(&at).await.optional()?;
    let path = info.and_then(|mut info| info.metadata.remove(metadata::PATH));
    Ok(path.unwrap_or_else(|| run.source.key.clone()))
}

/// The runs of a workbook.
struct Uploaded {
    /// Those that do the same. One in progress counts also if a program or model has changed: its
    /// records that are done are not paid for again.
    same: Vec<Earlier>,
    /// Those that differ only in the pipeline, its programs and its models.
    earlier: Vec<Earlier>,
}

/// The runs of uploads with this metadata, except for what does not count.
async fn runs_of(
    objects: &dyn Objects,
    runs: &dyn Runs,
    key: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<Uploaded, PortError> {
    let mut found = Uploaded {
        same: Vec::new(),
        earlier: Vec::new(),
    };
    let mut runs = pin!(all_runs(runs));
    while let Some(run) = runs.try_next().await? {
        if run.source.key != key {
            continue;
        }
        let at = Location {
            bucket: run.source.bucket.clone(),
            key: key.to_owned(),
            version: Some(run.source.version.clone()),
        };
        let Some(info) = objects.head(&at).await.optional()? else {
            // Its upload was removed, so it cannot be compared.
            continue;
        };
        let mut of = info.metadata;
        of.remove(metadata::AGAIN);
        of.remove(metadata::PATH);
        let reevaluates = of.remove(REEVALUATE_METADATA).is_some();
        let mut differs = |key: &str| {
            let before = of.remove(key);
            of.extend(metadata.get(key).map(|hash| (key.to_owned(), hash.clone())));
            before.as_ref() != metadata.get(key)
        };
        let (same_files, same_pipeline) = (!differs(metadata::FILES), !differs(metadata::PIPELINE));
        if of != *metadata {
            continue;
        }
        let is_over = is_over(&run);
        let is_retry = run.id.retry_number().is_some();
        let earlier = Earlier {
            run,
            same_files,
            reevaluates,
        };
        if same_pipeline && (same_files || !is_over) {
            found.same.push(earlier);
        } else if !is_retry {
            found.earlier.push(earlier);
        }
    }
    Ok(found)
}

fn hash(file: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// A hash of the names and contents of files; `None` if there are none.
fn hash_all(files: &[PathBuf]) -> Result<Option<String>, (PathBuf, std::io::Error)> {
    let mut all = blake3::Hasher::new();
    for file in files {
        let content = hash(file).map_err(|e| (file.clone(), e))?;
        all.update(file.as_os_str().as_encoded_bytes());
        all.update(content.as_bytes());
    }
    Ok((!files.is_empty()).then(|| all.finalize().to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::buckets;

    #[tokio::test]
    async fn a_file_that_is_saved_between_hashing_and_copying_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let objects = buckets(state.path()).unwrap();
        let file = state.path().join("b.csv");
        std::fs::write(&file, "a\n1\n").unwrap();
        let before = hash(&file).unwrap();
        let put = Put::default;
        let stored = store(&objects, "p/b.csv", &file, put(), &before).await;
        assert_eq!(stored.unwrap().etag, before);

        std::fs::write(&file, "a\n2\n").unwrap();
        let stored = store(&objects, "p/b.csv", &file, put(), &before).await;
        let error = stored.unwrap_err().to_string();
        assert!(
            error.contains("b.csv") && error.contains("changed while"),
            "{error}"
        );
    }
}
