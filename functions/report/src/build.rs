//! The result workbook and the rows kept, chunk by chunk.
//!
//! Two halves work at once, on two cores: one reads chunks, joins them with their outcomes,
//! counts, and keeps the rows; the other writes the workbook. At most [`AHEAD`] chunks wait
//! between them, so memory does not grow with the run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rowmill_domain::manifest::Rejected;
use rowmill_domain::outcome::Status;
use rowmill_domain::plan::ChunkPlan;
use rowmill_domain::{Columns, Manifest, Outcome, Pipeline, Record, RunId, Value, kept, keys};
use rowmill_ports::{Location, PortError, Put};
use rowmill_workbook::{ColumnSpec, ResultSpec, ResultWriter, Summary};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ended::Ended;
use crate::figures::Figures;
use crate::{Report, ReportError};

/// Chunks that wait for the writer at the most, beside those in the hands of either half.
const AHEAD: usize = 1;

/// A chunk's records, each with its outcome; rows without one have [`Status::Missing`].
struct Joined {
    rows: Vec<(Record, Outcome)>,
}

/// What the writer is handed.
enum Job {
    Chunk(Arc<Joined>),
    /// All chunks are written: the rejected rows, the summary, the end.
    Finish(Box<Summary>),
}

/// What the writer made.
struct Written {
    rejected: u64,
    notes: Vec<String>,
}

impl Report {
    /// Writes the result workbook to `path` and keeps the rows of every chunk. `summary` makes the
    /// summary sheet once the figures are known. Answers the figures and what the writer wants
    /// told.
    pub(crate) async fn build(
        &self,
        manifest: &Manifest,
        pipeline: &Pipeline,
        ended: &Ended,
        directory: &Path,
        path: &Path,
        summary: impl FnOnce(&Figures) -> Summary,
    ) -> Result<(Figures, Vec<String>), ReportError> {
        let columns = Arc::new(manifest.columns());
        let rejected = self.rejected_file(manifest, directory).await?;
        let (send, receive) = mpsc::channel(AHEAD);
        let writer = Writer {
            run: manifest.run.clone(),
            path: path.to_owned(),
            spec: result_spec(manifest, pipeline),
            rejected,
            rows_written: self.rows_written.clone(),
        };
        let writer = tokio::task::spawn_blocking(move || writer.run(receive));

        let mut figures = Figures::new(pipeline, manifest.rejected_total());
        let read = self
            .read(manifest, &columns, ended, &mut figures, &send)
            .await;
        if read.is_ok() {
            let finish = Job::Finish(Box::new(summary(&figures)));
            // Refused only where the writer failed; its own error says why.
            let _ = send.send(finish).await;
        }
        drop(send);
        let written = joined(writer).await?;
        read?;
        let written = written?;
        account(manifest, &figures, written.rejected)?;
        Ok((figures, written.notes))
    }

    /// Reads every chunk in order, hands it to the writer, counts and keeps its rows.
    async fn read(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        ended: &Ended,
        figures: &mut Figures,
        writer: &mpsc::Sender<Job>,
    ) -> Result<(), ReportError> {
        for plan in &manifest.chunks {
            let (chunk, joined) = self.join(manifest, columns, plan, ended).await?;
            let joined = Arc::new(joined);
            if writer.send(Job::Chunk(joined.clone())).await.is_err() {
                // The writer's own error says why.
                return Ok(());
            }
            for (record, outcome) in &joined.rows {
                figures.add(columns, record, outcome);
            }
            let kept = blocking(move || keep(&chunk, &joined.rows)).await??;
            let put = Put {
                content_type: Some("application/gzip".to_owned()),
                ..Put::default()
            };
            let key = keys::rows(&manifest.run, plan.chunk);
            self.objects
                .put(&self.config.work_bucket, &key, kept.into(), put)
                .await?;
        }
        Ok(())
    }

    /// A chunk's records with their outcomes, and the chunk as it was read.
    async fn join(
        &self,
        manifest: &Manifest,
        columns: &Arc<Columns>,
        plan: &ChunkPlan,
        ended: &Ended,
    ) -> Result<(Bytes, Joined), ReportError> {
        let run = &manifest.run;
        let key = keys::chunk(run, plan.chunk);
        let at = Location::new(&self.config.work_bucket, &key);
        let rows = plan.first_row..=plan.last_row;
        let (chunk, outcomes) = tokio::try_join!(
            self.objects.get(&at),
            self.ledger.outcomes(run, plan.chunk, rows)
        )?;
        let chunk = chunk.body;

        let (bytes, names, last) = (chunk.clone(), columns.clone(), manifest.stages - 1);
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
                    "{key} holds {} records, the manifest says {}",
                    rows.len(),
                    plan.records
                ),
            });
        }
        if rows.iter().any(|(_, o)| o.status == Status::Missing) {
            let missing = self.missing(plan, manifest.stages, ended).await?;
            for (place, (_, outcome)) in rows.iter_mut().enumerate() {
                if outcome.status == Status::Missing {
                    outcome.error = Some(missing.reason(place));
                }
            }
        }
        Ok((chunk, Joined { rows }))
    }

    /// The rejected rows as a file; `None` where the run has none.
    async fn rejected_file(
        &self,
        manifest: &Manifest,
        directory: &Path,
    ) -> Result<Option<PathBuf>, PortError> {
        if manifest.rejected_total() == 0 {
            return Ok(None);
        }
        let path = directory.join("rejected.jsonl");
        let at = Location::new(&self.config.work_bucket, keys::rejected(&manifest.run));
        self.objects.download(&at, &path).await?;
        Ok(Some(path))
    }
}

/// Joins a chunk's records with their outcomes, both in the order of rows. A record without an
/// outcome of the last stage, which did not fail before, is missing; the outputs that it has are
/// kept.
fn join(
    chunk: &[u8],
    columns: &Columns,
    outcomes: Vec<Outcome>,
    last_stage: u16,
) -> Result<Vec<(Record, Outcome)>, String> {
    let mut outcomes = outcomes.into_iter().peekable();
    let mut rows = Vec::new();
    for (at, line) in lines(chunk).enumerate() {
        let record = Record::read_json(line, columns)
            .map_err(|error| format!("line {} is no record: {error}", at + 1))?;
        while outcomes.next_if(|o| o.row < record.row).is_some() {}
        let outcome = match outcomes.next_if(|o| o.row == record.row) {
            Some(outcome) if outcome.stage < last_stage && outcome.status == Status::Ok => {
                Outcome {
                    status: Status::Missing,
                    ..outcome
                }
            }
            Some(outcome) => outcome,
            None => Outcome {
                row: record.row,
                stage: 0,
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

/// The rows of a chunk in the form they are kept in ([`kept`]).
fn keep(chunk: &[u8], rows: &[(Record, Outcome)]) -> std::io::Result<Vec<u8>> {
    // Level 1: a third of the time of the default for some tenth more bytes.
    let mut gzip = GzEncoder::new(Vec::with_capacity(chunk.len() / 4), Compression::fast());
    let mut line = Vec::with_capacity(1024);
    for (chunk_line, (_, outcome)) in lines(chunk).zip(rows) {
        line.clear();
        kept::write_line(chunk_line, outcome, &mut line)?;
        gzip.write_all(&line)?;
    }
    gzip.finish()
}

/// Every row is accounted for, or this is an error.
fn account(manifest: &Manifest, figures: &Figures, rejected: u64) -> Result<(), ReportError> {
    let counts = figures.counts();
    let expected = manifest.rejected_total();
    let wrong = if counts.records != manifest.records {
        format!(
            "{} records of {} are in the result",
            counts.records, manifest.records
        )
    } else if rejected != expected {
        format!("{rejected} rejected rows of {expected} are in the result")
    } else if manifest.rows_in != manifest.records + expected {
        format!(
            "{} rows came in, but {} records and {expected} rejected rows came of them",
            manifest.rows_in, manifest.records
        )
    } else if counts.ok + counts.failed + counts.missing != counts.records {
        format!("{counts:?} do not add up")
    } else {
        return Ok(());
    };
    Err(ReportError::Inconsistent {
        run: manifest.run.clone(),
        what: format!("rows are unaccounted for: {wrong}"),
    })
}

fn result_spec(manifest: &Manifest, pipeline: &Pipeline) -> ResultSpec {
    ResultSpec {
        columns: manifest
            .columns
            .iter()
            .map(|column| ColumnSpec {
                name: column.name.clone(),
                kind: column.kind,
                format: column.format.clone(),
                width: column.width,
            })
            .collect(),
        added: pipeline.added_columns(),
        run_id: manifest.run.to_string(),
        title: format!("{}: results", keys::file_name(&manifest.source.key)),
    }
}

/// The half that writes the workbook, on a thread of its own.
struct Writer {
    run: RunId,
    path: PathBuf,
    spec: ResultSpec,
    rejected: Option<PathBuf>,
    rows_written: Arc<AtomicU64>,
}

impl Writer {
    /// Writes what comes, to the end. Where the reader gives up before [`Job::Finish`], the file
    /// is left unfinished and nobody uses it.
    fn run(self, mut jobs: mpsc::Receiver<Job>) -> Result<Written, ReportError> {
        let failed = |error: &dyn std::fmt::Display| ReportError::Workbook {
            run: self.run.clone(),
            message: error.to_string(),
        };
        let mut writer =
            ResultWriter::create(&self.path, &self.spec).map_err(|error| failed(&error))?;
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Chunk(joined) => {
                    let mut added = Vec::with_capacity(self.spec.added.len());
                    let mut input = Vec::with_capacity(self.spec.columns.len());
                    for (record, outcome) in &joined.rows {
                        input.clear();
                        input.extend(record.values.iter().map(Option::as_ref));
                        outputs(&self.spec.added, outcome, &mut added);
                        writer
                            .row(
                                &input,
                                &added,
                                outcome.status,
                                outcome.error.as_deref(),
                                outcome.attempts,
                            )
                            .map_err(|error| failed(&error))?;
                        self.rows_written.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Job::Finish(summary) => {
                    let mut rejected = 0;
                    if let Some(path) = &self.rejected {
                        for line in BufReader::new(std::fs::File::open(path)?).lines() {
                            let row: Rejected = serde_json::from_str(&line?).map_err(|error| {
                                ReportError::Inconsistent {
                                    run: self.run.clone(),
                                    what: format!("rejected.jsonl: line {}: {error}", rejected + 1),
                                }
                            })?;
                            writer.rejected(&row).map_err(|error| failed(&error))?;
                            rejected += 1;
                        }
                    }
                    let written = writer.finish(&summary).map_err(|error| failed(&error))?;
                    return Ok(Written {
                        rejected,
                        notes: written.notes,
                    });
                }
            }
        }
        Ok(Written {
            rejected: 0,
            notes: Vec::new(),
        })
    }
}

/// The outcome's values in the order of the added columns; the latest where a name came twice.
fn outputs<'a>(added: &[String], outcome: &'a Outcome, to: &mut Vec<Option<&'a Value>>) {
    to.clear();
    to.resize(added.len(), None);
    let mut next = 0;
    for (name, value) in &outcome.outputs {
        // Outputs are in the order of the columns, but for those that are absent.
        let at = match added.get(next) {
            Some(column) if **column == **name => Some(next),
            _ => added.iter().position(|column| **column == **name),
        };
        if let Some(at) = at {
            to[at] = Some(value);
            next = at + 1;
        }
    }
}

/// Runs CPU work off the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReportError> {
    joined(tokio::task::spawn_blocking(work)).await
}

/// A task's value; that it panicked is an error like any other.
async fn joined<T>(task: JoinHandle<T>) -> Result<T, ReportError> {
    task.await
        .map_err(|error| ReportError::Io(std::io::Error::other(error)))
}
