//! From a workbook to clean, counted, serialised records: split's core, which knows no ledger and
//! no topic.

mod sample;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rowmill_domain::manifest::{ColumnProfile, MANIFEST_VERSION, RejectReason, Rejected};
use rowmill_domain::pipeline::{Batch, ParameterValues, Pipeline, result_headers};
use rowmill_domain::plan::ChunkPlan;
use rowmill_domain::run::Source;
use rowmill_domain::{Columns, Manifest, Plan, RunId, Value, keys};
use rowmill_ports::{Objects, Put};
use rowmill_workbook::{Cell, Header, ReadError, ReadOptions, RowSink, read_rows};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::clean::{Cleaner, LISTED, Verdict};
use crate::error::{CutError, Refusal, SplitError};
use crate::line::LineWriter;
use crate::profile::Profile;

/// Chunks that are put at once.
const PUTS_AT_ONCE: usize = 4;
/// A chunk of more bytes than this is put from a file and not from memory: buffers of its size on
/// several threads stay with the allocator, which was half of split's memory.
const CHUNK_IN_MEMORY: u64 = 1 << 20;

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

/// What the reader says of a workbook, under the name that its owner knows.
fn unreadable(error: &ReadError, path: &Path, name: &str) -> CutError {
    if let ReadError::Io { source, .. } = error {
        return CutError::Temporary(io::Error::new(source.kind(), source.to_string()));
    }
    let (what, advice) = error.told();
    let what = what.replace(&path.display().to_string(), name);
    let advice = advice.unwrap_or_else(|| "correct the workbook and upload it again".to_owned());
    Refusal::new(what, advice).into()
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

    /// Puts these chunks, as [`Cut::chunks`] gave them, and the rejected rows into the work
    /// bucket. May be done twice.
    pub async fn store(
        &self,
        objects: &Arc<dyn Objects>,
        bucket: &str,
        run: &RunId,
        chunks: &[ChunkPlan],
    ) -> Result<(), SplitError> {
        let mut puts = JoinSet::new();
        puts.spawn(put_file(
            objects.clone(),
            bucket.to_owned(),
            keys::rejected(run),
            rejected_file(self.scratch.path()),
        ));
        let (mut line, mut offset) = (0, 0);
        for chunk in chunks {
            let lines = &self.records[line..line + chunk.records as usize];
            let bytes = lines.iter().map(|l| u64::from(l.bytes)).sum();
            if puts.len() == PUTS_AT_ONCE {
                joined(puts.join_next().await)?;
            }
            puts.spawn(put_part(
                objects.clone(),
                bucket.to_owned(),
                keys::chunk(run, chunk.chunk),
                self.spool(),
                self.scratch.path().join(format!("chunk-{}", chunk.chunk)),
                offset,
                bytes,
            ));
            line += lines.len();
            offset += bytes;
        }
        while !puts.is_empty() {
            joined(puts.join_next().await)?;
        }
        Ok(())
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

fn json_lines() -> Put {
    Put {
        content_type: Some("application/jsonl".into()),
        ..Put::default()
    }
}

fn joined(
    result: Option<Result<Result<(), SplitError>, tokio::task::JoinError>>,
) -> Result<(), SplitError> {
    match result {
        Some(Ok(result)) => result,
        // Cancelled with the runtime, or a bug: either way nothing was lost.
        Some(Err(error)) => Err(io::Error::other(error).into()),
        None => Ok(()),
    }
}

/// Puts a file as an object.
async fn put_file(
    objects: Arc<dyn Objects>,
    bucket: String,
    key: String,
    file: PathBuf,
) -> Result<(), SplitError> {
    objects.upload(&bucket, &key, &file, json_lines()).await?;
    Ok(())
}

/// Puts a part of the spool as an object.
async fn put_part(
    objects: Arc<dyn Objects>,
    bucket: String,
    key: String,
    spool: PathBuf,
    large: PathBuf,
    offset: u64,
    bytes: u64,
) -> Result<(), SplitError> {
    let to = large.clone();
    let body = tokio::task::spawn_blocking(move || {
        let mut spool = File::open(spool)?;
        spool.seek(SeekFrom::Start(offset))?;
        let mut part = spool.take(bytes);
        if bytes > CHUNK_IN_MEMORY {
            io::copy(&mut part, &mut File::create(to)?)?;
            return Ok(None);
        }
        let mut body = Vec::with_capacity(bytes as usize);
        part.read_to_end(&mut body)?;
        Ok::<_, io::Error>(Some(Bytes::from(body)))
    })
    .await
    .map_err(io::Error::other)??;
    match body {
        Some(body) => objects.put(&bucket, &key, body, json_lines()).await?,
        None => {
            let info = objects.upload(&bucket, &key, &large, json_lines()).await?;
            tokio::fs::remove_file(&large).await?;
            info
        }
    };
    Ok(())
}

/// Takes the reader's rows.
struct Sink<'a> {
    name: &'a str,
    pipeline: &'a Pipeline,
    options: &'a CutOptions,
    scratch: TempDir,
    table: Option<Table>,
    broken: Option<CutError>,
}

impl RowSink for Sink<'_> {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        match self.start(header) {
            Ok(table) => {
                self.table = Some(table);
                ControlFlow::Continue(())
            }
            Err(error) => self.stop(error),
        }
    }

    fn row(&mut self, row: u32, cells: &mut Vec<Cell>) -> ControlFlow<()> {
        // Relaxed: a progress bar and a stop flag order nothing else.
        self.options.rows_read.fetch_add(1, Ordering::Relaxed);
        if self.options.stop.load(Ordering::Relaxed) {
            return self.stop(CutError::Stopped);
        }
        match self.table.as_mut().map(|table| table.row(row, cells)) {
            Some(Err(error)) => self.stop(error.into()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Sink<'_> {
    fn stop(&mut self, error: CutError) -> ControlFlow<()> {
        self.broken = Some(error);
        ControlFlow::Break(())
    }

    fn start(&self, header: &Header) -> Result<Table, CutError> {
        let columns = Columns::new(&header.columns);
        let refused = |what: String| {
            Refusal::new(
                format!("{}, sheet `{}`: {what}", self.name, header.sheet),
                format!(
                    "correct the workbook's header (row {}) or the pipeline, and upload it again",
                    header.row
                ),
            )
        };
        let problems = self.pipeline.check_columns(&header.columns);
        if !problems.is_empty() {
            let mut texts: Vec<String> = problems.iter().take(LISTED).map(problem).collect();
            if problems.len() > LISTED {
                texts.push(format!("and {} more", problems.len() - LISTED));
            }
            return Err(refused(texts.join("; ")).into());
        }
        let cleaner = Cleaner::new(columns.clone(), &self.pipeline.input, self.options.limit)
            .map_err(|name| refused(format!("no column `{name}`, which [input] mentions")))?;
        let create = |path| File::create(path).map(|f| BufWriter::with_capacity(1 << 20, f));
        Ok(Table {
            sheet: header.sheet.clone(),
            notes: [header.notes.clone(), renamed(&header.columns)].concat(),
            lines: LineWriter::new(&columns).map_err(io::Error::from)?,
            profiles: columns
                .names()
                .iter()
                .map(|_| Profile::new(columns.len()))
                .collect(),
            columns,
            cleaner,
            buffer: Vec::new(),
            records: Vec::new(),
            spool: create(spool_file(self.scratch.path()))?,
            rejects: create(rejected_file(self.scratch.path()))?,
            rows_in: 0,
            rejected: BTreeMap::new(),
            examples: BTreeMap::new(),
            blank: None,
        })
    }
}

/// Notes of the columns that the result cannot show by their own names.
fn renamed(columns: &[String]) -> Vec<String> {
    let shown = columns.iter().zip(result_headers(columns));
    shown
        .filter(|(own, shown)| *own != shown)
        .map(|(own, shown)| {
            format!("the workbook's column `{own}` is called `{shown}` in the result, which has a column `{own}` of its own")
        })
        .collect()
}

/// A pipeline's error in one line, with its place.
pub(crate) fn problem(error: &rowmill_domain::pipeline::PipelineError) -> String {
    let (line, column) = error.position();
    let mut text = format!(
        "{} ({}, line {line}, column {column}",
        error.message,
        error.file.name()
    );
    if let Some(help) = &error.help {
        text += &format!("; {help}");
    }
    text + ")"
}

/// The records so far.
struct Table {
    sheet: String,
    notes: Vec<String>,
    columns: Columns,
    cleaner: Cleaner,
    lines: LineWriter,
    profiles: Vec<Profile>,
    /// The line at hand.
    buffer: Vec<u8>,
    records: Vec<Line>,
    spool: BufWriter<File>,
    rejects: BufWriter<File>,
    rows_in: u64,
    rejected: BTreeMap<RejectReason, u64>,
    examples: BTreeMap<RejectReason, (u32, String)>,
    /// First and last of the blank rows just before; they count once a used one follows.
    blank: Option<(u32, u32)>,
}

impl Table {
    fn row(&mut self, row: u32, cells: &mut [Cell]) -> io::Result<()> {
        match self.cleaner.clean(row, cells) {
            Verdict::Rejected(RejectReason::Blank, _) => {
                let first = self.blank.map_or(row, |(first, _)| first);
                self.blank = Some((first, row));
                Ok(())
            }
            Verdict::Rejected(reason, detail) => {
                self.blanks()?;
                let values = match reason {
                    RejectReason::BeyondLimit => Vec::new(),
                    _ => cells.iter().map(text).collect(),
                };
                self.reject(row, reason, detail, values)
            }
            Verdict::Record => {
                self.blanks()?;
                self.record(row, cells)
            }
        }
    }

    fn record(&mut self, row: u32, cells: &[Cell]) -> io::Result<()> {
        self.buffer.clear();
        let profiles = &mut self.profiles;
        self.lines
            .write(row, cells, &mut self.buffer, |at, value, length| {
                profiles[at].add(value, length);
            })?;
        let bytes = u32::try_from(self.buffer.len())
            .map_err(|_| io::Error::other(format!("row {row} is longer than 4 GiB as JSON")))?;
        self.spool.write_all(&self.buffer)?;
        self.records.push(Line { row, bytes });
        self.rows_in += 1;
        Ok(())
    }

    /// Rejects the blank rows before a used one.
    fn blanks(&mut self) -> io::Result<()> {
        let Some((first, last)) = self.blank.take() else {
            return Ok(());
        };
        let reason = RejectReason::Blank;
        for row in first..=last {
            self.reject(row, reason, reason.text().to_owned(), Vec::new())?;
        }
        Ok(())
    }

    fn reject(
        &mut self,
        row: u32,
        reason: RejectReason,
        detail: String,
        values: Vec<String>,
    ) -> io::Result<()> {
        let rejected = Rejected {
            row,
            reason,
            detail,
            values,
        };
        serde_json::to_writer(&mut self.rejects, &rejected)?;
        self.rejects.write_all(b"\n")?;
        *self.rejected.entry(reason).or_default() += 1;
        self.examples
            .entry(reason)
            .or_insert((row, rejected.detail));
        self.rows_in += 1;
        Ok(())
    }

    fn finish(
        mut self,
        formats: Vec<Option<String>>,
        notes: Vec<String>,
        scratch: TempDir,
    ) -> io::Result<Cut> {
        self.spool.flush()?;
        self.rejects.flush()?;
        let mut formats = formats.into_iter();
        let columns = self.columns.names().iter().zip(&self.profiles).enumerate();
        let columns = columns
            .map(|(at, (name, profile))| {
                profile.finish(name, self.cleaner.declared(at), formats.next().flatten())
            })
            .collect();
        self.notes.extend(notes);
        Ok(Cut {
            sheet: self.sheet,
            columns,
            rows_in: self.rows_in,
            rejected: self.rejected,
            notes: self.notes,
            examples: self.examples,
            records: self.records,
            scratch,
        })
    }
}

/// A rejected row's cell as text.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Value(Value::Text(text)) => text.clone(),
        Cell::Value(value) => value.to_text(),
        Cell::Error(error) => error.clone(),
    }
}

#[cfg(test)]
mod tests;
