//! The manifest: the commit point of split, and everything that later stages need to know about a
//! run.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::pipeline_name::PipelineName;
use crate::record::Columns;
use crate::run::{RunId, UploadSource};
use crate::value::Kind;

/// The values of the parameters that an upload can set, by name.
pub type ParameterValues = BTreeMap<String, String>;

/// The version that this program writes, and the only one that it reads. Unknown fields are ignored.
/// Version 1 called phases "stages".
pub const MANIFEST_VERSION: u32 = 2;

/// `runs/<id>/manifest.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`MANIFEST_VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The upload.
    pub source: UploadSource,
    /// When split wrote this.
    pub created: DateTime<Utc>,
    /// The name of the pipeline.
    pub pipeline: PipelineName,
    /// The pipeline file at that time: later changes do not affect the run.
    pub pipeline_toml: String,
    /// The name of the sheet that was read.
    pub sheet: String,
    /// The input columns in order, with their profiles.
    pub columns: Vec<ColumnProfile>,
    /// The chunks in order, each with at most [`crate::limits::CHUNK_RECORDS`] records.
    pub chunks: Vec<ChunkPlan>,
    /// The number of phases of the pipeline.
    pub phases: u16,
    /// The number of rows below the header: records + rejected.
    pub rows_in: u64,
    /// The number of records of the result: those in the chunks, or with `base` those of the base.
    pub records: u64,
    /// The number of rejected rows by reason. The rows are in [`crate::keys::rejected`].
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Notes of the reader for the email, such as renamed headers and truncated texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Recipients from the metadata of the object, instead of those of the pipeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// The values of the parameters: from the metadata of the object, and defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: ParameterValues,
    /// The run whose archived rows this run continues. `None`: the run has every record in its own
    /// chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// The run whose archived rows another run continues. The chunks of that run have only the records to
/// process again; report takes the others from the archived rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The run.
    pub run: RunId,
    /// Why it is continued.
    pub by: Continuation,
    /// The number of records that are processed again.
    pub records: u64,
    /// The files of its archived rows.
    pub chunks: Vec<ChunkPlan>,
    /// Whether the rows that are not processed again may be the results of other steps: a retry, or an
    /// earlier one, had a pipeline with other steps. Such rows are not evaluated again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mixed: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a run continues the archived rows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// Some of the records are retried.
    Retry,
    /// Checks and derived columns have changed, and are evaluated again. No step runs.
    Reevaluation,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A newer program wrote it.
    #[error(
        "the manifest has version {0}, and this version of Rowmill reads version {MANIFEST_VERSION}: use the \
         newer program that started the run"
    )]
    Newer(u32),
    /// An older program wrote it.
    #[error(
        "the manifest has version {0}, and this program reads version {MANIFEST_VERSION}: finish the \
         run with the older version that started it, or run the workbook again (locally in a fresh \
         output directory, on AWS by a new upload)"
    )]
    Older(u32),
}

impl Manifest {
    /// Reads `runs/<id>/manifest.json`.
    ///
    /// # Errors
    /// It is not the JSON of a manifest, or another version of the program wrote it.
    pub fn from_json(json: &[u8]) -> Result<Manifest, ManifestError> {
        /// The version alone: the rest of another version may have another shape.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(json)?;
        match version.cmp(&MANIFEST_VERSION) {
            Ordering::Less => Err(ManifestError::Older(version)),
            Ordering::Equal => Ok(serde_json::from_slice(json)?),
            Ordering::Greater => Err(ManifestError::Newer(version)),
        }
    }

    /// Returns the number of jobs of the run, to which report counts. An array counts as one job.
    pub fn jobs(&self) -> u32 {
        self.chunks.len() as u32 * u32::from(self.phases)
    }

    /// Returns the number of records in the chunks, which the run processes.
    pub fn processed(&self) -> u64 {
        self.chunks.iter().map(|c| u64::from(c.records)).sum()
    }

    /// Returns the manifest as it is archived with the rows of the result: its chunks are the files of
    /// archived rows, which have the records of the base, too.
    pub fn archived(&self) -> Manifest {
        let chunks = self.base.as_ref().map(|base| base.chunks.clone());
        Manifest {
            chunks: chunks.unwrap_or_else(|| self.chunks.clone()),
            ..self.clone()
        }
    }

    /// Returns the names of the input columns.
    pub fn columns(&self) -> Columns {
        Columns::new(self.columns.iter().map(|c| &c.name))
    }

    /// Returns the number of rejected rows.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// One chunk of a run, and its division into children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlan {
    /// The index of the chunk, from 0.
    pub chunk: u32,
    /// The row number of its first record.
    pub first_row: u32,
    /// The row number of its last record.
    pub last_row: u32,
    /// The number of records, 1 to [`crate::limits::CHUNK_RECORDS`].
    pub records: u32,
    /// The number of children, 1 to [`crate::limits::ARRAY_MAX`]. One child is a plain job.
    pub children: u32,
}

impl ChunkPlan {
    /// Returns the indexes of the records in the chunk that a child processes. The sizes of slices
    /// differ by at most one record.
    pub fn slice(&self, child: u32) -> std::ops::Range<usize> {
        let at =
            |i: u32| (u64::from(i) * u64::from(self.records) / u64::from(self.children)) as usize;
        at(child)..at(child + 1)
    }

    /// Returns the child that processes the record at index `place` of the chunk: the one whose
    /// [`ChunkPlan::slice`] contains it.
    pub fn child_of(&self, place: usize) -> u32 {
        // The last child whose slice starts at or before `place`.
        let last = (place as u64 + 1) * u64::from(self.children) - 1;
        (last / u64::from(self.records)) as u32
    }
}

/// An input column and statistics about its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The header, made unique if necessary.
    pub name: String,
    /// The declared type, otherwise the kind that all values have. `None`: kinds are mixed, or the
    /// column is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Excel's number format of the first value that has one other than `General`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The number of records with a value.
    pub filled: u64,
    /// The number of distinct values, up to [`DISTINCT_CAP`].
    pub distinct: u64,
    /// The smallest value as text, truncated if long. Numbers are compared by size, dates by time and
    /// texts by code point. In a mixed column, among values of the most frequent kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The largest value, like `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The length of the longest value as text, in characters, for the column width of the result.
    #[serde(default)]
    pub width: u32,
}

/// The number of distinct values at which counting stops.
pub const DISTINCT_CAP: usize = 1000;

/// Why a row did not become a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// All cells are empty.
    Blank,
    /// A required column has no value.
    MissingRequired,
    /// An earlier row has the same key.
    DuplicateKey,
    /// A cell does not have the type of its column, or holds an error such as #N/A.
    Unreadable,
    /// Beyond `--limit`.
    BeyondLimit,
}

impl RejectReason {
    /// Returns the reason in words.
    pub fn text(self) -> &'static str {
        match self {
            RejectReason::Blank => "blank row",
            RejectReason::MissingRequired => "required value missing",
            RejectReason::DuplicateKey => "duplicate key",
            RejectReason::Unreadable => "unreadable",
            RejectReason::BeyondLimit => "beyond the requested limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_another_version_is_refused_with_advice() {
        let error = Manifest::from_json(br#"{"version":3,"rows":[]}"#).unwrap_err();
        assert!(matches!(error, ManifestError::Newer(3)), "{error}");
        let error = Manifest::from_json(br#"{"version":1,"stages":1}"#).unwrap_err();
        assert!(matches!(error, ManifestError::Older(1)), "{error}");
        assert!(
            error.to_string().contains("run the workbook again"),
            "{error}"
        );
        assert!(matches!(
            Manifest::from_json(b"{}"),
            Err(ManifestError::Json(_))
        ));
    }

    #[test]
    fn slices_cover_each_record_of_a_chunk_once() {
        for (records, children) in [(1, 1), (7, 3), (10_000, 9_999), (10_000, 10_000), (5, 2)] {
            let chunk = ChunkPlan {
                chunk: 0,
                first_row: 2,
                last_row: 2,
                records,
                children,
            };
            let mut next = 0;
            for child in 0..children {
                let slice = chunk.slice(child);
                assert_eq!(slice.start, next);
                assert!(!slice.is_empty());
                for place in slice.clone() {
                    assert_eq!(chunk.child_of(place), child);
                }
                next = slice.end;
            }
            assert_eq!(next, records as usize);
        }
    }
}
