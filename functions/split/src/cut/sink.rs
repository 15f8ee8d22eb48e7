//! The reader's rows, cleaned, profiled and serialized one by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use rowmill_domain::manifest::RejectReason;
use rowmill_domain::{Columns, Rejected, Value};
use rowmill_pipeline::{Pipeline, PipelineError, result_headers};
use rowmill_workbook::{Cell, Header, OutsideCell, RowSink};
use tempfile::TempDir;

use super::records::{Cut, rejected_file};
use super::spool::Spool;
use crate::cell::CleanCell;
use crate::clean::{Cleaner, LISTED, Verdict};
use crate::error::{CutError, Refusal};
use crate::line::LineWriter;
use crate::profile::Profile;

/// Takes the reader's rows.
pub(super) struct Sink<'a, P> {
    /// What messages call the workbook.
    name: &'a str,
    pipeline: &'a Pipeline,
    limit: Option<u64>,
    pub(super) scratch: TempDir,
    /// Called with the number of rows read so far. May stop the cut.
    progress: P,
    rows_read: u64,
    /// The records, once the header has been read.
    pub(super) table: Option<Table>,
    /// Why the cut stopped early.
    pub(super) broken: Option<CutError>,
    /// The header, if it is why.
    pub(super) wrong_header: Option<Header>,
}

impl<P: FnMut(u64) -> ControlFlow<()>> RowSink for Sink<'_, P> {
    fn header(&mut self, header: &Header) -> ControlFlow<()> {
        match self.start(header) {
            Ok(table) => {
                self.table = Some(table);
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.wrong_header = Some(header.clone());
                self.stop(error)
            }
        }
    }

    fn row(&mut self, row: u32, cells: &mut [Cell]) -> ControlFlow<()> {
        self.add(1, |table| table.row(row, &*cells))
    }

    fn texts(&mut self, row: u32, texts: &[&str]) -> ControlFlow<()> {
        self.add(1, |table| table.row(row, texts.iter().copied()))
    }

    fn overflow(
        &mut self,
        row: u32,
        cells: &mut [Cell],
        outside: &mut [OutsideCell],
    ) -> ControlFlow<()> {
        self.add(1, |table| table.overflow(row, &*cells, outside))
    }

    fn blank(&mut self, first: u32, last: u32) -> ControlFlow<()> {
        self.add(u64::from(last - first) + 1, |table| {
            table.blank(first, last);
            Ok(())
        })
    }

    fn restart(&mut self) -> bool {
        self.rows_read = 0;
        // Its files are replaced when the header arrives.
        self.table = None;
        true
    }
}

impl<P: FnMut(u64) -> ControlFlow<()>> Sink<'_, P> {
    /// Counts rows and adds them to the table.
    fn add(
        &mut self,
        rows: u64,
        add: impl FnOnce(&mut Table) -> io::Result<()>,
    ) -> ControlFlow<()> {
        self.rows_read += rows;
        if (self.progress)(self.rows_read).is_break() {
            return self.stop(CutError::Stopped);
        }
        match self.table.as_mut().map(add) {
            Some(Err(error)) => self.stop(error.into()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl<'a, P> Sink<'a, P> {
    pub(super) fn new(
        name: &'a str,
        pipeline: &'a Pipeline,
        limit: Option<u64>,
        scratch: TempDir,
        progress: P,
    ) -> Sink<'a, P> {
        Sink {
            name,
            pipeline,
            limit,
            scratch,
            progress,
            rows_read: 0,
            table: None,
            broken: None,
            wrong_header: None,
        }
    }

    fn stop(&mut self, error: CutError) -> ControlFlow<()> {
        self.broken = Some(error);
        ControlFlow::Break(())
    }

    fn start(&self, header: &Header) -> Result<Table, CutError> {
        let (names, kept, ignored) = match &header.origin {
            None => (header.columns.clone(), None, None),
            Some(origin) => {
                let generated = origin.added.iter().chain(&origin.review);
                let generated: Vec<String> = generated.cloned().collect();
                let found = self.pipeline.resubmitted(&header.columns, &generated);
                let note = (!found.ignored.is_empty()).then(|| {
                    format!(
                        "The workbook is a result of run {}. Its generated columns are not read: {}.",
                        origin.run,
                        found.ignored.join(", ")
                    )
                });
                (found.names, Some(found.kept), note)
            }
        };
        let columns = Columns::new(&names);
        let refused = |what: String| {
            Refusal::new(
                format!("{}, sheet `{}`: {what}", self.name, header.sheet),
                format!(
                    "Correct the header of the workbook (row {}) or the pipeline, and upload the \
                     file again.",
                    header.row
                ),
            )
        };
        let problems = self.pipeline.check_columns(&names);
        if !problems.is_empty() {
            let mut texts: Vec<String> = problems
                .iter()
                .take(LISTED)
                .map(PipelineError::one_line)
                .collect();
            if problems.len() > LISTED {
                texts.push(format!("and {} more", problems.len() - LISTED));
            }
            return Err(refused(texts.join("; ")).into());
        }
        let cleaner =
            Cleaner::new(columns.clone(), &self.pipeline.input, self.limit).map_err(|name| {
                refused(format!(
                    "the workbook has no column `{name}`, which [input] in the pipeline uses"
                ))
            })?;
        let rejects = File::create(rejected_file(self.scratch.path()))?;
        Ok(Table {
            sheet: header.sheet.clone(),
            kept,
            notes: [
                header.notes.clone(),
                ignored.into_iter().collect(),
                renamed(&names),
            ]
            .concat(),
            lines: LineWriter::new(&columns).map_err(io::Error::from)?,
            profiles: columns
                .names()
                .iter()
                .map(|_| Profile::new(columns.len()))
                .collect(),
            columns,
            cleaner,
            cells: Vec::new(),
            buffer: Vec::new(),
            spool: Spool::create(self.scratch.path())?,
            rejects: BufWriter::with_capacity(1 << 20, rejects),
            rows_in: 0,
            rejected: BTreeMap::new(),
            examples: BTreeMap::new(),
            blank: None,
        })
    }
}

/// Notes about columns that have another name in the result.
fn renamed(columns: &[String]) -> Vec<String> {
    let shown = columns.iter().zip(result_headers(columns));
    shown
        .filter(|(own, shown)| *own != shown)
        .map(|(own, shown)| {
            format!("the column `{own}` of the workbook is called `{shown}` in the result, because the result adds a column `{own}`")
        })
        .collect()
}

/// The records so far.
pub(super) struct Table {
    sheet: String,
    /// The places of the input columns in a row, in ascending order, if the workbook also has generated
    /// columns.
    kept: Option<Vec<usize>>,
    notes: Vec<String>,
    columns: Columns,
    cleaner: Cleaner,
    lines: LineWriter,
    profiles: Vec<Profile>,
    /// Empty; its memory is used for each row.
    cells: Vec<CleanCell<'static>>,
    /// The current line.
    buffer: Vec<u8>,
    spool: Spool,
    rejects: BufWriter<File>,
    rows_in: u64,
    rejected: BTreeMap<RejectReason, u64>,
    examples: BTreeMap<RejectReason, (u32, String)>,
    /// The first and the last of the preceding blank rows. They count once a row with values
    /// follows.
    blank: Option<(u32, u32)>,
}

impl Table {
    fn row<'c, C: Into<CleanCell<'c>>>(
        &mut self,
        row: u32,
        cells: impl IntoIterator<Item = C>,
    ) -> io::Result<()> {
        let mut input = emptied(std::mem::take(&mut self.cells));
        self.input(cells, &mut input);
        let done = self.input_row(row, &mut input);
        self.cells = emptied(input);
        done
    }

    /// Adds the cells of the input columns to `to`.
    fn input<'c, C: Into<CleanCell<'c>>>(
        &self,
        cells: impl IntoIterator<Item = C>,
        to: &mut Vec<CleanCell<'c>>,
    ) {
        to.extend(cells.into_iter().map(Into::into));
        if let Some(kept) = &self.kept {
            for (to_at, from) in kept.iter().enumerate() {
                to.swap(to_at, *from);
            }
            to.truncate(kept.len());
        }
    }

    fn input_row(&mut self, row: u32, cells: &mut [CleanCell]) -> io::Result<()> {
        match self.cleaner.clean(row, cells) {
            Verdict::Rejected(RejectReason::Blank, _) => {
                self.blank(row, row);
                Ok(())
            }
            Verdict::Rejected(reason, detail) => {
                self.blanks()?;
                let values = match reason {
                    RejectReason::BeyondLimit => Vec::new(),
                    _ => cells.iter().map(value).collect(),
                };
                self.reject(row, reason, detail, values)
            }
            Verdict::Record => {
                self.blanks()?;
                self.record(row, cells)
            }
        }
    }

    /// Rejects a row that has values outside the columns. They follow those in the columns.
    fn overflow(
        &mut self,
        row: u32,
        cells: &[Cell],
        outside: &mut [OutsideCell],
    ) -> io::Result<()> {
        let Some((reason, detail)) = self.cleaner.overflow(outside) else {
            return self.row(row, cells);
        };
        let mut input = Vec::new();
        self.input(cells, &mut input);
        self.blanks()?;
        let values = match reason {
            RejectReason::BeyondLimit => Vec::new(),
            _ => {
                let outside = outside.iter().map(|outside| CleanCell::from(&outside.cell));
                input
                    .into_iter()
                    .chain(outside)
                    .map(|cell| value(&cell))
                    .collect()
            }
        };
        self.reject(row, reason, detail, values)
    }

    /// Adds blank rows that follow the preceding rows.
    fn blank(&mut self, first: u32, last: u32) {
        let first = self.blank.map_or(first, |(first, _)| first);
        self.blank = Some((first, last));
    }

    fn record(&mut self, row: u32, cells: &[CleanCell]) -> io::Result<()> {
        self.buffer.clear();
        let profiles = &mut self.profiles;
        self.lines
            .write(row, cells, &mut self.buffer, |at, cell, length| {
                profiles[at].add(cell, length);
            })?;
        self.spool.add(row, &self.buffer)?;
        self.rows_in += 1;
        Ok(())
    }

    /// Rejects the blank rows before a row with values.
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
        values: Vec<Option<Value>>,
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

    pub(super) fn finish(
        mut self,
        formats: Vec<Option<String>>,
        notes: Vec<String>,
        scratch: TempDir,
    ) -> io::Result<Cut> {
        let (records, pieces) = self.spool.finish()?;
        self.rejects.flush()?;
        let formats: Vec<Option<String>> = match self.kept {
            Some(kept) => kept
                .into_iter()
                .map(|at| formats.get(at).cloned().flatten())
                .collect(),
            None => formats,
        };
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
            records,
            pieces,
            scratch,
        })
    }
}

/// A cell of a rejected row.
fn value(cell: &CleanCell) -> Option<Value> {
    match cell {
        CleanCell::Error(code) => Some(Value::Text((*code).to_owned())),
        cell => cell.value(),
    }
}

/// The memory of the cells of one row, for another row.
fn emptied<'to>(mut cells: Vec<CleanCell<'_>>) -> Vec<CleanCell<'to>> {
    cells.clear();
    // There are none, but this keeps the allocation.
    cells.into_iter().map(|_| CleanCell::Empty).collect()
}
