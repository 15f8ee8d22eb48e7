//! The core of split: a workbook on disk becomes cleaned, counted and serialized records. It uses
//! neither the ledger nor the topic.

mod records;
mod sample;
mod sink;
mod spool;
mod store;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use rowmill_pipeline::Pipeline;
use rowmill_runs::scratch_folder;
use rowmill_workbook::{ReadError, read_rows};

use crate::elsewhere::elsewhere;
use crate::error::{CutError, Refusal};
use crate::read_options::read_options;
use sink::Sink;

pub(crate) use records::rejected_file;
pub use records::{Cut, RunDetails};
pub(crate) use spool::Spool;

/// Reads, cleans and profiles the workbook at `path`, and serializes its records. At most `limit`
/// rows become records. Messages call the workbook `name`. `progress` is called with the number of
/// data rows read so far, at every row; the cut stops when it breaks.
///
/// This blocks the thread. It uses about 30 bytes of memory per record in addition to the reader's.
///
/// # Errors
/// [`CutError::Refused`] if the workbook cannot be read, does not have a column that the pipeline
/// uses, or has no record. [`CutError::Stopped`] if `progress` broke off the cut.
pub fn cut(
    path: &Path,
    name: &str,
    pipeline: &Pipeline,
    limit: Option<u64>,
    progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Cut, CutError> {
    let read = read_options(pipeline);
    let scratch = scratch_folder("rowmill-split-")?;
    let mut sink = Sink::new(name, pipeline, limit, scratch, progress);
    let summary = read_rows(path, &read, &mut sink);
    match (sink.broken, sink.wrong_header) {
        (Some(CutError::Refused(mut refusal)), Some(header)) => {
            if let Some(found) = elsewhere(path, pipeline, &header) {
                refusal.advice = format!("{found} Or: {}", refusal.advice);
            }
            return Err(CutError::Refused(refusal));
        }
        (Some(broken), _) => return Err(broken),
        (None, _) => {}
    }
    let summary = summary.map_err(|error| unreadable(&error, path, name))?;
    let Some(table) = sink.table else {
        return Err(Refusal::new(
            format!("{name}: the sheet is empty"),
            "Put a header row with the column names above the data, and upload the file again.",
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

/// The refusal for an error of the reader, with the file name that the sender knows.
pub(crate) fn refusal(error: &ReadError, path: &Path, name: &str) -> Refusal {
    let (what, advice) = error.message_and_advice();
    let what = what.replace(&path.display().to_string(), name);
    let advice = advice.unwrap_or_else(|| "Correct the workbook and upload it again.".to_owned());
    Refusal::new(what, advice)
}

#[cfg(test)]
mod tests;
