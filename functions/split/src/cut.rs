//! From a workbook to clean, counted, serialised records: split's core, which knows no ledger and
//! no topic.

mod sample;
mod store;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use rowmill_domain::manifest::{ColumnProfile, MANIFEST_VERSION, RejectReason};
use rowmill_domain::pipeline::{Batch, ParameterValues, Pipeline};
use rowmill_domain::plan::ChunkPlan;
use rowmill_domain::run::Source;
use rowmill_domain::{Manifest, Plan, RunId};
use rowmill_workbook::{ReadError, ReadOptions, read_rows};
use tempfile::TempDir;

use crate::error::{CutError, Refusal};
use table::Sink;

/// How a workbook is cut.
#[derive(Clone, Debug, Default)]
pub struct CutOptions {
    /// At most so many rows become records.
    pub limit: Option<u64>,
    /// Is kept at the number of data rows read so far, for progress.
    pub rows_read: Arc<AtomicU64>,
    /// Set it, and the cut ends with [`CutError::Stopped`] at the next row.
    pub stop: Arc<AtomicBool>,
}

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
    examples: BTreeMap<RejectReason, (u32, String)>,
    records: Vec<Line>,
    scratch: TempDir,
}

/// A record's line in the spool.
#[derive(Clone, Copy, Debug)]
struct Line {
    row: u32,
    /// With its line end. A line is at most 16,384 cells of 1 MiB, but the reader's own limits
    /// keep a row far below 4 GiB; a longer one is refused.
    bytes: u32,
}

/// What a manifest says beside what was found in the workbook.
#[derive(Clone, Debug)]
pub struct About {
    /// The run.
    pub run: RunId,
    /// The upload.
    pub source: Source,
    /// Now.
    pub created: DateTime<Utc>,
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline's file.
    pub pipeline_toml: String,
    /// The pipeline's stages.
    pub stages: u16,
    /// Recipients in place of the pipeline's.
    pub notify: Vec<String>,
    /// Values of the pipeline's parameters.
    pub parameters: ParameterValues,
}

/// Reads, cleans and profiles the workbook at `path`, and serialises its records. `name` is what
/// messages call it. Blocks; memory is about 30 bytes a record on top of the reader's.
///
/// # Errors
/// [`CutError::Refused`] where the workbook cannot be read, lacks a column, or has no record.
pub fn cut(
    path: &Path,
    name: &str,
    pipeline: &Pipeline,
    options: &CutOptions,
) -> Result<Cut, CutError> {
    let read = ReadOptions::of(&pipeline.input);
    let mut sink = Sink {
        name,
        pipeline,
        options,
        scratch: TempDir::with_prefix("rowmill-split-")?,
        table: None,
        broken: None,
    };
    options.rows_read.store(0, Ordering::Relaxed);
    let summary = read_rows(path, &read, &mut sink);
    if let Some(broken) = sink.broken {
        return Err(broken);
    }
    let summary = summary.map_err(|error| unreadable(&error, path, name))?;
    let Some(table) = sink.table else {
        return Err(Refusal::new(
            format!("{name}: the sheet is empty"),
            "put the columns' names into a row above the data, and upload it again",
        )
        .into());
    };
    let cut = table.finish(summary.formats, summary.notes, sink.scratch)?;
    if cut.records.is_empty() {
        return Err(cut.no_records(name).into());
    }
    Ok(cut)
}

fn unreadable(error: &ReadError, path: &Path, name: &str) -> CutError {
    if let ReadError::Io { source, .. } = error {
        return CutError::Temporary(io::Error::new(source.kind(), source.to_string()));
    }
    refusal(error, path, name).into()
}

/// What the reader says of a workbook, under the name that its owner knows.
pub(crate) fn refusal(error: &ReadError, path: &Path, name: &str) -> Refusal {
    let (what, advice) = error.told();
    let what = what.replace(&path.display().to_string(), name);
    let advice = advice.unwrap_or_else(|| "correct the workbook and upload it again".to_owned());
    Refusal::new(what, advice)
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
    pub fn chunks(&self, batch: &Batch, stages: u16) -> Vec<ChunkPlan> {
        let plan = Plan::new(self.records(), batch, stages);
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
    pub fn manifest(&self, about: About, chunks: Vec<ChunkPlan>) -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            run: about.run,
            source: about.source,
            created: about.created,
            pipeline: about.pipeline,
            pipeline_toml: about.pipeline_toml,
            sheet: self.sheet.clone(),
            columns: self.columns.clone(),
            chunks,
            stages: about.stages,
            rows_in: self.rows_in,
            records: self.records(),
            rejected: self.rejected.clone(),
            notes: self.notes.clone(),
            notify: about.notify,
            parameters: about.parameters,
        }
    }

    fn spool(&self) -> PathBuf {
        spool_file(self.scratch.path())
    }

    fn no_records(&self, name: &str) -> Refusal {
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

fn spool_file(scratch: &Path) -> PathBuf {
    scratch.join("records.jsonl")
}

fn rejected_file(scratch: &Path) -> PathBuf {
    scratch.join("rejected.jsonl")
}

#[cfg(test)]
mod tests;
