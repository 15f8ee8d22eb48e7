//! What a cut leaves: cleaned, counted and serialised records in temporary files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rowmill_domain::manifest::{
    ChunkPlan, ColumnProfile, MANIFEST_VERSION, ParameterValues, RejectReason,
};
use rowmill_domain::run::Source;
use rowmill_domain::{Manifest, PipelineName, RunId};
use rowmill_pipeline::{BatchSettings, Plan};
use tempfile::TempDir;

use crate::error::Refusal;

/// A workbook's records, cleaned and serialised, in temporary files that go with this value.
#[derive(Debug)]
pub struct Cut {
    /// The sheet that was read.
    pub sheet: String,
    /// The columns with what the records hold.
    pub columns: Vec<ColumnProfile>,
    /// Data rows: records and rejected ones. Blank rows after the last used one do not count.
    pub rows_in: u64,
    /// Rejected rows by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// What the reader wants told in the mail.
    pub notes: Vec<String>,
    /// The first rejected row of each reason.
    pub(super) examples: BTreeMap<RejectReason, (u32, String)>,
    pub(super) records: Vec<Line>,
    pub(super) scratch: TempDir,
}

/// A record's line in the spool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) row: u32,
    /// With its line end. A line is at most 16,384 cells of 1 MiB, but the reader's own limits
    /// keep a row far below 4 GiB; a longer one is refused.
    pub(super) bytes: u32,
}

/// What a manifest says beside what was found in the workbook.
#[derive(Clone, Debug)]
pub struct RunDetails {
    /// The run.
    pub run: RunId,
    /// The upload.
    pub source: Source,
    /// Now.
    pub created: DateTime<Utc>,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The pipeline's file.
    pub pipeline_toml: String,
    /// The pipeline's phases.
    pub phases: u16,
    /// Recipients in place of the pipeline's.
    pub notify: Vec<String>,
    /// Values of the pipeline's parameters.
    pub parameters: ParameterValues,
}

impl Cut {
    /// Records in all.
    pub fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// Rejected rows in all.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Balanced chunks of the records.
    pub fn chunks(&self, batch: &BatchSettings, phases: u16) -> Vec<ChunkPlan> {
        let plan = Plan::new(self.records(), batch, phases);
        let mut rest = &self.records[..];
        let mut chunks = Vec::with_capacity(plan.chunks.len());
        for (chunk, (records, children)) in (0..).zip(plan.chunks) {
            let (lines, after) = rest.split_at(records as usize);
            rest = after;
            // No chunk of a plan is empty.
            let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
                continue;
            };
            chunks.push(ChunkPlan {
                chunk,
                first_row: first.row,
                last_row: last.row,
                records,
                children,
            });
        }
        chunks
    }

    /// The manifest of these chunks, as [`Cut::chunks`] gave them.
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
        }
    }

    pub(super) fn spool(&self) -> PathBuf {
        spool_file(self.scratch.path())
    }

    pub(super) fn no_records(&self, name: &str) -> Refusal {
        let sheet = &self.sheet;
        if self.rows_in == 0 {
            return Refusal::new(
                format!("{name}, sheet `{sheet}`: no rows below the header"),
                "add rows, or name the sheet that has them as `sheet` under [input] of the \
                 pipeline, and upload it again",
            );
        }
        let reasons: Vec<String> = self
            .rejected
            .iter()
            .map(|(reason, count)| {
                let mut text = format!("{count} {}", reason.text());
                if let Some((row, detail)) = self.examples.get(reason)
                    && detail != reason.text()
                {
                    text += &format!(" (row {row}: {detail})");
                }
                text
            })
            .collect();
        Refusal {
            what: format!(
                "{name}, sheet `{sheet}`: no record to work on, all {} rows were rejected: {}",
                self.rows_in,
                reasons.join(", ")
            ),
            advice: "correct these rows or the rules under [input] of the pipeline, and upload \
                     it again"
                .into(),
            rejected: self.rows_in,
        }
    }
}

pub(super) fn spool_file(scratch: &Path) -> PathBuf {
    scratch.join("records.jsonl")
}

pub(super) fn rejected_file(scratch: &Path) -> PathBuf {
    scratch.join("rejected.jsonl")
}
