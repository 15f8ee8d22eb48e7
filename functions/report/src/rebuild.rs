//! The workbook of a run, rebuilt from its archived rows.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use flate2::read::MultiGzDecoder;
use rowmill_domain::archive::{self, ArchiveInfo};
use rowmill_domain::run::Counts;
use rowmill_domain::{Columns, Outcome, Record, RunId, keys};
use rowmill_pipeline::from_manifest;
use tokio::sync::mpsc;

use crate::error::ReportError;
use crate::figures::Figures;
use crate::workbook::{Joined, WorkbookWriter, WriterCommand, check_totals, result_spec, summary};

/// Rows sent to the writer at once: large enough to make sending cheap, small enough to bound
/// memory.
const ROWS_AT_ONCE: usize = 1000;

/// Reads `about.json` of a folder of archived rows, `results/<id>`.
///
/// # Errors
/// [`ReportError::Archive`] if the file is missing or cannot be read.
pub fn archive_info(folder: &Path) -> Result<ArchiveInfo, ReportError> {
    let path = folder.join(keys::ABOUT);
    let failed = |what: String| ReportError::Archive {
        path: path.clone(),
        what,
    };
    let json = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
    ArchiveInfo::from_json(&json).map_err(|error| failed(error.to_string()))
}

/// Rebuilds the workbook of a run from its folder of archived rows, `results/<id>`, in bounded
/// memory. The sheets of rows have the same cells as those delivered.
///
/// # Errors
/// [`ReportError::Archive`] if a file of the folder is missing or cannot be read. After any error
/// the content of `to` is undefined.
pub fn rebuild_from_archive(
    folder: &Path,
    to: &Path,
) -> Result<(ArchiveInfo, Counts), ReportError> {
    let about = archive_info(folder)?;
    let manifest = &about.manifest;
    let (run, pipeline) = (&manifest.run, from_manifest(manifest)?);
    let rejected = match manifest.rejected_total() {
        0 => None,
        _ => Some(Box::new(open(&inside(folder, run, &keys::archived_rejected(run)))?) as Box<_>),
    };
    let (send, receive) = mpsc::channel(1);
    let writer = WorkbookWriter {
        run: run.clone(),
        path: to.to_owned(),
        spec: result_spec(manifest, &pipeline),
        rejected,
        rows_written: Arc::new(AtomicU64::new(0)),
    };
    let mut figures = Figures::new(&pipeline, manifest.rejected_total());
    let (read, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || writer.run_blocking(receive));
        let read = read(folder, &about, &mut figures, &send).map(|()| {
            let summary = summary(manifest, &figures, about.started, about.finished);
            // Fails only if the writer failed, whose own error is returned below.
            let _ = send.blocking_send(WriterCommand::Finish(Box::new(summary)));
        });
        drop(send);
        (read, writer.join())
    });
    let written = written.map_err(|_| ReportError::Workbook {
        run: run.clone(),
        message: "its writer panicked".to_owned(),
    })?;
    read?;
    check_totals(manifest, &figures, written?.rejected)?;
    Ok((about, figures.counts()))
}

/// Sends every archived row to the writer, in order, and counts it.
fn read(
    folder: &Path,
    about: &ArchiveInfo,
    figures: &mut Figures,
    writer: &mpsc::Sender<WriterCommand>,
) -> Result<(), ReportError> {
    let (run, columns) = (&about.manifest.run, about.manifest.columns());
    for plan in &about.manifest.chunks {
        let path = inside(folder, run, &keys::archived_rows(run, plan.chunk));
        let mut lines = Lines::open(path)?;
        loop {
            let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
            while rows.len() < ROWS_AT_ONCE
                && let Some((record, outcome)) = lines.next(&columns)?
            {
                figures.add(&columns, &record, &outcome);
                rows.push((record, outcome));
            }
            if rows.is_empty() {
                break;
            }
            let command = WriterCommand::Rows(Arc::new(Joined { rows }));
            if writer.blocking_send(command).is_err() {
                // The writer failed; its own error is returned.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The lines of a file of archived rows.
pub(crate) struct Lines {
    path: PathBuf,
    at: u64,
    line: Vec<u8>,
    from: BufReader<MultiGzDecoder<BufReader<File>>>,
}

impl Lines {
    pub(crate) fn open(path: PathBuf) -> Result<Lines, ReportError> {
        Ok(Lines {
            from: open(&path)?,
            at: 0,
            line: Vec::new(),
            path,
        })
    }

    pub(crate) fn next(
        &mut self,
        columns: &Columns,
    ) -> Result<Option<(Record, Outcome)>, ReportError> {
        self.line.clear();
        self.at += 1;
        let read = match self.from.read_until(b'\n', &mut self.line) {
            Ok(0) => return Ok(None),
            Ok(_) => archive::read_line(&self.line, columns).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        read.map(Some).map_err(|error| ReportError::Archive {
            path: self.path.clone(),
            what: format!("line {}: {error}", self.at),
        })
    }
}

/// The file in `folder` for a key under `results/<id>/`. The folder may have any name.
fn inside(folder: &Path, run: &RunId, key: &str) -> PathBuf {
    let prefix = keys::results_prefix(run);
    folder.join(key.strip_prefix(&prefix).unwrap_or(key))
}

fn open(path: &Path) -> Result<BufReader<MultiGzDecoder<BufReader<File>>>, ReportError> {
    let file = File::open(path).map_err(|error| ReportError::Archive {
        path: path.to_owned(),
        what: match error.kind() {
            ErrorKind::NotFound => "the file is missing, so the folder is incomplete".to_owned(),
            _ => error.to_string(),
        },
    })?;
    Ok(BufReader::with_capacity(
        64 * 1024,
        MultiGzDecoder::new(BufReader::new(file)),
    ))
}
