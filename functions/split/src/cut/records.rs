//! The result of a cut: cleaned, counted and serialized records in temporary files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rowmill_domain::limits::CHUNK_BYTES;
use rowmill_domain::manifest::{
    ChunkPlan, ColumnProfile, MANIFEST_VERSION, ParameterValues, RejectReason,
};
use rowmill_domain::run::UploadSource;
use rowmill_domain::{Manifest, PipelineName, RunId};
use rowmill_planning::Division;
use tempfile::TempDir;

use crate::error::Refusal;

/// The records of a workbook, cleaned and serialized, in temporary files that are deleted when this
/// value is dropped.
#[derive(Debug)]
pub struct Cut {
    /// The sheet that was read.
    pub sheet: String,
    /// The columns, with a profile of their values.
    pub columns: Vec<ColumnProfile>,
    /// Data rows, both records and rejected rows. Blank rows after the last row with values do not
    /// count.
    pub rows_in: u64,
    /// Rejected rows by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Notes of the reader for the email.
    pub notes: Vec<String>,
    /// The first rejected row of each reason.
    pub(crate) examples: BTreeMap<RejectReason, (u32, String)>,
    pub(crate) records: Vec<Line>,
    /// The number of records in each piece of the spool.
    pub(crate) pieces: Vec<u32>,
    pub(crate) scratch: TempDir,
}

/// A record's line in the spool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) row: u32,
    /// Includes the line break. The limits of the reader keep a row far below 4 GiB; a longer one
    /// is refused.
    pub(crate) bytes: u32,
}

/// The part of a manifest that does not come from the workbook.
#[derive(Clone, Debug)]
pub struct RunDetails {
    /// The run.
    pub run: RunId,
    /// The upload.
    pub source: UploadSource,
    /// The current time.
    pub created: DateTime<Utc>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The text of the pipeline file.
    pub pipeline_toml: String,
    /// The number of phases of the pipeline.
    pub phases: u16,
    /// Recipients that replace those of the pipeline.
    pub notify: Vec<String>,
    /// The values of the pipeline's parameters.
    pub parameters: ParameterValues,
}

impl Cut {
    /// The number of records.
    pub fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// The number of rejected rows.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Divides the records into chunks as planned. A planned chunk that has more than
    /// [`CHUNK_BYTES`] becomes several, which share its children.
    pub fn chunks(&self, division: &Division) -> Vec<ChunkPlan> {
        let mut rest = &self.records[..];
        let mut chunks = Vec::new();
        for (records, children) in division.chunks() {
            let (mut planned, after) = rest.split_at(records as usize);
            rest = after;
            let mut placed = 0;
            while !planned.is_empty() {
                let (lines, after) = planned.split_at(first_chunk(planned));
                planned = after;
                // A chunk has at least one record.
                let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
                    break;
                };
                let ours = lines.len() as u32;
                let share = |records_before: u32| {
                    (u64::from(records_before) * u64::from(children) / u64::from(records)) as u32
                };
                let children = share(placed + ours) - share(placed);
                placed += ours;
                chunks.push(ChunkPlan {
                    chunk: chunks.len() as u32,
                    first_row: first.row,
                    last_row: last.row,
                    records: ours,
                    children: children.clamp(1, ours),
                });
            }
        }
        chunks
    }

    /// The manifest for these chunks, which [`Cut::chunks`] returned.
    pub fn manifest(&self, details: RunDetails, chunks: Vec<ChunkPlan>) -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            run: details.run,
            source: details.source,
            created: details.created,
            pipeline: details.pipeline,
            pipeline_toml: details.pipeline_toml,
            sheet: self.sheet.clone(),
            columns: self.columns.clone(),
            chunks,
            phases: details.phases,
            rows_in: self.rows_in,
            records: self.records(),
            rejected: self.rejected.clone(),
            notes: self.notes.clone(),
            notify: details.notify,
            parameters: details.parameters,
            base: None,
        }
    }

    pub(super) fn no_records(&self, name: &str) -> Refusal {
        let sheet = &self.sheet;
        if self.rows_in == 0 {
            return Refusal::new(
                format!("{name}, sheet `{sheet}`: no rows below the header"),
                "Add rows below the header. If the rows are on another sheet, set `sheet` under \
                 [input] in the pipeline. Then upload the file again.",
            );
        }
        let reasons: Vec<String> = self
            .rejected
            .iter()
            .map(|(reason, count)| {
                let mut text = format!("{count} for `{}`", reason.text());
                if let Some((row, detail)) = self.examples.get(reason)
                    && detail != reason.text()
                {
                    text += &format!(" (for example row {row}: {detail})");
                }
                text
            })
            .collect();
        Refusal {
            what: format!(
                "{name}, sheet `{sheet}`: {} rejected: {}",
                match self.rows_in {
                    1 => "the only row was".to_owned(),
                    rows => format!("all {rows} rows were"),
                },
                reasons.join(", ")
            ),
            advice: "Correct these rows, or the rules under [input] in the pipeline, and upload \
                     the file again."
                .into(),
            rejected: self.rows_in,
        }
    }
}

/// How many of these records make a chunk of at most [`CHUNK_BYTES`]; at least one.
fn first_chunk(lines: &[Line]) -> usize {
    let mut bytes = 0;
    let fits = lines.iter().take_while(|line| {
        bytes += u64::from(line.bytes);
        bytes <= CHUNK_BYTES
    });
    fits.count().max(1)
}

pub(crate) fn rejected_file(scratch: &Path) -> PathBuf {
    scratch.join("rejected.jsonl")
}
