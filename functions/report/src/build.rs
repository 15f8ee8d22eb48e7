//! The result workbook and the archived rows, in parts of a chunk.
//!
//! Two tasks run in parallel: one reads chunks, joins them with their outcomes, counts, and
//! archives the rows; the other writes the workbook. A part has the records of one page of outcomes, and
//! at most [`AHEAD`] parts wait between the tasks, so that memory does not grow with the run or with
//! the size of its outcomes.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rowmill_domain::index::{BLOCK_ROWS, IndexBuilder};
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::outcome::Status;
use rowmill_domain::{Columns, Manifest, Outcome, Record, archive, keys};
use rowmill_pipeline::Pipeline;
use rowmill_ports::Put;
use rowmill_workbook::Summary;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::ReportError;
use crate::figures::Figures;
use crate::jobs::EndedJobs;
use crate::merge::Merge;
use crate::stage::Report;
use crate::workbook::{Joined, WorkbookWriter, WriterCommand, check_totals, result_spec};

/// Maximum number of parts that wait for the writer, in addition to the one that each task works on.
const AHEAD: usize = 1;

/// What is known about the rows so far.
pub(crate) struct Seen {
    pub(crate) figures: Figures,
    pub(crate) index: IndexBuilder,
}

impl Report {
    /// Writes the result workbook to `path` and archives the rows of every chunk. `summary` makes
    /// the summary sheet once the figures are known. Returns the figures and the writer's notes.
    pub(crate) async fn build(
        &self,
        manifest: &Manifest,
        pipeline: &Pipeline,
        ended: &EndedJobs,
        directory: &Path,
        path: &Path,
        summary: impl FnOnce(&Figures) -> Summary,
    ) -> Result<(Figures, Vec<String>), ReportError> {
        let columns = Arc::new(manifest.columns());
        let rejected = self.rejected_file(manifest, directory).await?;
        let (send, receive) = mpsc::channel(AHEAD);
        let writer = WorkbookWriter {
            run: manifest.run.clone(),
            path: path.to_owned(),
            spec: result_spec(manifest, pipeline),
            rejected: match rejected {
                Some(path) => {
                    Some(Box::new(BufReader::new(File::open(path)?)) as Box<dyn BufRead + Send>)
                }
                None => None,
            },
            rows_written: self.rows_written.clone(),
        };
        let writer = tokio::spawn(writer.run(receive));

        let mut names: Vec<String> = columns.names().iter().map(ToString::to_string).collect();
        for added in pipeline.added_columns() {
            if !names.contains(&added) {
                names.push(added);
            }
        }
        let mut seen = Seen {
            figures: Figures::new(pipeline, manifest.rejected_total()),
            index: IndexBuilder::new(names, pipeline.reviewed_column()),
        };
        let read = match &manifest.base {
            None => {
                self.read(manifest, &columns, ended, directory, &mut seen, &send)
                    .await
            }
            Some(base) => {
                let mut merge = Merge {
                    stage: self,
                    manifest,
                    base,
                    columns: &columns,
                    ended,
                    step_outputs: pipeline
                        .outputs_of(pipeline.steps.len() as u16)
                        .into_iter()
                        .map(str::to_owned)
                        .collect(),
                    directory,
                };
                merge.run(&mut seen, &send).await
            }
        };
        let Seen { figures, index } = seen;
        if read.is_ok() {
            let finish = WriterCommand::Finish(Box::new(summary(&figures)));
            // Fails only if the writer failed, whose own error is returned below.
            let _ = send.send(finish).await;
        }
        drop(send);
        let written = join_task(writer).await?;
        read?;
        let written = written?;
        check_totals(manifest, &figures, written.rejected)?;
        self.keep_index(manifest, index).await?;
        Ok((figures, written.notes))
    }

    /// Stores the index of the archived rows.
    async fn keep_index(
        &self,
        manifest: &Manifest,
        index: IndexBuilder,
    ) -> Result<(), ReportError> {
        let (about, rows) = index.finish().map_err(std::io::Error::from)?;
        let put = |kind: &str| Put {
            content_type: Some(kind.to_owned()),
            ..Put::default()
        };
        let key = keys::index_rows(&manifest.run);
        self.work
            .put(&key, rows.into(), put("application/octet-stream"))
            .await?;
        // Last, so that an index is complete if this exists.
        let key = keys::index_about(&manifest.run);
        self.work
            .put(&key, about.into(), put("application/json"))
            .await?;
        Ok(())
    }

    /// Reads every chunk in order, sends it to the writer, counts and archives its rows.
    async fn read(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        ended: &EndedJobs,
        directory: &Path,
        seen: &mut Seen,
        writer: &mpsc::Sender<WriterCommand>,
    ) -> Result<(), ReportError> {
        let kept = directory.join("rows.jsonl.gz");
        for plan in &manifest.chunks {
            let Some(archive) = self
                .read_chunk(manifest, columns, plan, ended, &kept, seen, writer)
                .await?
            else {
                // The writer failed; its own error is returned.
                return Ok(());
            };
            seen.index.chunk(blocking(move || archive.finish()).await??);
            let key = keys::archived_rows(&manifest.run, plan.chunk);
            self.work.upload(&key, &kept, gzipped()).await?;
        }
        Ok(())
    }

    /// Joins a chunk with its outcomes, page by page: a chunk is small, but its outcomes can be large.
    /// Returns its archive in the file `kept`, or `None` if the writer has failed.
    #[expect(clippy::too_many_arguments, reason = "one loop, called in one place")]
    async fn read_chunk(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        plan: &ChunkPlan,
        ended: &EndedJobs,
        kept: &Path,
        seen: &mut Seen,
        writer: &mpsc::Sender<WriterCommand>,
    ) -> Result<Option<Archive>, ReportError> {
        let run = &manifest.run;
        let key = keys::chunk(run, plan.chunk);
        let inconsistent = |what: String| ReportError::Inconsistent {
            run: run.clone(),
            what: format!("{key}: {what}"),
        };
        let (chunk, mut page) = tokio::try_join!(
            self.work.get(&key),
            self.outcomes
                .read_page(run, plan.chunk, plan.first_row..=plan.last_row)
        )?;
        let mut archive = Archive::create(kept)?;
        let mut missing = None;
        let (mut at, mut records) = (Place::default(), 0);
        loop {
            let (bytes, names, last) = (chunk.clone(), columns.clone(), manifest.phases - 1);
            let (outcomes, before) = (page.outcomes, page.next);
            let Part { mut rows, end } =
                blocking(move || join(&bytes, at, before, &names, outcomes, last))
                    .await?
                    .map_err(inconsistent)?;
            let start = std::mem::replace(&mut at, end);
            if rows.iter().any(|(_, o)| o.status == Status::Missing) {
                if missing.is_none() {
                    missing = Some(self.missing_reasons(plan, manifest.phases, ended).await?);
                }
                for ((_, outcome), place) in rows.iter_mut().zip(records..) {
                    if outcome.status == Status::Missing {
                        outcome.error = missing.as_ref().map(|missing| missing.reason(place));
                    }
                }
            }
            records += rows.len();
            let joined = Arc::new(Joined { rows });
            let next = async {
                match before {
                    Some(row) => {
                        let rows = row..=plan.last_row;
                        let next = self.outcomes.read_page(run, plan.chunk, rows).await?;
                        Ok(Some(next))
                    }
                    None => Ok(None),
                }
            };
            let handle = async {
                if writer
                    .send(WriterCommand::Rows(joined.clone()))
                    .await
                    .is_err()
                {
                    return Ok(None);
                }
                for (record, outcome) in &joined.rows {
                    seen.figures.add(columns, record, outcome);
                    seen.index.row(columns, record, outcome);
                }
                let chunk = chunk.clone();
                blocking(move || archive.add(&chunk[start.byte..end.byte], &joined.rows))
                    .await?
                    .map(Some)
                    .map_err(ReportError::from)
            };
            let (next, kept) = tokio::try_join!(next, handle)?;
            let Some(kept) = kept else { return Ok(None) };
            archive = kept;
            match next {
                Some(next) => page = next,
                None => break,
            }
        }
        if records != plan.records as usize {
            return Err(inconsistent(format!(
                "{records} records, but the manifest says {}",
                plan.records
            )));
        }
        Ok(Some(archive))
    }

    /// Archives the rejected rows. Returns them as a file; `None` if the run has none.
    async fn rejected_file(
        &self,
        manifest: &Manifest,
        directory: &Path,
    ) -> Result<Option<PathBuf>, ReportError> {
        if manifest.rejected_total() == 0 {
            return Ok(None);
        }
        let path = directory.join("rejected.jsonl");
        let rejected = keys::rejected(&manifest.run);
        self.work.download(&rejected, &path).await?;
        let (from, to) = (path.clone(), directory.join("rejected.jsonl.gz"));
        let gzip = to.clone();
        blocking(move || compress(&from, &to)).await??;
        let key = keys::archived_rejected(&manifest.run);
        self.work.upload(&key, &gzip, gzipped()).await?;
        Ok(Some(path))
    }
}

/// A place in a chunk.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    byte: usize,
    /// The number of lines before it.
    line: usize,
}

/// Joined rows of a chunk.
pub(crate) struct Part {
    pub(crate) rows: Vec<(Record, Outcome)>,
    /// The place after them.
    pub(crate) end: Place,
}

/// Joins a chunk's records with their outcomes, both in row order: those from `start` up to the row
/// `before`, or all. A record is missing if it has no outcome of the last phase and did not fail
/// earlier. Its outputs of earlier phases are kept.
pub(crate) fn join(
    chunk: &[u8],
    start: Place,
    before: Option<u32>,
    columns: &Columns,
    outcomes: Vec<Outcome>,
    last_phase: u16,
) -> Result<Part, String> {
    let mut outcomes = outcomes.into_iter().peekable();
    let (mut rows, mut end) = (Vec::new(), start);
    for line in chunk[start.byte..].split_inclusive(|byte| *byte == b'\n') {
        let next = Place {
            byte: end.byte + line.len(),
            line: end.line + 1,
        };
        if line == b"\n" {
            end = next;
            continue;
        }
        let record = Record::read_json(line, columns)
            .map_err(|error| format!("line {} is not a record: {error}", next.line))?;
        if before.is_some_and(|row| record.row >= row) {
            break;
        }
        end = next;
        while outcomes.next_if(|o| o.row < record.row).is_some() {}
        let outcome = match outcomes.next_if(|o| o.row == record.row) {
            Some(outcome) if outcome.phase < last_phase && outcome.status == Status::Ok => {
                Outcome {
                    status: Status::Missing,
                    ..outcome
                }
            }
            Some(outcome) => outcome,
            None => Outcome {
                row: record.row,
                phase: 0,
                status: Status::Missing,
                outputs: Vec::new(),
                error: None,
                attempts: 0,
                times: Vec::new(),
                steps: 0,
                notes: Vec::new(),
            },
        };
        rows.push((record, outcome));
    }
    Ok(Part { rows, end })
}

/// The archived rows of a chunk, in a file: outcomes that do not compress can be large. Each block of
/// [`BLOCK_ROWS`] rows is a gzip member, so that it can be read alone.
pub(crate) struct Archive {
    gzip: GzEncoder<Counted>,
    line: Vec<u8>,
    /// The rows of the current block.
    rows: usize,
    /// Where the blocks start.
    blocks: Vec<u64>,
}

impl Archive {
    pub(crate) fn create(path: &Path) -> std::io::Result<Archive> {
        let file = Counted {
            file: BufWriter::new(File::create(path)?),
            bytes: 0,
        };
        Ok(Archive {
            gzip: block(file),
            line: Vec::with_capacity(1024),
            rows: 0,
            blocks: vec![0],
        })
    }

    /// Adds rows, whose records are the lines of `chunk`.
    fn add(mut self, chunk: &[u8], rows: &[(Record, Outcome)]) -> std::io::Result<Archive> {
        let lines = chunk.split(|byte| *byte == b'\n');
        for (line, (_, outcome)) in lines.filter(|line| !line.is_empty()).zip(rows) {
            self = self.add_row(line, outcome)?;
        }
        Ok(self)
    }

    /// Adds a row, whose record is this line.
    fn add_row(mut self, line: &[u8], outcome: &Outcome) -> std::io::Result<Archive> {
        if self.rows == BLOCK_ROWS {
            let file = self.gzip.finish()?;
            self.blocks.push(file.bytes);
            self.gzip = block(file);
            self.rows = 0;
        }
        self.rows += 1;
        self.line.clear();
        archive::write_line(line, outcome, &mut self.line)?;
        self.gzip.write_all(&self.line)?;
        Ok(self)
    }

    /// Adds rows.
    pub(crate) fn add_rows(
        mut self,
        columns: &Columns,
        rows: &[(Record, Outcome)],
    ) -> std::io::Result<Archive> {
        let mut line = Vec::with_capacity(1024);
        for (record, outcome) in rows {
            line.clear();
            record.write_json(columns, &mut line)?;
            self = self.add_row(&line, outcome)?;
        }
        Ok(self)
    }

    /// Where the blocks start, and the size of the file.
    pub(crate) fn finish(mut self) -> std::io::Result<Vec<u64>> {
        let mut file = self.gzip.finish()?;
        file.flush()?;
        self.blocks.push(file.bytes);
        Ok(self.blocks)
    }
}

/// Level 1 takes a third of the default's time for about 10% more bytes.
fn block(file: Counted) -> GzEncoder<Counted> {
    GzEncoder::new(file, Compression::fast())
}

/// A file that counts the bytes written to it.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Compresses a file with gzip.
fn compress(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut gzip = GzEncoder::new(File::create(to)?, Compression::fast());
    std::io::copy(&mut File::open(from)?, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}

pub(crate) fn gzipped() -> Put {
    Put {
        content_type: Some("application/gzip".to_owned()),
        ..Put::default()
    }
}

/// Runs CPU-bound work outside the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReportError> {
    join_task(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task. A panic in it becomes an error.
async fn join_task<T>(task: JoinHandle<T>) -> Result<T, ReportError> {
    task.await
        .map_err(|error| ReportError::Io(std::io::Error::other(error)))
}
