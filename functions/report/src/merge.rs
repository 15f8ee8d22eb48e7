//! The result of a run that continues another one: its rows, and the archived rows of the other run.

use std::collections::VecDeque;
use std::path::Path;
use std::slice::Iter;
use std::sync::Arc;

use bytes::Bytes;
use rowmill_domain::manifest::{Base, ChunkPlan, Continuation};
use rowmill_domain::outcome::Status;
use rowmill_domain::{Columns, Manifest, Outcome, Record, keys};
use tokio::sync::mpsc;

use crate::build::{Archive, Part, Place, Seen, blocking, gzipped, join};
use crate::error::ReportError;
use crate::format::{rows, thousands};
use crate::jobs::EndedJobs;
use crate::missing::MissingReasons;
use crate::rebuild::Lines;
use crate::stage::Report;
use crate::workbook::{Joined, WriterCommand};

/// The most rows that are merged at once.
const ROWS_AT_ONCE: usize = 1000;
/// The most bytes of outcomes that are merged at once, about.
const BYTES_AT_ONCE: usize = 4 << 20;

/// What merging needs.
pub(crate) struct Merge<'a> {
    pub(crate) stage: &'a Report,
    pub(crate) manifest: &'a Manifest,
    pub(crate) base: &'a Base,
    pub(crate) columns: &'a Arc<Columns>,
    pub(crate) ended: &'a EndedJobs,
    /// The columns that the steps of the pipeline add.
    pub(crate) step_outputs: Vec<String>,
    /// For temporary files.
    pub(crate) directory: &'a Path,
}

impl Merge<'_> {
    /// Reads every archived row of the base in order, replaces those that this run processed, sends all
    /// to the writer, and counts and archives them.
    pub(crate) async fn run(
        &mut self,
        seen: &mut Seen,
        writer: &mpsc::Sender<WriterCommand>,
    ) -> Result<(), ReportError> {
        let (work, run) = (&self.stage.work, &self.manifest.run);
        let mut processed = Processed {
            chunks: self.manifest.chunks.iter(),
            open: None,
            rows: VecDeque::new(),
        };
        let packed = self.directory.join("base.jsonl.gz");
        let kept = self.directory.join("rows.jsonl.gz");
        for plan in &self.base.chunks {
            let key = keys::archived_rows(&self.base.run, plan.chunk);
            work.download(&key, &packed).await?;
            let mut lines = Lines::open(packed.clone())?;
            let mut archive = Archive::create(&kept)?;
            loop {
                let columns = self.columns.clone();
                let read = blocking(move || (group(&mut lines, &columns), lines)).await?;
                lines = read.1;
                let mut rows = read.0?;
                if rows.is_empty() {
                    break;
                }
                for (record, outcome) in &mut rows {
                    if let Some(now) = processed.take(self, record.row).await? {
                        *outcome = match self.base.by {
                            Continuation::Retry => retried(outcome.clone(), now),
                            Continuation::Reevaluation => {
                                evaluated(outcome.clone(), now, &self.step_outputs)
                            }
                        };
                    }
                }
                let joined = Arc::new(Joined { rows });
                let command = WriterCommand::Rows(joined.clone());
                if writer.send(command).await.is_err() {
                    // The writer failed; its own error is returned.
                    return Ok(());
                }
                for (record, outcome) in &joined.rows {
                    seen.figures.add(self.columns, record, outcome);
                    seen.index.row(self.columns, record, outcome);
                }
                let columns = self.columns.clone();
                archive = blocking(move || archive.add_rows(&columns, &joined.rows)).await??;
            }
            seen.index.chunk(blocking(move || archive.finish()).await??);
            let key = keys::archived_rows(run, plan.chunk);
            work.upload(&key, &kept, gzipped()).await?;
        }
        match processed.next_row(self).await? {
            None => Ok(()),
            Some(row) => Err(self.inconsistent(format!(
                "row {row} is not an archived row of run {}",
                self.base.run
            ))),
        }
    }

    fn inconsistent(&self, what: String) -> ReportError {
        ReportError::Inconsistent {
            run: self.manifest.run.clone(),
            what,
        }
    }
}

/// Reads the next archived rows.
fn group(lines: &mut Lines, columns: &Columns) -> Result<Vec<(Record, Outcome)>, ReportError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < ROWS_AT_ONCE
        && bytes < BYTES_AT_ONCE
        && let Some((record, outcome)) = lines.next(columns)?
    {
        bytes += outcome.estimated_bytes();
        rows.push((record, outcome));
    }
    Ok(rows)
}

/// The rows that this run processed, in order, read page by page.
struct Processed<'a> {
    chunks: Iter<'a, ChunkPlan>,
    open: Option<OpenChunk<'a>>,
    rows: VecDeque<Outcome>,
}

/// A chunk that is being read.
struct OpenChunk<'a> {
    plan: &'a ChunkPlan,
    chunk: Bytes,
    at: Place,
    /// The number of records read.
    records: usize,
    /// The row from which the next page is read.
    next: u32,
    missing: Option<MissingReasons>,
}

impl<'a> Processed<'a> {
    /// The outcome of a row, if this run processed it. Rows are asked in order.
    async fn take(&mut self, cx: &Merge<'a>, row: u32) -> Result<Option<Outcome>, ReportError> {
        match self.next_row(cx).await? {
            Some(next) if next == row => Ok(self.rows.pop_front()),
            _ => Ok(None),
        }
    }

    /// The next row that this run processed.
    async fn next_row(&mut self, cx: &Merge<'a>) -> Result<Option<u32>, ReportError> {
        loop {
            if let Some(next) = self.rows.front() {
                return Ok(Some(next.row));
            }
            match self.open.take() {
                Some(open) => self.read(cx, open).await?,
                None => {
                    let Some(plan) = self.chunks.next() else {
                        return Ok(None);
                    };
                    let key = keys::chunk(&cx.manifest.run, plan.chunk);
                    self.open = Some(OpenChunk {
                        plan,
                        chunk: cx.stage.work.get(&key).await?,
                        at: Place::default(),
                        records: 0,
                        next: plan.first_row,
                        missing: None,
                    });
                }
            }
        }
    }

    /// Reads the next page of a chunk.
    async fn read(&mut self, cx: &Merge<'a>, mut open: OpenChunk<'a>) -> Result<(), ReportError> {
        let (run, plan) = (&cx.manifest.run, open.plan);
        let rows = open.next..=plan.last_row;
        let page = cx.stage.outcomes.read_page(run, plan.chunk, rows).await?;
        let (bytes, names) = (open.chunk.clone(), cx.columns.clone());
        let (at, before, last) = (open.at, page.next, cx.manifest.phases - 1);
        let outcomes = page.outcomes;
        let joined = blocking(move || join(&bytes, at, before, &names, outcomes, last)).await?;
        let key = keys::chunk(run, plan.chunk);
        let Part { mut rows, end } =
            joined.map_err(|what| cx.inconsistent(format!("{key}: {what}")))?;
        for ((_, outcome), place) in rows.iter_mut().zip(open.records..) {
            if outcome.status == Status::Missing {
                let missing = match open.missing.take() {
                    Some(missing) => missing,
                    None => {
                        let phases = cx.manifest.phases;
                        cx.stage.missing_reasons(plan, phases, cx.ended).await?
                    }
                };
                outcome.error = Some(missing.reason(place));
                open.missing = Some(missing);
            }
        }
        open.records += rows.len();
        self.rows
            .extend(rows.into_iter().map(|(_, outcome)| outcome));
        match before {
            Some(next) => {
                self.open = Some(OpenChunk {
                    at: end,
                    next,
                    ..open
                })
            }
            None if open.records == plan.records as usize => {}
            None => {
                return Err(cx.inconsistent(format!(
                    "{key}: {} records, but the manifest says {}",
                    open.records, plan.records
                )));
            }
        }
        Ok(())
    }
}

/// The outcome of a row that was processed again. Attempts add up. A row that this run could not process
/// keeps the outcome that it had.
fn retried(before: Outcome, now: Outcome) -> Outcome {
    if now.status == Status::Missing && before.status != Status::Missing {
        return before;
    }
    Outcome {
        attempts: before.attempts + now.attempts,
        ..now
    }
}

/// The outcome of a row that was evaluated again. One that this run could not evaluate is missing, because
/// its checks and derived columns would be those of the other run. It keeps what its steps returned, from
/// which a retry can evaluate it.
fn evaluated(before: Outcome, now: Outcome, step_outputs: &[String]) -> Outcome {
    let attempts = before.attempts + now.attempts;
    if now.status != Status::Missing {
        return Outcome { attempts, ..now };
    }
    let names: Vec<&str> = step_outputs.iter().map(String::as_str).collect();
    let after = before.after(before.steps, &names);
    Outcome {
        status: Status::Missing,
        error: now.error,
        attempts,
        ..after.unwrap_or(before)
    }
}

/// What the recipient should know about a run that continues another.
pub(crate) fn note(manifest: &Manifest) -> Option<String> {
    let base = manifest.base.as_ref()?;
    let run = &base.run;
    Some(match base.by {
        Continuation::Retry => format!(
            "This is a retry: {} of the {} of run {run} {} processed again",
            thousands(base.records),
            rows(manifest.records),
            if base.records == 1 { "was" } else { "were" },
        ),
        Continuation::Reevaluation => format!(
            "Only checks, derived columns and the like were evaluated again, for {} of the {} of run {run}: \
             no step ran{}",
            thousands(base.records),
            rows(manifest.records),
            match manifest.records - base.records {
                0 => "",
                _ => ", and rows that had failed in a step or were missing are as they were",
            }
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: Status, attempts: u32) -> Outcome {
        let json = serde_json::json!({ "row": 2, "status": status, "attempts": attempts });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn attempts_add_up_and_nothing_is_lost() {
        let of = |before, now| {
            let outcome = retried(before, now);
            (outcome.status, outcome.attempts)
        };
        let (ok, failed, missing) = (Status::Ok, Status::Failed, Status::Missing);
        assert_eq!(of(outcome(failed, 3), outcome(ok, 2)), (ok, 5));
        assert_eq!(of(outcome(failed, 3), outcome(failed, 4)), (failed, 7));
        assert_eq!(of(outcome(missing, 0), outcome(ok, 1)), (ok, 1));
        assert_eq!(of(outcome(missing, 0), outcome(missing, 0)), (missing, 0));
        assert_eq!(of(outcome(failed, 3), outcome(missing, 0)), (failed, 3));
        assert_eq!(of(outcome(ok, 1), outcome(missing, 0)), (ok, 1));
    }

    #[test]
    fn a_row_that_is_not_evaluated_again_has_no_value_of_the_other_run() {
        let mut before = outcome(Status::Ok, 1);
        before.steps = 1;
        before.outputs = vec![("value".into(), 1.0.into()), ("derived".into(), 2.0.into())];
        let missing = Outcome {
            error: Some("host lost".to_owned()),
            ..outcome(Status::Missing, 0)
        };
        let steps = ["value".to_owned()];
        let now = evaluated(before.clone(), missing, &steps);
        assert_eq!(
            (now.status, now.attempts, now.steps),
            (Status::Missing, 1, 1)
        );
        assert_eq!(now.error.as_deref(), Some("host lost"));
        assert_eq!(now.outputs, before.outputs[..1]);

        let now = evaluated(before, outcome(Status::Failed, 0), &steps);
        assert_eq!((now.status, now.attempts), (Status::Failed, 1));
    }
}
