//! From a reader's cells to rows under a header, in batches for the sink's thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender};

use rowmill_domain::Value;

use super::error::ReadError;
use super::header::{self, Merge};
use super::options::ReadOptions;
use super::reference::column_letters;
use super::row::{RawCell, RawRow, RowCells};
use super::sink::{Cell, Header, ReadSummary};

/// Rows looked at before the header is settled: columns without a header show by their values.
const LOOKAHEAD_ROWS: usize = 1000;
/// Cells held meanwhile, at most.
const LOOKAHEAD_CELLS: usize = 65_536;
/// Cells of a batch: large enough that handing over costs nothing, small enough for the cache.
const BATCH_CELLS: usize = 8192;
/// Rows of a batch, where rows are narrow.
const BATCH_ROWS: usize = 1024;
/// Bytes of the texts of a batch, and of the rows looked ahead at: one row more may be held.
const BATCH_BYTES: u64 = 4 << 20;

/// No number has come yet.
const UNKNOWN: u32 = u32::MAX;
/// Numbers of several formats have come: with that of one, others would say something else.
const MIXED: u32 = u32::MAX - 1;

/// Why reading stops.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The sink has enough.
    Enough,
    /// It cannot go on.
    Failed(ReadError),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Halt {
        Halt::Failed(error)
    }
}

/// What goes to the sink's thread.
pub(crate) enum Message {
    /// The header, once.
    Header(Header),
    /// Rows.
    Rows(Batch),
}

/// Rows of equal width: their numbers, and their cells one row after another.
#[derive(Default)]
pub(crate) struct Batch {
    /// Row numbers.
    pub numbers: Vec<u32>,
    /// Cells; as many a row as the header has columns.
    pub cells: Vec<Cell>,
}

/// Puts a reader's rows together. Readers call [`Assembler::sheet`], then [`Assembler::row`] for
/// each row with cells in the order of the sheet, then [`Assembler::finish`].
pub(crate) struct Assembler {
    file: PathBuf,
    options: ReadOptions,
    to_sink: SyncSender<Message>,
    /// Batches come back, for their memory and that of their texts.
    back: Receiver<Batch>,
    sheet: String,
    ahead: Vec<RawRow>,
    ahead_cells: usize,
    settled: Option<Settled>,
    last_row: u32,
    cells: u64,
    summary: ReadSummary,
    batch: Batch,
    /// Cells that came back.
    used: Vec<Cell>,
    /// Bytes of the texts held: in the batch, or in the rows looked ahead at.
    bytes: u64,
    merges: Option<FindMerges>,
}

/// Finds the merged cells that begin in a row, from 0.
type FindMerges = Box<dyn Fn(u32) -> Result<Vec<Merge>, ReadError>>;

/// What is known once the header is.
struct Settled {
    /// The sheet's column of the first name.
    first: u32,
    /// How many columns.
    width: usize,
    /// The last row handed on, or the header's.
    row: u32,
    /// Per column the format of its numbers, [`UNKNOWN`] or [`MIXED`].
    formats: Vec<u32>,
    /// Per column the format of its first date or time with one.
    date_formats: Vec<u32>,
    /// Values beside the columns: how many, and the first one's row and column.
    beside: Option<(u64, u32, u32)>,
}

impl Assembler {
    pub(crate) fn new(
        file: &Path,
        options: &ReadOptions,
        to_sink: SyncSender<Message>,
        back: Receiver<Batch>,
    ) -> Assembler {
        Assembler {
            file: file.to_owned(),
            options: options.clone(),
            to_sink,
            back,
            sheet: String::new(),
            ahead: Vec::new(),
            ahead_cells: 0,
            settled: None,
            last_row: 0,
            cells: 0,
            summary: ReadSummary::default(),
            batch: Batch::default(),
            used: Vec::new(),
            bytes: 0,
            merges: None,
        }
    }

    /// Names the sheet.
    pub(crate) fn sheet(&mut self, name: &str) {
        self.sheet = name.to_owned();
    }

    /// Says how the sheet's merged cells can be found; called only for a header that may have some.
    pub(crate) fn merges(&mut self, find: FindMerges) {
        self.merges = Some(find);
    }

    /// Takes a row; `row` comes back empty. Rows without cells may be left out.
    pub(crate) fn row(&mut self, number: u32, row: &mut RowCells) -> Result<(), Halt> {
        row.spare.keep(&mut self.used);
        let (cells, bytes) = row.taken();
        let limits = &self.options.limits;
        if number <= self.last_row {
            return Err(ReadError::malformed(
                &self.file,
                format!("sheet `{}`, row {number}", self.sheet),
                format_args!("it comes after row {}", self.last_row),
            )
            .into());
        }
        self.last_row = number;
        ReadError::check(&self.file, "rows", u64::from(number), limits.rows)?;
        self.bytes += bytes;
        if self.settled.is_some() {
            return self.place(number, cells);
        }
        self.ahead_cells += cells.len();
        self.ahead.push(RawRow {
            number,
            cells: std::mem::take(cells),
        });
        if self.ahead.len() >= LOOKAHEAD_ROWS
            || self.ahead_cells >= LOOKAHEAD_CELLS
            || self.bytes >= BATCH_BYTES
        {
            let wanted = self.options.header_row.unwrap_or(0);
            if self.ahead_cells > 0 && number >= wanted {
                self.settle()?;
            } else {
                // Nothing of it can be the header.
                self.ahead.clear();
                self.ahead_cells = 0;
                self.bytes = 0;
            }
        }
        Ok(())
    }

    /// The end of the sheet. `format` gives the code of a format.
    pub(crate) fn finish(
        &mut self,
        format: &dyn Fn(u32) -> Option<String>,
    ) -> Result<ReadSummary, Halt> {
        if self.settled.is_none() {
            self.settle()?;
        }
        self.flush()?;
        let mut summary = std::mem::take(&mut self.summary);
        if let Some(settled) = self.settled.take() {
            let known = settled.date_formats.iter().zip(&settled.formats);
            summary.formats = known
                .map(|(date, number)| match (*date, *number) {
                    (0, 0 | UNKNOWN | MIXED) => None,
                    (0, number) => format(number),
                    (date, _) => format(date),
                })
                .collect();
            if let Some((count, row, column)) = settled.beside {
                summary.notes.push(format!(
                    "{count} values stand beside the columns and were left out, the first in \
                     {}{row}.",
                    column_letters(column)
                ));
            }
        }
        Ok(summary)
    }

    /// Settles the header from the rows held, and hands on those below it.
    fn settle(&mut self) -> Result<(), Halt> {
        let no_header = |why: String| ReadError::NoHeader {
            file: self.file.clone(),
            sheet: self.sheet.clone(),
            why,
        };
        let given = self.options.header_row;
        let at = header::find(&self.ahead, given).ok_or_else(|| match given {
            Some(row) => no_header(format!("row {row} has no value")),
            None => no_header("it is empty".to_owned()),
        })?;
        let mut below = std::mem::take(&mut self.ahead).split_off(at);
        let head = below.remove(0);
        if head.cells.is_empty() {
            return Err(no_header(format!("row {} has no value", head.number)).into());
        }
        let columns = || {
            let all = head.cells.iter().chain(below.iter().flat_map(|r| &r.cells));
            all.map(|c| c.column)
        };
        let first = columns().min().unwrap_or(0);
        let width = (columns().max().unwrap_or(0) - first) as usize + 1;
        let mut texts = head.as_texts(first, width);
        let mut row = head.number;
        let mut notes = Vec::new();
        if at > 0 && given.is_none() {
            notes.push(format!(
                "The header is row {row}; what is above it was left out."
            ));
        }
        // A header without gaps has no cells merged over several columns.
        let gap = texts.iter().skip_while(|t| t.is_some()).count() > 0;
        if let (Some(merges), Some(next)) = (&self.merges, below.first())
            && gap
            && next.number == row + 1
            && next.may_be_header()
            && let Some(joined) = header::join(
                &texts,
                &next.as_texts(first, width),
                next.texts() < next.filled(),
                row - 1,
                first,
                &merges(row - 1)?,
            )
        {
            notes.push(format!("The header is rows {row} and {}, joined.", row + 1));
            texts = joined;
            row += 1;
            below.remove(0);
        }
        let end = first + width as u32 - 1;
        let mut all = std::iter::once(&head).chain(&below);
        let last = all.find(|r| r.cells.iter().any(|c| c.column == end));
        let last_row = last.map(|r| r.number);
        let mut header = header::name(&self.sheet, row, first, &texts, last_row);
        notes.append(&mut header.notes);
        header.notes = notes;
        self.settled = Some(Settled {
            first,
            width,
            row,
            formats: vec![UNKNOWN; width],
            date_formats: vec![0; width],
            beside: None,
        });
        self.send(Message::Header(header))?;
        for mut row in below {
            self.place(row.number, &mut row.cells)?;
        }
        Ok(())
    }

    /// Puts a row into the batch, after the blank ones before it.
    fn place(&mut self, number: u32, cells: &mut Vec<RawCell>) -> Result<(), Halt> {
        // A row without values may be one below the last used one.
        if cells.is_empty() {
            return Ok(());
        }
        if let Some(settled) = &self.settled {
            let (next, width) = (settled.row + 1, settled.width as u64);
            // Blank rows cost as many cells as others: all are counted before the first is made.
            self.cells = u64::from(number + 1 - next)
                .saturating_mul(width)
                .saturating_add(self.cells);
            ReadError::check(&self.file, "cells", self.cells, self.options.limits.cells)?;
            for blank in next..number {
                self.begin(blank)?;
            }
        }
        let start = self.begin(number)?;
        let Some(settled) = &mut self.settled else {
            return Ok(());
        };
        for raw in cells.drain(..) {
            let at = raw.column.wrapping_sub(settled.first) as usize;
            if at >= settled.width {
                let (count, _, _) = settled.beside.get_or_insert((0, number, raw.column));
                *count += 1;
                continue;
            }
            if raw.format != settled.formats[at] {
                match &raw.cell {
                    Cell::Value(Value::Number(_)) => {
                        let format = &mut settled.formats[at];
                        *format = if *format == UNKNOWN {
                            raw.format
                        } else {
                            MIXED
                        };
                    }
                    Cell::Empty | Cell::Error(_) | Cell::Value(Value::Text(_) | Value::Bool(_)) => {
                    }
                    Cell::Value(_) if settled.date_formats[at] == 0 => {
                        settled.date_formats[at] = raw.format;
                    }
                    Cell::Value(_) => {}
                }
            }
            self.batch.cells[start + at] = raw.cell;
        }
        Ok(())
    }

    /// Begins a row of empty cells in the batch; gives the place of its first cell.
    fn begin(&mut self, number: u32) -> Result<usize, Halt> {
        if self.batch.numbers.len() >= BATCH_ROWS
            || self.batch.cells.len() >= BATCH_CELLS
            || self.bytes >= BATCH_BYTES
        {
            self.flush()?;
        }
        let Some(settled) = &mut self.settled else {
            return Ok(0);
        };
        settled.row = number;
        self.summary.rows += 1;
        self.batch.numbers.push(number);
        let start = self.batch.cells.len();
        self.batch
            .cells
            .resize_with(start + settled.width, || Cell::Empty);
        Ok(start)
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.bytes = 0;
        if self.batch.numbers.is_empty() {
            return Ok(());
        }
        let mut empty = self.back.try_recv().unwrap_or_default();
        empty.numbers.clear();
        self.used.append(&mut empty.cells);
        let full = std::mem::replace(&mut self.batch, empty);
        self.send(Message::Rows(full))
    }

    fn send(&self, message: Message) -> Result<(), Halt> {
        self.to_sink.send(message).map_err(|_| Halt::Enough)
    }
}
