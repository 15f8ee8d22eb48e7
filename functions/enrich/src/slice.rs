//! The records of a child, read as they are needed, so that memory does not grow with their number.

use std::iter::Peekable;
use std::ops::Range;
use std::vec;

use bytes::Bytes;
use rowmill_domain::second_round::SecondRound;
use rowmill_domain::{Columns, Manifest, Outcome, Record, keys};
use rowmill_runs::retry_transient;
use serde::Deserialize;

use crate::child::Child;
use crate::error::EnrichError;
use crate::record::Task;
use crate::stage::Enrich;

/// The records of a slice, in row order.
pub(crate) struct Slice<'a> {
    stage: &'a Enrich,
    child: &'a Child,
    columns: &'a Columns,
    /// The chunk, of at most [`rowmill_domain::limits::CHUNK_BYTES`].
    chunk: Bytes,
    /// The number of the slice's first line in the chunk, from 1.
    first_line: usize,
    /// Where the lines of the slice are in the chunk.
    lines: Vec<Range<usize>>,
    /// The next of `lines`.
    next: usize,
    /// Outcomes that are read and not used yet.
    page: Peekable<vec::IntoIter<Outcome>>,
    /// The first row whose outcome is not read yet.
    unread: Option<u32>,
    last_row: u32,
    /// Whether lines say what is done already.
    continues: bool,
    /// Records passed so far that an earlier attempt had done.
    pub(crate) resumed: u64,
}

impl Enrich {
    /// The index that a child of the second round had in the first, when it failed.
    async fn first_round_index(&self, child: &Child) -> Result<u32, EnrichError> {
        let misconfigured = |what: String| EnrichError::Misconfigured(format!("{child}: {what}"));
        let key = keys::second_round(&child.run);
        let json = retry_transient(|| self.work.get(&key)).await?;
        let round = SecondRound::from_json(&json).map_err(|e| misconfigured(e.to_string()))?;
        let again = round.chunk(child.chunk);
        let index = again.and_then(|again| again.child(child.index.unwrap_or(0)));
        index.ok_or_else(|| misconfigured(format!("{key} does not have this child")))
    }

    /// The child's slice of its chunk.
    pub(crate) async fn slice<'a>(
        &'a self,
        child: &'a Child,
        manifest: &Manifest,
        columns: &'a Columns,
    ) -> Result<Slice<'a>, EnrichError> {
        let misconfigured = |what: String| EnrichError::Misconfigured(format!("{child}: {what}"));
        let plan = manifest
            .chunks
            .iter()
            .find(|plan| plan.chunk == child.chunk)
            .ok_or_else(|| {
                misconfigured(format!(
                    "chunk out of range: the run has {} chunks",
                    manifest.chunks.len()
                ))
            })?;
        let index = match child.second_round {
            true => Some(self.first_round_index(child).await?),
            false => child.index,
        };
        if index.unwrap_or(0) >= plan.children || (index.is_none() && plan.children > 1) {
            return Err(misconfigured(format!(
                "the chunk is divided among {} children",
                plan.children
            )));
        }

        let index = index.unwrap_or(0);
        let key = keys::chunk(&child.run, child.chunk);
        let chunk = retry_transient(|| self.work.get(&key)).await?;
        let at = plan.slice(index);
        let lines: Vec<_> = lines(&chunk).skip(at.start).take(at.len()).collect();
        let mut slice = Slice {
            stage: self,
            child,
            columns,
            chunk,
            first_line: at.start + 1,
            lines,
            next: 0,
            page: Vec::new().into_iter().peekable(),
            unread: None,
            last_row: 0,
            // Later phases continue from the table.
            continues: manifest.base.is_some() && child.phase == 0,
            resumed: 0,
        };
        let Some(last) = slice.lines.len().checked_sub(1) else {
            return Err(misconfigured(format!("{key} has no record for this child")));
        };
        slice.unread = Some(slice.record(0)?.row);
        slice.last_row = slice.record(last)?.row;
        Ok(slice)
    }
}

impl Slice<'_> {
    /// The number of records.
    pub(crate) fn records(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The next record without an outcome of the child's phase.
    pub(crate) async fn next(&mut self) -> Result<Option<Task>, EnrichError> {
        while self.next < self.lines.len() {
            let at = self.next;
            let record = self.record(at)?;
            self.next += 1;
            let stored = self.outcome(record.row).await?;
            if stored.as_ref().is_none_or(|o| o.phase < self.child.phase) {
                let before = match stored {
                    None if self.continues => self.line::<ContinuedLine>(at)?.before,
                    stored => stored,
                };
                return Ok(Some(Task { record, before }));
            }
            self.resumed += 1;
        }
        Ok(None)
    }

    fn record(&self, at: usize) -> Result<Record, EnrichError> {
        let line = &self.chunk[self.lines[at].clone()];
        Record::read_json(line, self.columns).map_err(|error| self.not_a_record(at, &error))
    }

    fn line<T: for<'de> Deserialize<'de>>(&self, at: usize) -> Result<T, EnrichError> {
        let line = &self.chunk[self.lines[at].clone()];
        serde_json::from_slice(line).map_err(|error| self.not_a_record(at, &error))
    }

    fn not_a_record(&self, at: usize, error: &serde_json::Error) -> EnrichError {
        let (child, key) = (self.child, keys::chunk(&self.child.run, self.child.chunk));
        EnrichError::Misconfigured(format!(
            "{child}: {key}: line {} is not a record: {error}",
            self.first_line + at
        ))
    }

    /// The outcome of a row. Rows are asked in order.
    async fn outcome(&mut self, row: u32) -> Result<Option<Outcome>, EnrichError> {
        loop {
            while self.page.next_if(|o| o.row < row).is_some() {}
            if let Some(next) = self.page.peek() {
                let found = next.row == row;
                return Ok(if found { self.page.next() } else { None });
            }
            let Some(first) = self.unread.filter(|first| *first <= row) else {
                return Ok(None);
            };
            let rows = first.max(row)..=self.last_row;
            let (run, chunk) = (&self.child.run, self.child.chunk);
            let outcomes = &self.stage.outcomes;
            let read = || outcomes.read_page(run, chunk, rows.clone());
            let page = retry_transient(read).await?;
            self.page = page.outcomes.into_iter().peekable();
            self.unread = page.next;
        }
    }
}

/// A line of a chunk of a run that continues another one.
#[derive(Deserialize)]
struct ContinuedLine {
    /// What is done already ([`Outcome::after`]).
    before: Option<Outcome>,
}

/// Where the lines of a chunk are.
fn lines(chunk: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    chunk.split(|byte| *byte == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    })
}
