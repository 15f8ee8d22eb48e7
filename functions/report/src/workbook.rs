//! Writes the workbook from joined rows, for the stage and for rebuilding it from the archive.

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use rowmill_domain::{Manifest, Outcome, Reason, Record, Rejected, RunId, Value, keys};
use rowmill_pipeline::{Pipeline, final_column, result_headers};
use rowmill_workbook::{
    ColumnSpec, Fact, ResultSpec, ResultWriter, ReviewSpec, Summary, WriteError,
};
use tokio::sync::mpsc;

use crate::build::blocking;
use crate::error::ReportError;
use crate::figures::{EXAMPLE_ROWS, Figures};
use crate::{advice, format, merge};

/// Maximum number of reasons on the sheet Summary. The column `error` has all of them.
const REASONS: usize = 20;
/// The status of the reasons of rejected rows.
const REJECTED: &str = "rejected";

/// Records, each with its outcome. The status of those without one is
/// [`rowmill_domain::outcome::Status::Missing`].
pub(crate) struct Joined {
    pub(crate) rows: Vec<(Record, Outcome)>,
}

/// What the writer receives.
pub(crate) enum WriterCommand {
    Rows(Arc<Joined>),
    /// All rows are sent. Writes the rejected rows and the summary, and closes the file.
    Finish(Box<Summary>),
}

/// What the writer wrote.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) rejected: u64,
    pub(crate) notes: Vec<String>,
}

/// Writes the workbook.
pub(crate) struct WorkbookWriter {
    pub(crate) run: RunId,
    pub(crate) path: PathBuf,
    pub(crate) spec: ResultSpec,
    /// The rejected rows as lines. `None` if there are none.
    pub(crate) rejected: Option<Box<dyn BufRead + Send>>,
    pub(crate) rows_written: Arc<AtomicU64>,
}

impl WorkbookWriter {
    /// Writes what it receives. If the sender is dropped before [`WriterCommand::Finish`], because
    /// reading failed, the file is incomplete and must not be used.
    ///
    /// Holds a thread only while it writes.
    pub(crate) async fn run(
        self,
        mut commands: mpsc::Receiver<WriterCommand>,
    ) -> Result<Written, ReportError> {
        let mut open = blocking(move || self.open()).await??;
        while let Some(command) = commands.recv().await {
            match blocking(move || open.apply(command)).await?? {
                ControlFlow::Continue(next) => open = next,
                ControlFlow::Break(written) => return Ok(written),
            }
        }
        Ok(Written::default())
    }

    /// The same on its own thread.
    pub(crate) fn run_blocking(
        self,
        mut commands: mpsc::Receiver<WriterCommand>,
    ) -> Result<Written, ReportError> {
        let mut open = self.open()?;
        while let Some(command) = commands.blocking_recv() {
            match open.apply(command)? {
                ControlFlow::Continue(next) => open = next,
                ControlFlow::Break(written) => return Ok(written),
            }
        }
        Ok(Written::default())
    }

    fn open(self) -> Result<OpenWorkbook, ReportError> {
        let writer = ResultWriter::create(&self.path, &self.spec);
        Ok(OpenWorkbook {
            writer: writer.map_err(|error| failed(&self.run, error))?,
            of: self,
        })
    }
}

/// A workbook that is being written.
struct OpenWorkbook {
    of: WorkbookWriter,
    writer: ResultWriter,
}

impl OpenWorkbook {
    /// Does what the command says. Ends with [`WriterCommand::Finish`].
    fn apply(
        mut self,
        command: WriterCommand,
    ) -> Result<ControlFlow<Written, OpenWorkbook>, ReportError> {
        let OpenWorkbook { of, writer } = &mut self;
        let failed = |error| failed(&of.run, error);
        let mut summary = match command {
            WriterCommand::Rows(joined) => {
                let mut added = Vec::with_capacity(of.spec.added.len());
                let mut input = Vec::with_capacity(of.spec.columns.len());
                for (record, outcome) in &joined.rows {
                    input.clear();
                    input.extend(record.values.iter().map(Option::as_ref));
                    outputs(&of.spec.added, outcome, &mut added);
                    writer
                        .row(
                            record.row,
                            &input,
                            &added,
                            outcome.status,
                            outcome.error.as_deref(),
                            outcome.attempts,
                        )
                        .map_err(failed)?;
                    of.rows_written.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(ControlFlow::Continue(self));
            }
            WriterCommand::Finish(summary) => summary,
        };
        let mut rejected = 0;
        for line in of.rejected.take().into_iter().flat_map(BufRead::lines) {
            let row: Rejected =
                serde_json::from_str(&line?).map_err(|error| ReportError::Inconsistent {
                    run: of.run.clone(),
                    what: format!("rejected rows: line {}: {error}", rejected + 1),
                })?;
            writer.rejected(&row).map_err(failed)?;
            rejected += 1;
            add_example(&mut summary.reasons, &row);
        }
        let OpenWorkbook { of, writer } = self;
        let written = writer.finish(&summary);
        Ok(ControlFlow::Break(Written {
            rejected,
            notes: written.map_err(|error| self::failed(&of.run, error))?.notes,
        }))
    }
}

fn failed(run: &RunId, error: WriteError) -> ReportError {
    match error {
        // The disk is full or read-only, which can be repaired.
        WriteError::Io { ref source, .. } => {
            ReportError::Io(std::io::Error::new(source.kind(), error.to_string()))
        }
        error => ReportError::Workbook {
            run: run.clone(),
            message: error.to_string(),
        },
    }
}

/// Adds a rejected row to the examples of its reason.
fn add_example(reasons: &mut [Reason], row: &Rejected) {
    let reason = reasons
        .iter_mut()
        .find(|reason| reason.status == REJECTED && reason.text == row.reason.text());
    if let Some(reason) = reason
        && reason.rows.len() < EXAMPLE_ROWS
    {
        reason.rows.push(row.row);
    }
}

/// The outcome's values in the order of the added columns. The last one counts if a name occurs
/// twice.
fn outputs<'a>(added: &[String], outcome: &'a Outcome, to: &mut Vec<Option<&'a Value>>) {
    to.clear();
    to.resize(added.len(), None);
    let mut next = 0;
    for (name, value) in &outcome.outputs {
        // Outputs are in the order of the columns, apart from absent ones.
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

/// The columns of the workbook.
pub(crate) fn result_spec(manifest: &Manifest, pipeline: &Pipeline) -> ResultSpec {
    let names: Vec<&str> = manifest.columns.iter().map(|c| &*c.name).collect();
    let added = pipeline.added_columns();
    let columns = names
        .iter()
        .copied()
        .chain(added.iter().map(String::as_str));
    let is_link = |name: &str| pipeline.report.links.iter().any(|link| link == name);
    let links = (0..).zip(columns).filter(|(_, name)| is_link(name));
    let is_key = |name: &&str| pipeline.input.key.iter().any(|key| key == name);
    ResultSpec {
        columns: manifest
            .columns
            .iter()
            .zip(result_headers(&names))
            .map(|(column, name)| ColumnSpec {
                name,
                kind: column.kind,
                format: column.format.clone(),
                width: column.width,
            })
            .collect(),
        links: links.map(|(place, _)| place).collect(),
        frozen: names.iter().rposition(is_key).map_or(0, |key| key + 1),
        review: review_spec(pipeline, &names, &added),
        added,
        run_id: manifest.run.to_string(),
        title: format!("{}: results", keys::file_name(&manifest.source.key)),
    }
}

/// The column for corrections, if the pipeline has a reviewed column.
fn review_spec(pipeline: &Pipeline, inputs: &[&str], added: &[String]) -> Option<ReviewSpec> {
    let review = pipeline.review.as_ref()?;
    let closed = !review.labels.is_empty();
    Some(ReviewSpec {
        name: final_column(inputs, added),
        of: added.iter().position(|name| *name == review.column)?,
        labels: match closed {
            true => review.labels.clone(),
            false => pipeline.fixed_labels(&review.column),
        },
        closed,
        advice: "Then train on this column with `rowmill train`.".to_owned(),
    })
}

/// The sheet `Summary`.
pub(crate) fn summary(
    manifest: &Manifest,
    figures: &Figures,
    started: DateTime<Utc>,
    finished: DateTime<Utc>,
) -> Summary {
    let time = |at: DateTime<Utc>| Fact::Time(at.naive_utc());
    let text = |text: &str| Fact::Text(text.to_owned());
    let source = &manifest.source;
    let parameters = manifest.parameters.iter();
    let parameters = parameters.map(|(name, value)| (format!("Parameter {name}"), text(value)));
    let facts = [
        ("File", text(keys::file_name(&source.key))),
        ("Sheet", text(&manifest.sheet)),
        ("Rows in file", Fact::Count(manifest.rows_in)),
        ("Pipeline", text(manifest.pipeline.as_str())),
        ("Run", text(manifest.run.as_str())),
        ("Uploaded, UTC", time(source.uploaded)),
        ("Started, UTC", time(started)),
        ("Finished, UTC", time(finished)),
        ("Duration", Fact::Duration(finished - started)),
    ];
    let mut reasons = all_reasons(figures, manifest);
    let rest = reasons.split_off(reasons.len().min(REASONS));
    let verdict = format::verdict(figures.counts(), manifest.rows_in);
    Summary {
        verdict: format::sentence(&verdict),
        reasons,
        further: rest.iter().map(|reason| reason.count).sum(),
        facts: facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(parameters)
            .collect(),
        counts: figures.counts(),
        steps: figures.steps(),
        chart: figures.chart(),
        notes: merge::note(manifest)
            .iter()
            .chain(&manifest.notes)
            .map(|n| format::sentence(n))
            .collect(),
    }
}

/// Why rows have no result, most frequent reason first.
pub(crate) fn all_reasons(figures: &Figures, manifest: &Manifest) -> Vec<Reason> {
    let mut reasons = figures.reasons();
    reasons.extend(rejected_reasons(manifest));
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    reasons
}

/// Why rows were rejected.
pub(crate) fn rejected_reasons(manifest: &Manifest) -> impl Iterator<Item = Reason> {
    manifest.rejected.iter().map(|(reason, count)| Reason {
        status: REJECTED.to_owned(),
        text: reason.text().to_owned(),
        count: *count,
        rows: Vec::new(),
        advice: advice::of_rejected(*reason).to_owned(),
    })
}

/// Checks that every row is accounted for.
///
/// # Errors
/// [`ReportError::Inconsistent`] if a number does not match.
pub(crate) fn check_totals(
    manifest: &Manifest,
    figures: &Figures,
    rejected: u64,
) -> Result<(), ReportError> {
    let counts = figures.counts();
    let expected = manifest.rejected_total();
    let wrong = if counts.records != manifest.records {
        format!(
            "the result has {} of {} records",
            counts.records, manifest.records
        )
    } else if rejected != expected {
        format!("the result has {rejected} of {expected} rejected rows")
    } else if manifest.rows_in != manifest.records + expected {
        format!(
            "the file has {} rows, but there are {} records and {expected} rejected rows",
            manifest.rows_in, manifest.records
        )
    } else if counts.ok + counts.failed + counts.missing != counts.records {
        format!("the counts do not add up: {counts:?}")
    } else {
        return Ok(());
    };
    Err(ReportError::Inconsistent {
        run: manifest.run.clone(),
        what: format!("not every row is accounted for: {wrong}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_can_be_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.xlsx");
        // A directory exists at the path of the file, for any user and without a full disk.
        std::fs::create_dir_all(path.join("taken")).unwrap();
        let writer = WorkbookWriter {
            run: "20261121-reviews-ffffffffffff".parse().unwrap(),
            path,
            spec: ResultSpec::default(),
            rejected: None,
            rows_written: Arc::default(),
        };
        let (send, receive) = mpsc::channel(1);
        let finish = WriterCommand::Finish(Box::default());
        send.blocking_send(finish).ok().unwrap();
        let error = writer.run_blocking(receive).map(drop).unwrap_err();
        assert!(error.is_retryable() && !error.is_permanent(), "{error}");
        assert!(error.to_string().contains("result.xlsx"), "{error}");
    }
}
