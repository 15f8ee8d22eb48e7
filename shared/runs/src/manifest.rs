//! Loading the manifest of a run.

use rowmill_domain::manifest::ManifestError;
use rowmill_domain::{Manifest, RunId, keys};
use rowmill_ports::{Location, PortError};

use crate::{Transient, WorkBucket};

/// Why a manifest could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ManifestLoadError {
    /// There is no manifest: split has not finished, or the run was cleaned up.
    #[error("{0} does not exist")]
    Missing(Location),
    /// The manifest cannot be read.
    #[error("{at}: {source}")]
    Unreadable {
        /// Where the manifest is.
        at: Location,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A service failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Transient for ManifestLoadError {
    fn is_transient(&self) -> bool {
        matches!(self, ManifestLoadError::Port(error) if error.is_retryable())
    }

    fn is_throttled(&self) -> bool {
        matches!(self, ManifestLoadError::Port(error) if error.is_throttled())
    }
}

/// Loads a run's manifest, or returns `None` if there is none.
///
/// # Errors
/// [`ManifestLoadError::Unreadable`] or [`ManifestLoadError::Port`].
pub async fn find_manifest(
    work: &WorkBucket,
    run: &RunId,
) -> Result<Option<Manifest>, ManifestLoadError> {
    let key = keys::manifest(run);
    let Some(json) = work.find(&key).await? else {
        return Ok(None);
    };
    let manifest = Manifest::from_json(&json);
    manifest
        .map(Some)
        .map_err(|source| ManifestLoadError::Unreadable {
            at: work.location(&key),
            source,
        })
}

/// Loads the manifest of a run that has one.
///
/// # Errors
/// [`ManifestLoadError`]: it is missing, it cannot be read, or a service failed.
pub async fn load_manifest(work: &WorkBucket, run: &RunId) -> Result<Manifest, ManifestLoadError> {
    let missing = || ManifestLoadError::Missing(work.location(&keys::manifest(run)));
    find_manifest(work, run).await?.ok_or_else(missing)
}
