//! Assembles the cells of a reader into rows under a header, in batches for the sink's thread.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender};

use rowmill_domain::Value;

use super::error::ReadError;
use super::header::{self, MergedRange};
use super::options::ReadOptions;
use super::reference::column_letters;
use super::row::{RawCell, RawRow, RowCells};
use super::sink::{BetterRow, Cell, Header, Origin, OutsideCell, ReadSummary};
use super::text_row::TextRow;

/// Rows to examine before deciding on the header: their values reveal columns without a header.
const LOOKAHEAD_ROWS: usize = 1000;
/// Rows below the first one with a value in which to look for a header that has the wanted columns:
/// letterheads and summaries above a table are shorter.
const HEADER_ROWS: u32 = 50;
/// Maximum number of cells to hold while looking ahead.
const LOOKAHEAD_CELLS: usize = 65_536;
/// Cells per batch: enough to make the cost of a handover negligible, few enough to fit the cache.
const BATCH_CELLS: usize = 8192;
/// Maximum number of rows per batch, reached if rows are narrow.
const BATCH_ROWS: usize = 1024;
/// Maximum size of the texts in a batch or in the lookahead; exceeded by at most one row.
const BATCH_BYTES: u64 = 4 << 20;

/// No number seen yet.
const FORMAT_UNKNOWN: u32 = u32::MAX;
/// Numbers with different formats seen: applying one format to all would change what they display.
const FORMAT_MIXED: u32 = u32::MAX - 1;

/// Why reading stopped early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The sink wants no more rows.
    SinkDone,
    /// A row follows a later one. Only a reader that can sort them continues, after
    /// [`Assembler::restart`].
    Unordered(ReadError),
    /// Reading failed.
    Failed(ReadError),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Halt {
        Halt::Failed(error)
    }
}

/// A message to the sink's thread.
pub(crate) enum RowMessage {
    /// The header. Sent once, first.
    Header(Header),
    /// Rows that have values.
    Rows(RowBatch),
    /// All rows follow once more, beginning with the header, for the reason of the error.
    Restart(ReadError),
    /// A row that has values outside the columns of the header: its number, one cell per column, and
    /// the others.
    Overflow(u32, Vec<Cell>, Vec<OutsideCell>),
}

/// Rows of equal width, either all as cells or all as texts. The rows between them are blank.
#[derive(Default)]
pub(crate) struct RowBatch {
    /// The row numbers.
    pub numbers: Vec<u32>,
    /// The cells, row by row: as many per row as the header has columns.
    pub cells: Vec<Cell>,
    /// The texts of all cells, one after the other.
    pub text: String,
    /// The end of each cell in `text`, row by row.
    pub ends: Vec<usize>,
}

/// Assembles rows. Readers call [`Assembler::sheet`], then [`Assembler::row`] for each row that has
/// cells, in ascending order, then [`Assembler::finish`].
pub(crate) struct Assembler {
    file: PathBuf,
    options: ReadOptions,
    to_sink: SyncSender<RowMessage>,
    /// Returned batches, whose memory and strings are reused.
    returned: Receiver<RowBatch>,
    sheet: String,
    lookahead: Vec<RawRow>,
    lookahead_cells: usize,
    layout: Option<Layout>,
    last_row: u32,
    cells: u64,
    summary: ReadSummary,
    batch: RowBatch,
    /// Cells of returned batches.
    recycled: Vec<Cell>,
    /// Size of the texts held in the batch or in the lookahead.
    bytes: u64,
    merges: Option<FindMerges>,
    origin: Option<Origin>,
    /// The cells that a later cell in the same place replaced, and the first row with some.
    replaced: u64,
    first_replaced: Option<u32>,
}

/// Finds the merged ranges that start in a row (from 0).
type FindMerges = Box<dyn Fn(u32) -> Result<Vec<MergedRange>, ReadError>>;

/// A row as the header.
struct Head {
    /// Its index in the lookahead.
    at: usize,
    /// The column of the first text, from 0, and the number of columns.
    first: u32,
    width: usize,
    texts: Vec<Option<String>>,
    /// The number of rows that it spans: 1 or 2.
    rows: u32,
    /// How many of the wanted columns it has.
    found: usize,
}

/// What is known once the header has been decided on.
struct Layout {
    /// The column of the sheet that holds the first name, from 0.
    first: u32,
    /// The number of columns.
    width: usize,
    /// The last row added, or the header row.
    row: u32,
    /// The format of the numbers in each column, [`FORMAT_UNKNOWN`] or [`FORMAT_MIXED`].
    formats: Vec<u32>,
    /// The format of the first date or time in each column; 0 if there is none.
    date_formats: Vec<u32>,
}

impl Assembler {
    pub(crate) fn new(
        file: &Path,
        options: &ReadOptions,
        to_sink: SyncSender<RowMessage>,
        returned: Receiver<RowBatch>,
    ) -> Assembler {
        Assembler {
            file: file.to_owned(),
            options: options.clone(),
            to_sink,
            returned,
            sheet: String::new(),
            lookahead: Vec::new(),
            lookahead_cells: 0,
            layout: None,
            last_row: 0,
            cells: 0,
            summary: ReadSummary::default(),
            batch: RowBatch::default(),
            recycled: Vec::new(),
            bytes: 0,
            merges: None,
            origin: None,
            replaced: 0,
            first_replaced: None,
        }
    }

    /// Sets the name of the sheet.
    pub(crate) fn sheet(&mut self, name: &str) {
        self.sheet = name.to_owned();
    }

    /// Sets the run that wrote the workbook.
    pub(crate) fn origin(&mut self, origin: Option<Origin>) {
        self.origin = origin;
    }

    /// Sets how to find merged ranges. Called only if the header could contain some.
    pub(crate) fn merges(&mut self, find: FindMerges) {
        self.merges = Some(find);
    }

    /// Whether the header has not been decided on yet.
    pub(crate) fn is_before_header(&self) -> bool {
        self.layout.is_none()
    }

    /// Adds a row and empties `row`. Rows without cells may be omitted.
    pub(crate) fn row(&mut self, number: u32, row: &mut RowCells) -> Result<(), Halt> {
        row.pool.recycle(&mut self.recycled);
        let (cells, bytes, replaced) = row.take();
        if replaced > 0 {
            self.replaced += replaced;
            self.first_replaced.get_or_insert(number);
        }
        self.check_number(number)?;
        self.bytes += bytes;
        if self.layout.is_some() {
            return self.append(number, cells);
        }
        self.lookahead_cells += cells.len();
        self.lookahead.push(RawRow {
            number,
            cells: std::mem::take(cells),
        });
        if self.lookahead.len() >= LOOKAHEAD_ROWS
            || self.lookahead_cells >= LOOKAHEAD_CELLS
            || self.bytes >= BATCH_BYTES
        {
            let wanted = self.options.header_row.unwrap_or(0);
            if self.lookahead_cells > 0 && number >= wanted {
                self.decide_header()?;
            } else {
                // None of these rows can be the header.
                self.lookahead.clear();
                self.lookahead_cells = 0;
                self.bytes = 0;
            }
        }
        Ok(())
    }

    /// Adds a row of texts. `cells` is empty, and is used for a row that is needed as cells.
    pub(crate) fn texts(
        &mut self,
        number: u32,
        row: &TextRow,
        cells: &mut RowCells,
    ) -> Result<(), Halt> {
        let within = self.layout.as_ref().and_then(|layout| {
            let first = layout.first as usize;
            row.within(first, layout.width).filter(|_| !row.is_empty())
        });
        let Some((text, ends)) = within else {
            row.cells(cells)?;
            return self.row(number, cells);
        };
        self.check_number(number)?;
        self.count_row(number)?;
        if !self.batch.cells.is_empty() || self.batch.ends.len() >= BATCH_CELLS {
            self.flush()?;
        }
        self.next_row(number)?;
        self.bytes += row.bytes();
        let start = self.batch.text.len();
        self.batch.text.push_str(text);
        self.batch.ends.extend(ends.map(|end| start + end));
        Ok(())
    }

    /// Checks the number of the next row.
    fn check_number(&mut self, number: u32) -> Result<(), Halt> {
        if number <= self.last_row {
            return Err(Halt::Unordered(ReadError::malformed(
                &self.file,
                format!("sheet `{}`, row {number}", self.sheet),
                format_args!("it follows row {}", self.last_row),
            )));
        }
        self.last_row = number;
        let rows = self.options.limits.rows;
        Ok(ReadError::check(
            &self.file,
            "rows",
            u64::from(number),
            rows,
        )?)
    }

    /// Forgets all rows: the reader begins the sheet again. `why` is the error if the sink has received
    /// rows and cannot forget them.
    pub(crate) fn restart(&mut self, why: ReadError) -> Result<(), Halt> {
        self.lookahead.clear();
        self.batch = RowBatch::default();
        self.summary = ReadSummary::default();
        (self.lookahead_cells, self.bytes) = (0, 0);
        (self.last_row, self.cells) = (0, 0);
        (self.replaced, self.first_replaced) = (0, None);
        match self.layout.take() {
            Some(_) => self.send(RowMessage::Restart(why)),
            None => Ok(()),
        }
    }

    /// Ends the sheet. `format` returns the code of a format ID.
    pub(crate) fn finish(
        &mut self,
        format: &dyn Fn(u32) -> Option<String>,
    ) -> Result<ReadSummary, Halt> {
        if self.layout.is_none() {
            self.decide_header()?;
        }
        self.flush()?;
        let mut summary = std::mem::take(&mut self.summary);
        if let Some(row) = self.first_replaced {
            summary.notes.push(match self.replaced {
                1 => format!("A cell of row {row} is in the file twice; the last value was used."),
                count => format!(
                    "{count} cells are in the file more than once, the first in row {row}; the last \
                     value of each was used."
                ),
            });
        }
        if let Some(layout) = self.layout.take() {
            let known = layout.date_formats.iter().zip(&layout.formats);
            summary.formats = known
                .map(|(date, number)| match (*date, *number) {
                    (0, 0 | FORMAT_UNKNOWN | FORMAT_MIXED) => None,
                    (0, number) => format(number),
                    (date, _) => format(date),
                })
                .collect();
        }
        Ok(summary)
    }

    /// A row of the lookahead, and possibly the row below it, as the header.
    fn head(&self, at: usize) -> Result<Head, ReadError> {
        let (head, below) = (&self.lookahead[at], &self.lookahead[at + 1..]);
        let columns = || {
            let all = head.cells.iter().chain(below.iter().flat_map(|r| &r.cells));
            all.map(|c| c.column)
        };
        let first = columns().min().unwrap_or(0);
        let width = (columns().max().unwrap_or(0) - first) as usize + 1;
        let mut texts = head.as_texts(first, width);
        let mut rows = 1;
        // A header without gaps contains no cells merged across columns.
        let gap = texts.iter().skip_while(|t| t.is_some()).count() > 0;
        if let (Some(merges), Some(next)) = (&self.merges, below.first())
            && gap
            && next.number == head.number + 1
            && next.looks_like_header()
            && let Some(joined) = header::join_rows(
                &texts,
                &next.as_texts(first, width),
                next.text_count() < next.value_count(),
                head.number - 1,
                first,
                &merges(head.number - 1)?,
            )
        {
            texts = joined;
            rows = 2;
        }
        let names = texts.iter().flatten();
        let names: HashSet<String> = names.map(|text| header::single_line(text)).collect();
        let wanted = self.options.columns.iter();
        Ok(Head {
            at,
            first,
            width,
            texts,
            rows,
            found: wanted.filter(|name| names.contains(*name)).count(),
        })
    }

    /// The first row below `at`, within [`HEADER_ROWS`], that has all wanted columns.
    fn later_head(&self, at: usize) -> Result<Option<Head>, ReadError> {
        let last = self.lookahead[at].number.saturating_add(HEADER_ROWS);
        for (later, row) in self.lookahead.iter().enumerate().skip(at + 1) {
            if row.number > last {
                break;
            }
            if row.cells.is_empty() {
                continue;
            }
            let head = self.head(later)?;
            if head.found == self.options.columns.len() {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// The row of the lookahead that has the most wanted columns, if it has more than `found`.
    fn better_row(&self, found: usize) -> Option<BetterRow> {
        let wanted = &self.options.columns;
        let texts = |row: &RawRow| {
            let texts = row.cells.iter().filter_map(|raw| match &raw.cell {
                Cell::Value(Value::Text(text)) => Some(header::single_line(text)),
                _ => None,
            });
            texts.collect::<HashSet<String>>()
        };
        let mut best = None;
        let mut most = found;
        for row in &self.lookahead {
            let texts = texts(row);
            let found = wanted.iter().filter(|name| texts.contains(*name)).count();
            if found > most {
                most = found;
                best = Some(BetterRow {
                    row: row.number,
                    complete: found == wanted.len(),
                });
            }
        }
        best
    }

    /// Decides on the header from the lookahead, and adds the rows below it.
    fn decide_header(&mut self) -> Result<(), Halt> {
        let no_header = |why: String| ReadError::NoHeader {
            file: self.file.clone(),
            sheet: self.sheet.clone(),
            why,
        };
        let given = self.options.header_row;
        let at = header::find_header(&self.lookahead, given).ok_or_else(|| match given {
            Some(row) => no_header(format!("row {row} has no value")),
            None => no_header("the sheet is empty".to_owned()),
        })?;
        if self.lookahead[at].cells.is_empty() {
            let row = self.lookahead[at].number;
            return Err(no_header(format!("row {row} has no value")).into());
        }
        let mut head = self.head(at)?;
        let mut notes = Vec::new();
        let mut better_row = None;
        let wanted = self.options.columns.len();
        if head.found < wanted {
            let later = match given {
                Some(_) => None,
                None => self.later_head(at)?,
            };
            if let Some(later) = later {
                let number = |at: usize| self.lookahead[at].number;
                notes.push(format!(
                    "Row {} is the header, because it has the columns that the pipeline uses; the \
                     rows above it, from row {}, are not records.",
                    number(later.at),
                    number(at),
                ));
                head = later;
            } else {
                better_row = self.better_row(head.found);
            }
        }
        let Head {
            at: chosen,
            first,
            width,
            texts,
            rows,
            ..
        } = head;
        let mut below = std::mem::take(&mut self.lookahead).split_off(chosen);
        let head = below.remove(0);
        let mut row = head.number;
        if chosen > 0 && given.is_none() && notes.is_empty() {
            notes.push(format!(
                "Row {row} is the header; the rows above it were ignored."
            ));
        }
        if rows == 2 {
            notes.push(format!(
                "Rows {row} and {} together are the header.",
                row + 1
            ));
            row += 1;
            below.remove(0);
        }
        let end = first + width as u32 - 1;
        let mut all = std::iter::once(&head).chain(&below);
        let last = all.find(|r| r.cells.iter().any(|c| c.column == end));
        let last_row = last.map(|r| r.number);
        let mut header = header::name_columns(&self.sheet, row, first, &texts, last_row);
        notes.append(&mut header.notes);
        header.notes = notes;
        header.origin = self.origin.clone();
        header.better_row = better_row;
        self.layout = Some(Layout {
            first,
            width,
            row,
            formats: vec![FORMAT_UNKNOWN; width],
            date_formats: vec![0; width],
        });
        self.send(RowMessage::Header(header))?;
        for mut row in below {
            self.append(row.number, &mut row.cells)?;
        }
        Ok(())
    }

    /// Adds a row to the batch. The rows between it and the one before are blank. They are not stored,
    /// so that memory depends only on the rows that have values.
    fn append(&mut self, number: u32, cells: &mut Vec<RawCell>) -> Result<(), Halt> {
        // A row without values may be below the last row in use.
        if cells.is_empty() {
            return Ok(());
        }
        self.count_row(number)?;
        let start = self.begin_row(number)?;
        let Some(layout) = &mut self.layout else {
            return Ok(());
        };
        let mut outside = Vec::new();
        for raw in cells.drain(..) {
            let at = raw.column.wrapping_sub(layout.first) as usize;
            if at >= layout.width {
                outside.push(raw);
                continue;
            }
            if raw.format != layout.formats[at] {
                match &raw.cell {
                    Cell::Value(Value::Number(_)) => {
                        let format = &mut layout.formats[at];
                        *format = if *format == FORMAT_UNKNOWN {
                            raw.format
                        } else {
                            FORMAT_MIXED
                        };
                    }
                    Cell::Empty | Cell::Error(_) | Cell::Value(Value::Text(_) | Value::Bool(_)) => {
                    }
                    Cell::Value(_) if layout.date_formats[at] == 0 => {
                        layout.date_formats[at] = raw.format;
                    }
                    Cell::Value(_) => {}
                }
            }
            self.batch.cells[start + at] = raw.cell;
        }
        if outside.is_empty() {
            return Ok(());
        }
        self.overflow(number, start, outside)
    }

    /// Sends the last row of the batch, whose cells begin at `start`, with its values outside the
    /// columns.
    fn overflow(&mut self, number: u32, start: usize, outside: Vec<RawCell>) -> Result<(), Halt> {
        let inside = self.batch.cells.split_off(start);
        self.batch.numbers.pop();
        self.flush()?;
        let outside = outside.into_iter().map(|raw| OutsideCell {
            column: column_letters(raw.column),
            cell: raw.cell,
        });
        self.send(RowMessage::Overflow(number, inside, outside.collect()))
    }

    /// Counts a row that has values, and the blank rows before it.
    fn count_row(&mut self, number: u32) -> Result<(), ReadError> {
        let Some(layout) = &mut self.layout else {
            return Ok(());
        };
        let blank = u64::from(number - layout.row - 1);
        layout.row = number;
        self.summary.rows += blank + 1;
        self.cells += blank + layout.width as u64;
        ReadError::check(&self.file, "cells", self.cells, self.options.limits.cells)
    }

    /// Adds a row of empty cells to the batch and returns the index of its first cell.
    fn begin_row(&mut self, number: u32) -> Result<usize, Halt> {
        if !self.batch.ends.is_empty() || self.batch.cells.len() >= BATCH_CELLS {
            self.flush()?;
        }
        self.next_row(number)?;
        let start = self.batch.cells.len();
        let width = self.layout.as_ref().map_or(0, |layout| layout.width);
        self.batch.cells.resize_with(start + width, || Cell::Empty);
        Ok(start)
    }

    /// Adds the number of a row to the batch.
    fn next_row(&mut self, number: u32) -> Result<(), Halt> {
        if self.batch.numbers.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        self.batch.numbers.push(number);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.bytes = 0;
        if self.batch.numbers.is_empty() {
            return Ok(());
        }
        let mut empty = self.returned.try_recv().unwrap_or_default();
        empty.numbers.clear();
        empty.text.clear();
        // Rows with long texts are rare.
        empty.text.shrink_to(BATCH_BYTES as usize);
        empty.ends.clear();
        // Whatever was not reused since the last batch will not be needed.
        self.recycled.clear();
        self.recycled.append(&mut empty.cells);
        let full = std::mem::replace(&mut self.batch, empty);
        self.send(RowMessage::Rows(full))
    }

    fn send(&self, message: RowMessage) -> Result<(), Halt> {
        self.to_sink.send(message).map_err(|_| Halt::SinkDone)
    }
}
