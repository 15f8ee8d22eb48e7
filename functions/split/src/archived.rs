//! The archived rows of a run, cut again: those that another run processes, each with what is done.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rowmill_domain::archive::{ArchiveInfo, read_line};
use rowmill_domain::{Columns, Outcome, Record, RunId, keys};
use rowmill_ports::Optional;
use rowmill_runs::{WorkBucket, scratch_folder};

use crate::cut::{Cut, Spool, rejected_file};
use crate::error::{Refusal, SplitError};

/// What happens to an archived row.
pub(crate) enum Choice {
    /// It keeps its outcome.
    Keep,
    /// It is processed again, from the start or from this outcome ([`Outcome::after`]).
    Again(Option<Outcome>),
}

/// Reads what is archived about a run.
///
/// # Errors
/// [`SplitError::Refused`] if there is nothing, or another version wrote it.
pub(crate) async fn archive_of(work: &WorkBucket, run: &RunId) -> Result<ArchiveInfo, SplitError> {
    let key = keys::about(run);
    let Some(json) = work.find(&key).await? else {
        let what = format!("run {run} has no archived rows");
        return Err(Refusal::new(what, "Run the workbook again.").into());
    };
    ArchiveInfo::from_json(&json).map_err(|error| {
        let what = format!("{}: {error}", work.location(&key));
        Refusal::new(what, "Run the workbook again.").into()
    })
}

/// Reads every archived row of a run, in order, and keeps those that `choose` processes again as the
/// records of a new cut. The rejected rows are those of the run.
pub(crate) async fn cut_archived(
    work: &WorkBucket,
    about: &ArchiveInfo,
    mut choose: impl FnMut(&Columns, &Record, &Outcome) -> Choice + Send + 'static,
) -> Result<Cut, SplitError> {
    let manifest = &about.manifest;
    let run = &manifest.run;
    let scratch = scratch_folder("rowmill-split-")?;
    let mut rejected = File::create(rejected_file(scratch.path()))?;
    if manifest.rejected_total() > 0 {
        let packed = download(work, &keys::archived_rejected(run), scratch.path()).await?;
        blocking(move || io::copy(&mut MultiGzDecoder::new(packed), &mut rejected)).await??;
    }
    let columns = manifest.columns();
    let mut spool = Spool::create(scratch.path())?;
    let mut rows = 0;
    for plan in &manifest.chunks {
        let key = keys::archived_rows(run, plan.chunk);
        let packed = download(work, &key, scratch.path()).await?;
        let names = columns.clone();
        let read = blocking(move || {
            let read = chosen(packed, &names, &mut choose, &mut spool);
            (read, choose, spool)
        });
        let read = read.await?;
        (choose, spool) = (read.1, read.2);
        rows += read.0.map_err(|what| unreadable(work, &key, &what))?;
    }
    let (records, pieces) = spool.finish()?;
    if rows != manifest.records {
        let what = format!("{rows} of {} archived rows", manifest.records);
        return Err(unreadable(work, &keys::about(run), &what));
    }
    Ok(Cut {
        sheet: manifest.sheet.clone(),
        columns: manifest.columns.clone(),
        rows_in: manifest.rows_in,
        rejected: manifest.rejected.clone(),
        notes: manifest.notes.clone(),
        examples: BTreeMap::new(),
        records,
        pieces,
        scratch,
    })
}

/// Reads a file of archived rows, and appends the chosen ones to the spool. Returns the number of rows.
fn chosen(
    packed: BufReader<File>,
    columns: &Columns,
    choose: &mut impl FnMut(&Columns, &Record, &Outcome) -> Choice,
    spool: &mut Spool,
) -> Result<u64, String> {
    let mut lines = BufReader::new(MultiGzDecoder::new(packed));
    let (mut read, mut line, mut rows) = (Vec::new(), Vec::new(), 0);
    loop {
        read.clear();
        let bytes = lines.read_until(b'\n', &mut read);
        if bytes.map_err(|error| error.to_string())? == 0 {
            return Ok(rows);
        }
        rows += 1;
        let parsed = read_line(&read, columns);
        let (record, outcome) = parsed.map_err(|error| format!("line {rows}: {error}"))?;
        let Choice::Again(before) = choose(columns, &record, &outcome) else {
            continue;
        };
        line.clear();
        let written = write(&record, columns, before.as_ref(), &mut line);
        written.map_err(|error| format!("line {rows}: {error}"))?;
        let added = spool.add(record.row, &line);
        added.map_err(|error| error.to_string())?;
    }
}

/// Writes the line of a chunk, with what is done already.
fn write(
    record: &Record,
    columns: &Columns,
    before: Option<&Outcome>,
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    record.write_json(columns, to)?;
    if let Some(before) = before {
        // Inside the object, which ends with `}`.
        to.pop();
        to.extend_from_slice(b",\"before\":");
        serde_json::to_writer(&mut *to, before)?;
        to.push(b'}');
    }
    to.push(b'\n');
    Ok(())
}

/// Downloads an archived object. The file has no name when this returns.
async fn download(
    work: &WorkBucket,
    key: &str,
    scratch: &Path,
) -> Result<BufReader<File>, SplitError> {
    let path = scratch.join("archived.gz");
    if work.download(key, &path).await.optional()?.is_none() {
        return Err(unreadable(work, key, "it was removed"));
    }
    let file = File::open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(BufReader::new(file))
}

fn unreadable(work: &WorkBucket, key: &str, what: &str) -> SplitError {
    let what = format!("{}: {what}", work.location(key));
    Refusal::new(what, "Run the workbook again.").into()
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SplitError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| io::Error::other(error).into())
}
