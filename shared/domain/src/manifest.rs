//! The manifest: split's commit point, and all that later stages need to know of a run.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::pipeline_name::PipelineName;
use crate::record::Columns;
use crate::run::{RunId, Source};
use crate::value::Kind;

/// The values of a run's parameters, by name: of those that an upload may give.
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
    pub source: Source,
    /// When split wrote this.
    pub created: DateTime<Utc>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The pipeline file as it was then: a later edit changes nothing under way.
    pub pipeline_toml: String,
    /// The sheet that was read.
    pub sheet: String,
    /// The input's columns, in order, with what was found in them.
    pub columns: Vec<ColumnProfile>,
    /// The chunks, in order; balanced, each at most [`crate::limits::CHUNK_RECORDS`] records.
    pub chunks: Vec<ChunkPlan>,
    /// Phases of the pipeline.
    pub phases: u16,
    /// Data rows in the sheet below the header: records + rejected.
    pub rows_in: u64,
    /// Records in all chunks.
    pub records: u64,
    /// Rejected rows by reason; the rows themselves are in [`crate::keys::rejected`].
    pub rejected: BTreeMap<RejectReason, u64>,
    /// What the reader wants told in the mail (renamed headers, cut texts).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Recipients from the object's metadata, in place of the pipeline's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// The values of the pipeline's parameters: what the object's metadata gives, and defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: ParameterValues,
}

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A newer program wrote it.
    #[error(
        "the manifest has version {0}, and this program reads version {MANIFEST_VERSION}: use the \
         newer program that started the run"
    )]
    Newer(u32),
    /// An older program wrote it.
    #[error(
        "the manifest has version {0}, and this program reads version {MANIFEST_VERSION}: finish the \
         run with the older program that started it, or run the workbook again (locally in a fresh \
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

    /// Jobs of the run in all; a parent with its children counts as one. The number that report
    /// counts to.
    pub fn jobs(&self) -> u32 {
        self.chunks.len() as u32 * u32::from(self.phases)
    }

    /// The names of the input's columns.
    pub fn columns(&self) -> Columns {
        Columns::new(self.columns.iter().map(|c| &c.name))
    }

    /// Rejected rows in all.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// One chunk of a run and how it is cut into children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlan {
    /// From 0.
    pub chunk: u32,
    /// Row number of its first record.
    pub first_row: u32,
    /// Row number of its last record.
    pub last_row: u32,
    /// Records in it, 1 to [`crate::limits::CHUNK_RECORDS`].
    pub records: u32,
    /// Children that share them, 1 to [`crate::limits::ARRAY_MAX`]; one child is a plain job.
    pub children: u32,
}

impl ChunkPlan {
    /// Which records of the chunk, counted from 0, a child works on. Balanced: slices differ by
    /// one record at the most.
    pub fn slice(&self, child: u32) -> std::ops::Range<usize> {
        let at =
            |i: u32| (u64::from(i) * u64::from(self.records) / u64::from(self.children)) as usize;
        at(child)..at(child + 1)
    }

    /// The child that works on the record at that place in the chunk, from 0: the one whose
    /// [`ChunkPlan::slice`] holds it.
    pub fn child_of(&self, place: usize) -> u32 {
        // The greatest child whose slice begins at or before `place`.
        let last = (place as u64 + 1) * u64::from(self.children) - 1;
        (last / u64::from(self.records)) as u32
    }
}

/// A column of the input and what its records hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// The header, made unique.
    pub name: String,
    /// The declared type, else the kind of all its values; `None` where they are mixed or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Excel's number format of its first value with one, where it is not `General`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Records with a value.
    pub filled: u64,
    /// Distinct values, counted up to [`DISTINCT_CAP`].
    pub distinct: u64,
    /// Least value: of numbers by size, of dates by time, else of texts by code point. As text, a
    /// long one cut. In a mixed column that of its most frequent kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The longest value as text, in characters (for the result's column width).
    #[serde(default)]
    pub width: u32,
}

/// Distinct values of a column are counted up to this; the count stays here beyond it.
pub const DISTINCT_CAP: usize = 1000;

/// Why a row did not become a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// No cell has a value.
    Blank,
    /// A required column is empty.
    MissingRequired,
    /// An earlier row has the same key.
    DuplicateKey,
    /// A cell could not be read as its column's type, or holds an error such as #N/A.
    Unreadable,
    /// Beyond `--limit`.
    BeyondLimit,
}

impl RejectReason {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            RejectReason::Blank => "blank row",
            RejectReason::MissingRequired => "required value missing",
            RejectReason::DuplicateKey => "duplicate key",
            RejectReason::Unreadable => "unreadable",
            RejectReason::BeyondLimit => "beyond the limit asked for",
        }
    }
}

/// One rejected row: a line of [`crate::keys::rejected`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The row's number in the sheet.
    pub row: u32,
    /// Why.
    pub reason: RejectReason,
    /// Why, in words with the column and the value.
    pub detail: String,
    /// The row's cells as text, in column order; empty text where a cell is empty. None at all
    /// for a blank row and for one beyond the limit: a million of those must cost little.
    pub values: Vec<String>,
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
    fn slices_cover_a_chunk_once() {
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
