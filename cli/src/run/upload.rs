//! Uploads a workbook to the inbox, or finds the run that it already has.
//!
//! `docs/decisions/0005-what-a-run-is-locally.md` defines when two runs are the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures::TryStreamExt;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::{Location, ObjectInfo, Objects, Optional, PortError, Put, Runs};
use rowmill_runs::all_runs;
use rowmill_split::{LIMIT_METADATA, PARAMETER_METADATA};

use crate::pipeline_file::PipelineFile;
use crate::stack::{INBOX, WORK};

/// Keys of the object's metadata. The metadata is part of the object's version: the same workbook
/// with a different pipeline or different options is a different upload.
mod metadata {
    /// blake3 of the workbook.
    pub(super) const CONTENT: &str = "content";
    /// blake3 of the pipeline file.
    pub(super) const PIPELINE: &str = "pipeline";
    /// How many times it was uploaded before, with `--force`.
    pub(super) const AGAIN: &str = "again";
}

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
pub(crate) enum Upload {
    /// It has a run, which is in progress or over.
    Known(Box<RunItem>),
    /// It was uploaded. The run starts when the upload's event is sent.
    New(ObjectInfo, RunId),
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

/// Finds the run of this workbook with this pipeline and these options, or uploads the workbook. With
/// `force`, a run that is over does not count.
pub(crate) async fn workbook(
    objects: &dyn Objects,
    runs: &dyn Runs,
    file: &Path,
    pipeline: &PipelineFile,
    options: RunOptions<'_>,
    force: bool,
) -> Result<Upload, PortError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let key = format!("{}/{name}", pipeline.name);
    let content = hash(file).map_err(|e| unreadable(file, e))?;
    let mut metadata = BTreeMap::from([
        (metadata::CONTENT.to_owned(), content.clone()),
        (
            metadata::PIPELINE.to_owned(),
            blake3::hash(pipeline.toml.as_bytes()).to_hex().to_string(),
        ),
    ]);
    if let Some(limit) = options.limit {
        metadata.insert(LIMIT_METADATA.to_owned(), limit.to_string());
    }
    metadata.extend(
        options
            .parameters
            .iter()
            .map(|(name, value)| (format!("{PARAMETER_METADATA}{name}"), value.clone())),
    );

    let runs = runs_of(objects, runs, &key, &metadata).await?;
    let times = runs.len();
    let (over, in_progress): (Vec<_>, Vec<_>) = runs.into_iter().partition(is_over);
    // An interrupted run is resumed, with or without `--force`.
    if let Some(run) = in_progress.into_iter().next() {
        return Ok(Upload::Known(Box::new(run)));
    }
    if let Some(last) = over.into_iter().max_by_key(|r| r.created)
        && !force
    {
        return Ok(Upload::Known(Box::new(last)));
    }
    if times > 0 {
        metadata.insert(metadata::AGAIN.to_owned(), times.to_string());
    }
    let put = Put {
        metadata,
        ..Put::default()
    };
    let info = store(objects, &key, file, put, &content).await?;
    let version = info.version.as_ref().unwrap_or(&info.etag);
    let run = RunId::new(
        INBOX,
        &info.key,
        version,
        info.modified,
        pipeline.name.as_str(),
    );
    Ok(Upload::New(info, run))
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
    let info = objects.upload(INBOX, key, file, put).await?;
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

/// The runs of uploads that differ from this one at most in [`metadata::AGAIN`].
async fn runs_of(
    objects: &dyn Objects,
    runs: &dyn Runs,
    key: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<RunItem>, PortError> {
    let mut found = Vec::new();
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
        if of == *metadata {
            found.push(run);
        }
    }
    Ok(found)
}

fn hash(file: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
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
