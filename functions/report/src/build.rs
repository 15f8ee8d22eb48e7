//! The result workbook and the archived rows, chunk by chunk.
//!
//! Two tasks run in parallel: one reads chunks, joins them with their outcomes, counts, and
//! archives the rows; the other writes the workbook. At most [`AHEAD`] chunks wait between them, so
//! that memory use does not grow with the run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
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
use crate::stage::Report;
use crate::workbook::{Joined, WorkbookWriter, WriterCommand, check_totals, result_spec};

/// Maximum number of chunks that wait for the writer, in addition to the one that each task works on.
const AHEAD: usize = 1;

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
        let writer = tokio::task::spawn_blocking(move || writer.run(receive));

        let mut figures = Figures::new(pipeline, manifest.rejected_total());
        let read = self
            .read(manifest, &columns, ended, &mut figures, &send)
            .await;
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
        Ok((figures, written.notes))
    }

    /// Reads every chunk in order, sends it to the writer, counts and archives its rows.
    async fn read(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        ended: &EndedJobs,
        figures: &mut Figures,
        writer: &mpsc::Sender<WriterCommand>,
    ) -> Result<(), ReportError> {
        for plan in &manifest.chunks {
            let (chunk, joined) = self.join(manifest, columns, plan, ended).await?;
            let joined = Arc::new(joined);
            if writer
                .send(WriterCommand::Rows(joined.clone()))
                .await
                .is_err()
            {
                // The writer failed; its own error is returned.
                return Ok(());
            }
            for (record, outcome) in &joined.rows {
                figures.add(columns, record, outcome);
            }
            let kept = blocking(move || keep(&chunk, &joined.rows)).await??;
            let key = keys::archived_rows(&manifest.run, plan.chunk);
            self.work.put(&key, kept.into(), gzipped()).await?;
        }
        Ok(())
    }

    /// A chunk's records with their outcomes, and the bytes of the chunk.
    async fn join(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        plan: &ChunkPlan,
        ended: &EndedJobs,
    ) -> Result<(Bytes, Joined), ReportError> {
        let run = &manifest.run;
        let key = keys::chunk(run, plan.chunk);
        let rows = plan.first_row..=plan.last_row;
        let (chunk, outcomes) = tokio::try_join!(
            self.work.get(&key),
            self.outcomes.read_outcomes(run, plan.chunk, rows)
        )?;

        let (bytes, names, last) = (chunk.clone(), columns.clone(), manifest.phases - 1);
        let mut rows = blocking(move || join(&bytes, &names, outcomes, last))
            .await?
            .map_err(|what| ReportError::Inconsistent {
                run: run.clone(),
                what: format!("{key}: {what}"),
            })?;
        if rows.len() != plan.records as usize {
            return Err(ReportError::Inconsistent {
                run: run.clone(),
                what: format!(
                    "{key} has {} records, but the manifest says {}",
                    rows.len(),
                    plan.records
                ),
            });
        }
        if rows.iter().any(|(_, o)| o.status == Status::Missing) {
            let missing = self.missing_reasons(plan, manifest.phases, ended).await?;
            for (place, (_, outcome)) in rows.iter_mut().enumerate() {
                if outcome.status == Status::Missing {
                    outcome.error = Some(missing.reason(place));
                }
            }
        }
        Ok((chunk, Joined { rows }))
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

/// Joins a chunk's records with their outcomes, both in row order. A record is missing if it has no
/// outcome of the last phase and did not fail earlier. Its outputs of earlier phases are kept.
fn join(
    chunk: &[u8],
    columns: &Columns,
    outcomes: Vec<Outcome>,
    last_phase: u16,
) -> Result<Vec<(Record, Outcome)>, String> {
    let mut outcomes = outcomes.into_iter().peekable();
    let mut rows = Vec::new();
    for (at, line) in lines(chunk).enumerate() {
        let record = Record::read_json(line, columns)
            .map_err(|error| format!("line {} is not a record: {error}", at + 1))?;
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
            },
        };
        rows.push((record, outcome));
    }
    Ok(rows)
}

fn lines(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    chunk
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// The rows of a chunk in the form of the archive ([`kept`]).
fn keep(chunk: &[u8], rows: &[(Record, Outcome)]) -> std::io::Result<Vec<u8>> {
    // Level 1 takes a third of the default's time for about 10% more bytes.
    let mut gzip = GzEncoder::new(Vec::with_capacity(chunk.len() / 4), Compression::fast());
    let mut line = Vec::with_capacity(1024);
    for (chunk_line, (_, outcome)) in lines(chunk).zip(rows) {
        line.clear();
        archive::write_line(chunk_line, outcome, &mut line)?;
        gzip.write_all(&line)?;
    }
    gzip.finish()
}

/// Compresses a file with gzip.
fn compress(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut gzip = GzEncoder::new(File::create(to)?, Compression::fast());
    std::io::copy(&mut File::open(from)?, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}

fn gzipped() -> Put {
    Put {
        content_type: Some("application/gzip".to_owned()),
        ..Put::default()
    }
}

/// Runs CPU-bound work outside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReportError> {
    join_task(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task. A panic in it becomes an error.
async fn join_task<T>(task: JoinHandle<T>) -> Result<T, ReportError> {
    task.await
        .map_err(|error| ReportError::Io(std::io::Error::other(error)))
}
